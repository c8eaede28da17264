"""A number with its interval, and a group's number with the group's size."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedethics.errors import FairnessError


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A value and the interval that covers the truth with the stated confidence.

    The interval holds sampling error and the noise of the sums. An undefined value is NaN, and
    its interval the metric's whole range: nothing is known, and it shows. Where noise carried a
    value out of its range, it was cut at the end, and the end is a figure that nobody
    measured: it is shown nowhere (`figure`), and the interval stands.

    Attributes:
        value: the estimate, or NaN. For readers, take `figure`.
        low: lower limit, never outside the metric's range.
        high: upper limit, likewise.
        confidence: nominal coverage, for example 0.95.
        note: what a reader must know: groups left out and why, which groups are furthest apart.
        cut: the value was cut at the end of its range, see above.
    """

    value: float
    low: float
    high: float
    confidence: float
    note: str = ""
    cut: bool = False

    @property
    def figure(self) -> float:
        """The value as it may be shown: NaN where it was cut, or where there is none."""
        return math.nan if self.cut else self.value

    @property
    def known(self) -> bool:
        """Whether the interval says anything."""
        return not math.isnan(self.value)


CUT = "no estimate: noise carried it out of its range; the interval stands"


def estimated(
    value: float, low: float, high: float, *, confidence: float, note: str = "", cut: bool = False
) -> Estimate:
    """Return an estimate, whose note says so where its value was cut."""
    return Estimate(
        value=value,
        low=low,
        high=high,
        confidence=confidence,
        note="; ".join(filter(None, (CUT if cut else "", note))),
        cut=cut,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupEstimate:
    """One group's metric, its size, and whether both are withheld.

    Attributes:
        estimate: the metric; NaN when suppressed or undefined.
        size: noisy number of records with its interval; NaN when suppressed.
        suppressed: withheld because the group, or one that it would give away, is small.
        reason: why there is no value; empty when there is one.
    """

    estimate: Estimate
    size: Estimate
    suppressed: bool
    reason: str


def checked_confidence(confidence: float) -> float:
    """Return `confidence` if it can be one.

    Raises:
        FairnessError: not in [0.5, 1).
    """
    if not 0.5 <= confidence < 1.0:
        raise FairnessError(f"confidence {confidence!r} is not in [0.5, 1); use 0.95, for example")
    return confidence
