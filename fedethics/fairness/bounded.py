"""Means of numbers between 0 and 1, one of each record, by group: hit and miss in fractions.

A record with the number a adds a to its group's hits and 1 - a to its misses. So one record moves
both by 1 together, like one that is right or wrong, and the mean is hits / (hits + misses).

Interval: with h hits, m misses and N = h + m, T(A) = h - A N has mean 0 at the true mean A. Its
variance has two parts. Noise: (1 - 2 A + 2 A^2) V, with V the noise variance of an entry. Sampling:
N A (1 - A) is the most that numbers with mean A can have (Bhatia and Davis 2000). What they have is
less by D, the sum of a (1 - a): N A (1 - A) - D is N times their variance. D is a sum of its own; a
record moves it by at most 1/4, so it needs little noise. It enters less its own standard deviation
and less what rounding can add, so that noise in it does not narrow the interval. All A that the
test does not reject are the roots of a quadratic: Wilson's interval where every number is 0 or 1.
Elsewhere the variance is estimated, and the sampling part grows as Student's interval does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from fedethics.errors import FairnessError
from fedethics.fairness.estimate import Bands, Estimate, estimated, two_sided
from fedethics.fairness.explained import FloatArray
from fedethics.fairness.gaps import over_groups
from fedethics.fairness.metrics import Combine
from fedethics.fairness.partition import BoolArray, suppression_reason, withheld_groups


def on_grid(values: FloatArray, *, grid: int) -> np.ndarray:
    """Return each record's steps of hit, of miss and of spread, int64, shape (n, 3).

    Guarantee: hit and miss of a record add up to `grid`, and its spread is from 0 to `grid`.

    Args:
        values: numbers in [0, 1], one of each record, shape (n,).
        grid: steps from 0 to 1.

    Raises:
        FairnessError: a number is not in [0, 1]. Says how many, never which.
    """
    wrong = ~((values >= 0.0) & (values <= 1.0))
    if wrong.any():
        raise FairnessError(
            f"{int(wrong.sum())} of {wrong.size} measured numbers are outside [0, 1]; nothing was "
            "tabulated or sent"
        )
    hit = np.rint(values * grid).astype(np.int64)
    miss = grid - hit
    return np.stack([hit, miss, np.rint(4 * hit * miss / grid).astype(np.int64)], axis=1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ValueSums:
    """The opened sums of one measure, in records.

    Attributes:
        groups: their names.
        hits, misses: (G,), noised.
        spread: (G,), noised sums of a (1 - a); zeros where every number is 0 or 1.
        noise, spread_noise: noise variance of an entry of each.
        step: what each number was rounded to.
        contributors: sites with records of each group, by their declarations, shape (G,).
    """

    groups: tuple[str, ...]
    hits: FloatArray
    misses: FloatArray
    spread: FloatArray
    noise: float
    spread_noise: float
    step: float
    contributors: np.ndarray

    @property
    def sizes(self) -> FloatArray:
        """Noised number of records of each group."""
        return self.hits + self.misses

    def kept(self, keep: BoolArray) -> ValueSums:
        """Return the groups where `keep` is true."""
        return replace(
            self,
            groups=tuple(name for name, kept in zip(self.groups, keep, strict=True) if kept),
            hits=self.hits[keep],
            misses=self.misses[keep],
            spread=self.spread[keep],
            contributors=self.contributors[keep],
        )

    def together(self, *, sites: int) -> ValueSums:
        """Return all groups as one, with the noise of all."""
        count = len(self.groups)
        return replace(
            self,
            groups=("everyone",),
            hits=self.hits.sum(keepdims=True),
            misses=self.misses.sum(keepdims=True),
            spread=self.spread.sum(keepdims=True),
            noise=count * self.noise,
            spread_noise=count * self.spread_noise,
            contributors=np.array([sites]),
        )

    def hidden(self, *, minimum_cell: int) -> BoolArray:
        """Return which groups are withheld, see `suppressed_groups`."""
        return withheld_groups(
            self.groups,
            np.stack([self.misses, self.hits], axis=1)[:, None],
            variance=self.noise,
            contributors=self.contributors,
            minimum_cell=minimum_cell,
        )


def mean_bands(sums: ValueSums, *, z: float) -> Bands:
    """Return the mean of each group with its limits, arrays of shape (G,); NaN where nobody is."""
    hits, n = sums.hits, sums.sizes
    known = n > 0
    value = np.divide(hits, n, out=np.full_like(n, np.nan), where=known).clip(0.0, 1.0)
    rounding = 0.5 * np.maximum(n, 0.0) * sums.step / 4
    told = np.maximum(sums.spread - np.sqrt(sums.spread_noise) - rounding, 0.0)
    people = np.maximum(n, 0.0)
    zz, v = z * z, sums.noise
    few = _of_few(people, zz) if sums.step else np.ones_like(people)
    # T^2 <= z^2 (max(n A (1 - A) - D, 0) + noise): either with the first part, or without it.
    ends = [
        _roots(
            n * n + zz * share * people - 2 * zz * v,
            -2 * hits * n - zz * share * people + 2 * zz * v,
            hits * hits + zz * share * told - zz * v,
        )
        for share in (few, np.zeros_like(few))
    ]
    low, high = np.fmin(ends[0][0], ends[1][0]), np.fmax(ends[0][1], ends[1][1])
    half = 0.5 * sums.step
    return Bands(
        value,
        np.where(known, np.fmin(low, value) - half, -np.inf),
        np.where(known, np.fmax(high, value) + half, np.inf),
    )


def _of_few(people: FloatArray, zz: float) -> FloatArray:
    """Return by how much a variance that is estimated from few must grow: Student's, squared.

    n / (n - 1), and the first term of t's quantile over z's (Cornish and Fisher 1938).
    """
    less = np.maximum(people - 1.0, 1.0)
    return (1.0 + 1.0 / less) * (1.0 + (zz + 1.0) / (4.0 * less)) ** 2


def _roots(
    square: FloatArray, linear: FloatArray, constant: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the ends of {A: square A^2 + linear A + constant <= 0}; NaN where it is empty."""
    inside = linear * linear - 4.0 * square * constant
    root = np.sqrt(np.where(inside >= 0, inside, np.nan))
    # Without a positive leading coefficient the noise hides how many there are.
    bounded = square > 0
    twice = np.where(bounded, 2.0 * square, 1.0)
    low = np.where(bounded, (-linear - root) / twice, -np.inf)
    high = np.where(bounded, (-linear + root) / twice, np.inf)
    return low, high


