"""How much more often a model is right than another one, on the same records, with an interval.

Each record stands in one of four entries: both right, gained (only the second is right), lost (only
the first is), both wrong. Records on which both agree say nothing of the change, so that the
interval is narrower than that of a difference of two accuracies.

T(d) = gained - lost - d N has mean 0 at the true change d, N being the sum of all four. Its
variance has two parts. From the sample of records: max(gained + lost - N d^2, |d| N (1 - |d|)) at
most, where the second is the least that a change of d allows. From noise of variance v on each
entry: v ((1 - d)^2 + (1 + d)^2 + 2 d^2). The interval is every d that this test
does not reject. Source: Tango 1998 (Stat. Med. 17:891), with the noise of the sums added.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedethics.errors import FairnessError
from fedethics.fairness.estimate import Bands, Estimate, estimated, two_sided
from fedethics.fairness.explained import FloatArray
from fedethics.fairness.gaps import over_groups
from fedethics.fairness.partition import BoolArray, suppression_reason, withheld_groups

BOTH_RIGHT, GAINED, LOST, BOTH_WRONG = range(4)
ENTRIES = ("both right", "gained", "lost", "both wrong")
LOWEST, HIGHEST = -1.0, 1.0
# Beyond the range too, so that a limit that noise pushes there is not cut off (see Bands).
_GRID = np.linspace(-2.0, 2.0, 8001)
_HALVINGS = 20
# The normal law's quantile at 80 %.
_OF_80_PERCENT = 0.8416


def tabulate_pairs(
    groups: NDArray[np.int64], *, before: ArrayLike, after: ArrayLike, count: int
) -> NDArray[np.int64]:
    """Return how many records of each group stand in each entry, shape (count, 4).

    Guarantee: adding or removing one record changes one entry by 1, and which one follows from
    that record's group and its own two answers.

    Args:
        groups: number of each record's group, shape (n,).
        before: whether the first model is right, shape (n,).
        after: whether the second one is, shape (n,).
        count: how many groups there are.

    Raises:
        FairnessError: unequal lengths, or a group that is none. Says how many, never which.
    """
    first, second = np.asarray(before, dtype=bool), np.asarray(after, dtype=bool)
    if not groups.shape == first.shape == second.shape or groups.ndim != 1:
        raise FairnessError(
            f"{len(groups)} groups, {len(first)} answers before and {len(second)} after: they must "
            "be of the same records; nothing was counted"
        )
    if ((groups < 0) | (groups >= count)).any():
        raise FairnessError("some records' group is none of the declared ones; nothing was counted")
    entry = np.where(second, np.where(first, BOTH_RIGHT, GAINED), np.where(first, LOST, BOTH_WRONG))
    counted = np.bincount(groups * 4 + entry, minlength=4 * count)
    return np.asarray(counted.reshape(count, 4), dtype=np.int64)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairedSums:
    """Opened entries of each group.

    Attributes:
        groups: names.
        table: (G, 4) as in `ENTRIES`; entries may be negative through noise.
        noise: variance of the noise on each entry.
        contributors: how many sites have records of each group, by their declarations, shape (G,).
    """

    groups: tuple[str, ...]
    table: FloatArray
    noise: float
    contributors: NDArray[np.int64]

    @property
    def sizes(self) -> FloatArray:
        """Noisy number of records of each group, shape (G,)."""
        size: FloatArray = self.table.sum(axis=1)
        return size

    def kept(self, keep: BoolArray) -> PairedSums:
        """Return the groups where `keep` is true."""
        return replace(
            self,
            groups=tuple(name for name, kept in zip(self.groups, keep, strict=True) if kept),
            table=self.table[keep],
            contributors=self.contributors[keep],
        )

    def together(self, *, sites: int) -> PairedSums:
        """Return all groups as one, with the noise of all."""
        return PairedSums(
            groups=("everyone",),
            table=self.table.sum(axis=0, keepdims=True),
            noise=self.noise * len(self.groups),
            contributors=np.array([sites]),
        )

    def hidden(self, *, minimum_cell: int) -> BoolArray:
        """Return which groups are withheld, see `suppressed_groups`."""
        return withheld_groups(
            self.groups,
            self.table.reshape(-1, 2, 2),
            variance=self.noise,
            contributors=self.contributors,
            minimum_cell=minimum_cell,
        )


def change_bands(sums: PairedSums, *, z: float) -> Bands:
    """Return each group's change of accuracy with its limits, arrays of shape (G,)."""
    sizes = sums.sizes
    known = sizes > 0
    gained, lost = sums.table[:, GAINED], sums.table[:, LOST]
    value = np.divide(gained - lost, sizes, out=np.full_like(sizes, np.nan), where=known)
    low, high = np.full_like(value, -np.inf), np.full_like(value, np.inf)
    for group in np.flatnonzero(known):
        low[group], high[group] = _limits(sums.table[group], sums.noise, z)
    return Bands(value.clip(LOWEST, HIGHEST), low, high)


