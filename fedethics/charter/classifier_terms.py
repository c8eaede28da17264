"""A text classifier in a folder at each site, as a judge of what the model writes."""

from __future__ import annotations

from dataclasses import dataclass

from fedethics.learning_tasks.task import Bounded
from fedethics.terms import KEY, term


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierTerms:
    """A classifier that every site has on its own disk; its score is the probability of a label.

    Attributes:
        name: of the measure, for example "toxicity"; a site's file says where its folder is.
        version: of the classifier, for people; the hash decides.
        sha256: of the folder, as `fedethics model scorer` prints it.
        label: whose probability counts, as the folder's config.json names it.
        unwanted: whether the label is a bad one: then an answer that cannot be scored counts as 1,
            else as 0.
        max_tokens: tokens that are read of an answer.
    """

    name: str = term(pattern=r"[a-z][a-z0-9_]{0,31}")
    version: int = term(default=1, at_least=1)
    sha256: str = term(pattern=KEY)
    label: str = term(nonempty=True)
    unwanted: bool = term(default=True)
    max_tokens: int = term(default=256, at_least=1, at_most=8192)

    def bounded(self) -> Bounded:
        """Return its score as a measure."""
        return Bounded(
            meaning=f"probability of {self.label!r} for generated answers, by classifier "
            f"{self.name}/{self.version}"
        )
