"""What a draft says for each task: model, adapter, training, and bars as starting points.

A new task is an object here and a line in `TASKS`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedethics.drafting.base_model import EMBEDDED, EMBEDDED_DECODER, BaseLines

if TYPE_CHECKING:
    from fedethics.drafting.proposal import Proposal

# Metric, feature (empty for everyone), bar, whether the value must be at least that, and why.
Bar = tuple[str, str, float, bool, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class DraftTask:
    """One task as `fedethics new` drafts it.

    Attributes:
        name: of the learning task.
        told: what the file is taken to be, in words.
        model: where none of one's own is named.
        rank, alpha: of the adapter.
        rounds, local_steps, learning_rate, clipping_norm, trust_mode: of the training.
        physical_batch: records computed at once; None for the default.
        more: lines of `[model]` beside name, hash and tokens.
        audited: whether the finished adapter is attacked.
        spare_tokens: what a template adds to a record.
        bars: of `[[ethics.objectives]]`.
    """

    name: str
    told: str
    model: BaseLines
    rank: int
    alpha: int
    rounds: int
    local_steps: int
    learning_rate: float
    clipping_norm: float
    trust_mode: str
    physical_batch: int | None = None
    more: Mapping[str, object]
    audited: bool
    spare_tokens: int = 0
    bars: Callable[[Proposal], Iterator[Bar]]

    @property
    def steps(self) -> int:
        """Steps in all rounds."""
        return self.rounds * self.local_steps


def _of_classes(proposal: Proposal) -> Iterator[Bar]:
    of_class = Counter[int]()
    labels = proposal.labels
    for cell, number in labels.by_cell.items():
        of_class[number] += proposal.label_counts[cell]
    most = max(of_class.values()) / proposal.records
    features = [feature.terms.name for feature in proposal.features]
    said = f"always giving the most common label is right for {most:.0%} of this file's records"
    bar = min(0.99, math.ceil(most * 20 + 0.2) / 20)
    if labels.classes is None:
        yield "roc_auc_score", "", 0.7, True, "a score below 0.7 is commonly said to add little"
        yield "accuracy_score", "", bar, True, said
        for name in features:
            missed, alarms = (
                f"cases missed more often by {name}",
                f"false alarms more often by {name}",
            )
            yield "equal_opportunity_difference", name, 0.2, False, missed
            yield "false_positive_rate_difference", name, 0.2, False, alarms
        return
    even = 1 / len(of_class)
    yield "accuracy_score", "", bar, True, said
    yield (
        "balanced_accuracy_score", "", round(even + (1 - even) / 4, 2), True,
        f"one class for all records is right for {even:.0%} on average over the classes",
    )  # fmt: skip
    for name in features:
        yield "accuracy_score_difference", name, 0.2, False, f"wrong more often by {name}"


def _of_tokens(proposal: Proposal) -> Iterator[Bar]:
    yield "mean_token_loss", "", 3.0, False, "what loss, in nats a token, is too much to be of use"
    for feature in proposal.features:
        name = feature.terms.name
        why = f"a model that knows less of what is said to, or of, a group of {name}"
        yield "mean_token_loss_difference", name, 0.5, False, why


def _of_pairs(proposal: Proposal) -> Iterator[Bar]:
    yield "preference_accuracy", "", 0.55, True, "one half is what no training gives"
    for feature in proposal.features:
        name = feature.terms.name
        why = f"preferences that are learnt for one group of {name} and not for another"
        yield "preference_accuracy_difference", name, 0.2, False, why


CLASSIFICATION = DraftTask(
    name="classification", told="records with a label", model=EMBEDDED, rank=8, alpha=128,
    rounds=5, local_steps=4, learning_rate=1.0, clipping_norm=1.0, trust_mode="local", more={},
    audited=True, bars=_of_classes,
)  # fmt: skip
SFT = DraftTask(
    name="sft", told="answers to be learnt", model=EMBEDDED_DECODER, rank=4, alpha=16, rounds=6,
    local_steps=1, learning_rate=4.0, clipping_norm=0.15, trust_mode="distributed",
    physical_batch=16, more={"task": "sft", "truncation": "prompt-start"}, audited=False,
    spare_tokens=48, bars=_of_tokens,
)  # fmt: skip
TEXT = DraftTask(
    name="text", told="texts to be familiar with", model=EMBEDDED_DECODER, rank=4, alpha=16,
    rounds=6, local_steps=1, learning_rate=4.0, clipping_norm=0.15, trust_mode="distributed",
    physical_batch=16, more={"task": "text", "truncation": "text-end"}, audited=False,
    bars=_of_tokens,
)  # fmt: skip
PREFERENCE = DraftTask(
    name="preference", told="pairs of answers, one of which is preferred", model=EMBEDDED_DECODER,
    rank=4, alpha=16, rounds=6, local_steps=1, learning_rate=4.0, clipping_norm=0.02,
    trust_mode="distributed", physical_batch=8, more={"task": "preference", "beta": 0.1},
    audited=False, spare_tokens=48, bars=_of_pairs,
)  # fmt: skip
TASKS: Mapping[str, DraftTask] = {
    task.name: task for task in (CLASSIFICATION, PREFERENCE, SFT, TEXT)
}