def _limits(entries: FloatArray, noise: float, z: float) -> tuple[float, float]:
    """Return the least and the greatest change that is not rejected, to 2^-20 of a grid's step."""
    gained, lost, size = float(entries[GAINED]), float(entries[LOST]), float(entries.sum())

    def beyond(change: FloatArray) -> FloatArray:
        magnitude = np.minimum(np.abs(change), 1.0)
        sampled = np.maximum(gained + lost - size * change**2, 0.0)
        sampled = np.maximum(sampled, size * magnitude * (1.0 - magnitude))
        noised = noise * ((1.0 - change) ** 2 + (1.0 + change) ** 2 + 2.0 * change**2)
        missed: FloatArray = (gained - lost - change * size) ** 2 - z * z * (sampled + noised)
        return missed

    tried = np.sort(np.append(_GRID, (gained - lost) / size))
    kept = np.flatnonzero(beyond(tried) <= 0)
    if not len(kept):  # the estimate itself lies beyond the grid
        return -np.inf, np.inf
    ends = []
    for inner, outer in ((kept[0], kept[0] - 1), (kept[-1], kept[-1] + 1)):
        if not 0 <= outer < len(tried):
            ends.append(-np.inf if outer < 0 else np.inf)
            continue
        inside, outside = float(tried[inner]), float(tried[outer])
        for _ in range(_HALVINGS):
            middle = 0.5 * (inside + outside)
            if beyond(np.array([middle]))[0] <= 0:
                inside = middle
            else:
                outside = middle
        ends.append(outside)
    return ends[0], ends[1]


def _cut(sums: PairedSums) -> BoolArray:
    """Return whether noise carried each group's change out of its range."""
    apart = np.abs(sums.table[:, GAINED] - sums.table[:, LOST])
    found: BoolArray = (apart > sums.sizes) & (sums.noise > 0)
    return found


def change_of(sums: PairedSums, group: int = 0, *, confidence: float) -> Estimate:
    """Return one group's change of accuracy with its interval, cut to [-1, 1]."""
    bands = change_bands(sums, z=two_sided(confidence))
    unknown = bool(np.isnan(bands.value[group]))
    return estimated(
        float(bands.value[group]),
        max(LOWEST, float(bands.low[group])),
        min(HIGHEST, float(bands.high[group])),
        confidence=confidence,
        note="no records" if unknown else "",
        cut=bool(_cut(sums)[group]),
    )


def changes_by_group(
    sums: PairedSums, *, confidence: float, minimum_cell: int
) -> dict[str, Estimate]:
    """Return the change of every group; a small one is withheld, with the reason as its note."""
    hidden = sums.hidden(minimum_cell=minimum_cell)
    withheld = Estimate(
        value=float("nan"), low=LOWEST, high=HIGHEST, confidence=confidence,
        note=suppression_reason(minimum_cell),
    )  # fmt: skip
    return {
        name: withheld if hidden[place] else change_of(sums, place, confidence=confidence)
        for place, name in enumerate(sums.groups)
    }


def lowest_change(sums: PairedSums, *, confidence: float, minimum_cell: int) -> Estimate:
    """Return the change of the group for which it is lowest, with an interval for all of them.

    Groups that are withheld, or hold nobody, do not enter; the note names them.
    """
    hidden = sums.hidden(minimum_cell=minimum_cell)
    empty = ~hidden & (sums.sizes <= 0)
    shown = sums.kept(~hidden & ~empty)
    notes = [
        f"left out{why}: {', '.join(sums.kept(which).groups)}"
        for which, why in ((hidden, " as too small to show"), (empty, ", no records"))
        if which.any()
    ]
    if not shown.groups:
        notes.append("no group is left")
        return estimated(
            float("nan"), LOWEST, HIGHEST, confidence=confidence, note="; ".join(notes)
        )
    value, low, high = over_groups(
        partial(change_bands, shown), len(shown.groups), "group_min", confidence=confidence
    )
    return estimated(
        value,
        max(LOWEST, low),
        min(HIGHEST, high),
        confidence=confidence,
        note="; ".join(notes),
        cut=bool(_cut(shown).any()),
    )


def change_that_holds(
    bar: float, *, records: float, changed: float, noise: float, confidence: float
) -> float:
    """Return the least true change at which "at least `bar`" holds with a probability of 80 %.

    To a thousandth; infinite where no change will do.

    Args:
        bar: asked for.
        records: that are compared.
        changed: share of them whose answer changes; more where the change itself needs more.
        noise: variance of the noise on each entry.
        confidence: of the interval.
    """
    z = two_sided(confidence)
    for change in np.arange(math.ceil(bar * 1000), 1000) / 1000:
        moved = max(changed, abs(change))
        still = (1.0 - moved) / 2.0
        shares = np.array([still, (moved + change) / 2.0, (moved - change) / 2.0, still])
        low, _ = _limits(records * shares, noise, z)
        if change - low <= (change - bar) * z / (z + _OF_80_PERCENT):
            return float(change)
    return math.inf
