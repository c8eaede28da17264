"""How long gradients are beside the clipping norm: a noised count of training units, as advice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fedethics.charter.privacy_terms import LARGEST_EPSILON, PrivacyTerms
from fedethics.charter.training_terms import TrainingTerms
from fedethics.terms import term


@dataclass(frozen=True, kw_only=True, slots=True)
class NormTerms:
    """The count, once in a run. It changes nothing that is trained.

    Attributes:
        epsilon: what it costs a training unit, a part of `privacy.training.epsilon`.
        round: before whose step the gradients are taken, counted from 1.
    """

    epsilon: float = term(default=0.1, above=0, at_most=LARGEST_EPSILON)
    round: int = term(default=1, at_least=1, at_most=10_000)


def norms_rule(norms: NormTerms, privacy: PrivacyTerms, training: TrainingTerms) -> Iterator[str]:
    """Yield what is wrong between the count, the rounds and the budget of training."""
    terms = privacy.training
    if norms.round > training.rounds:
        yield f"norms.round: {norms.round}, but training.rounds is {training.rounds}"
    if terms.mechanism == "none":
        yield (
            'norms: privacy.training.mechanism is "none", so no gradient is clipped and there is '
            "no clipping norm to compare with"
        )
        return
    if norms.epsilon >= terms.epsilon:
        yield f"norms.epsilon {norms.epsilon:g} uses up privacy.training.epsilon {terms.epsilon:g}"
    if privacy.evaluation.mechanism == "none":
        yield (
            "norms counts trained units with the noise of privacy.evaluation.mechanism, which is "
            '"none": the training would not be differentially private'
        )
