"""What stakeholders ask of a metric, and the answer the sums give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from fedethics.errors import FairnessError
from fedethics.fairness.estimate import Estimate, checked_confidence
from fedethics.fairness.metrics import find_metric

Direction: TypeAlias = Literal["at-most", "at-least"]
Outcome: TypeAlias = Literal["holds", "fails", "cannot conclude"]

_SENSE: dict[str, Direction] = {
    "difference": "at-most",
    "group_max": "at-most",
    "ratio": "at-least",
    "group_min": "at-least",
    "mean_difference": "at-most",
    "between": "at-most",
    "pooled": "at-most",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """One line of the charter: a metric, over whom, and the bar that it must meet.

    Attributes:
        metric: a rate when `feature` is None, else an aggregate over the feature's groups.
        feature: a sensitive feature, an intersection such as `sex*age_band`, or None for everyone.
        bar: within the metric's range.
        direction: whether the metric must be at most or at least the bar.
        confidence: of the interval that decides.
        name: short label for reports.
        why: whom it protects and why the bar is where it is.

    Raises:
        FairnessError: unknown metric, a metric that does not fit `feature`, a bar outside the
            metric's range, or a direction in which more disparity would count as better.
    """

    metric: str
    feature: str | None
    bar: float
    direction: Direction
    confidence: float = 0.95
    name: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        found = find_metric(self.metric, kind="rate" if self.feature is None else "aggregate")
        if found.swapped and self.feature is None:
            raise FairnessError(
                f"{self.metric} needs a sensitive feature: the one whose word is swapped"
            )
        checked_confidence(self.confidence)
        if self.direction not in ("at-most", "at-least"):
            raise FairnessError(f"direction {self.direction!r} must be 'at-most' or 'at-least'")
        if not found.low <= self.bar <= found.high:
            raise FairnessError(
                f"bar {self.bar!r} for {self.metric} is outside its range "
                f"[{found.low:g}, {found.high:g}]"
            )
        sense = _SENSE.get(found.combine or "", self.direction)
        if self.direction != sense:
            raise FairnessError(
                f"{self.metric} is a {found.combine}: it can only be asked to be {sense} "
                f"{self.bar:g}, since {self.direction} would reward disparity"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether an objective holds.

    Attributes:
        objective: what was asked.
        outcome: `holds` or `fails` only when the whole interval lies on one side of the bar.
        estimate: value and interval.
        sentence: the verdict in plain words, one line.
        settle: when it cannot conclude, what would settle it; else empty.
    """

    objective: Objective
    outcome: Outcome
    estimate: Estimate
    sentence: str
    settle: str
