"""Whether the trained model is right less often than the one that training started from.

Both models answer the same held-out records. A record is right or wrong before and right or wrong
after; how often each of the four happens is one sum, with an epsilon of its own. Where training
starts from the base model, that is the one compared with; where `adapter.from` names a release, it
is the release.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from fedethics.charter.data_terms import DataTerms
from fedethics.charter.privacy_terms import LARGEST_EPSILON, PrivacyTerms
from fedethics.charter.training_terms import AdapterTerms, ModelTerms
from fedethics.learning_tasks import find_task
from fedethics.terms import term

# Of the group tables: what a decision that is right or wrong can be told from.
ACCURACY: Final = "accuracy_score"


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedObjective:
    """A bar for the change of accuracy: "not worse than before by more than d" is a bar of -d.

    Attributes:
        metric: of everyone, or of the group of `paired.feature` for which it is lowest.
        bar: the least change that is asked for; -0.02 allows a loss of 2 in 100.
        direction: more is better.
        confidence: level of the interval that must lie on the good side.
        why: the reason in plain words, printed in every report.
    """

    metric: Literal["accuracy_change", "accuracy_change_group_min"] = term()
    bar: float = term(above=-1.0, below=1.0)
    direction: Literal["at-least"] = term(default="at-least")
    confidence: float = term(default=0.95, above=0.5, below=1.0)
    why: str = term(nonempty=True, prose=True)

    @property
    def of_groups(self) -> bool:
        """Whether it is about the lowest of the groups."""
        return self.metric == "accuracy_change_group_min"


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedTerms:
    """The four counts of the last round.

    Attributes:
        feature: sensitive feature whose groups are counted apart; empty for everyone together.
        epsilon: what the counts cost each held-out unit, out of `privacy.evaluation.epsilon`.
        objectives: bars that the release is held to.
    """

    feature: str = term(default="")
    epsilon: float = term(default=0.5, at_least=0.02, at_most=LARGEST_EPSILON)
    objectives: tuple[PairedObjective, ...] = term(nonempty=True)

    def problems(self) -> list[str]:
        """Refuse two bars on one metric, and groups that are not counted."""
        found = []
        metrics = [each.metric for each in self.objectives]
        if len(set(metrics)) < len(metrics):
            found.append("objectives: a metric has two bars; keep the stricter one")
        if not self.feature and any(each.of_groups for each in self.objectives):
            found.append(
                "objectives: accuracy_change_group_min is about groups, and feature names none"
            )
        return found


def paired_rule(
    paired: PairedTerms,
    model: ModelTerms,
    adapter: AdapterTerms,
    data: DataTerms,
    privacy: PrivacyTerms,
) -> Iterator[str]:
    """Yield why the base has no decision to compare with, and what else does not fit."""
    task = find_task(model.task)
    if data.label is not None and task.label_problems(data.label):
        return
    if ACCURACY not in task.measured(data.labels).rates:
        yield (
            f"paired: model.task {model.task!r} decides nothing that is right or wrong, so there "
            "are no right answers to compare; [measures] compares what it does measure"
        )
    elif task.trains_head and not adapter.from_:
        yield (
            f"paired: model.task {model.task!r} trains a head over the classes that is drawn at "
            "random, so what the base model decides before training is chance, and not to be "
            "compared with. Name the release that training starts from in adapter.from, or set a "
            f"bar for {ACCURACY} in ethics.objectives"
        )
    features = {feature.name for feature in data.sensitive}
    if paired.feature and paired.feature not in features:
        yield f"paired.feature: {paired.feature!r} is not a sensitive feature"
    evaluation = privacy.evaluation
    if evaluation.mechanism != "none" and paired.epsilon >= evaluation.epsilon:
        yield (
            f"paired.epsilon {paired.epsilon:g} leaves nothing of privacy.evaluation.epsilon "
            f"{evaluation.epsilon:g} for the group tables"
        )