def _cut(sums: ValueSums) -> BoolArray:
    """Return whether noise carried each group's mean out of its range."""
    found: BoolArray = ((sums.hits < 0) | (sums.misses < 0)) & (sums.noise > 0)
    return found


def mean_of(sums: ValueSums, group: int = 0, *, confidence: float) -> Estimate:
    """Return the mean of one group with its interval, cut to [0, 1]."""
    bands = mean_bands(sums, z=two_sided(confidence))
    unknown = bool(np.isnan(bands.value[group]))
    return estimated(
        float(bands.value[group]),
        max(0.0, float(bands.low[group])),
        min(1.0, float(bands.high[group])),
        confidence=confidence,
        note="no records" if unknown else "",
        cut=bool(_cut(sums)[group]),
    )


def means_by_group(sums: ValueSums, *, confidence: float, minimum_cell: int) -> dict[str, Estimate]:
    """Return the mean of every group; a small one is withheld, with the reason as its note."""
    hidden = sums.hidden(minimum_cell=minimum_cell)
    withheld = Estimate(
        value=float("nan"), low=0.0, high=1.0, confidence=confidence,
        note=suppression_reason(minimum_cell),
    )  # fmt: skip
    return {
        name: withheld if hidden[place] else mean_of(sums, place, confidence=confidence)
        for place, name in enumerate(sums.groups)
    }


def compared(
    sums: ValueSums, combine: Combine, *, confidence: float, minimum_cell: int
) -> Estimate:
    """Return a difference, ratio, lowest or highest group of the means, with its interval.

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
    fewest = 1 if combine in ("group_min", "group_max") else 2
    if len(shown.groups) < fewest:
        notes.append("too few groups to compare")
        return estimated(float("nan"), 0.0, 1.0, confidence=confidence, note="; ".join(notes))
    value, low, high = over_groups(
        partial(mean_bands, shown), len(shown.groups), combine, confidence=confidence
    )
    return estimated(
        value,
        max(0.0, low) if np.isfinite(value) else 0.0,
        min(1.0, high) if np.isfinite(value) else 1.0,
        confidence=confidence,
        note="; ".join(notes),
        cut=bool(_cut(shown).any()),
    )
