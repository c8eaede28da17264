"""Several opened, noised tables of the same people, made to agree: generalised least squares.

A histogram and the counts by label and decision are of the same people, each with noise of its own.
The counts know a class's total far better than the sum of 64 noisy bins does. Of all tables that
agree with each other, `reconciled` returns the one that is nearest to what was opened, each sum
weighed by its noise. It is post-processing: no record is read, no budget is spent. It stays
unbiased, since no entry is cut at 0.

The observations are taken one after the other. Each is a sum over neighbouring bins with a noise
variance of its own; the estimate moves by C a / (a' C a + w) times what it misses, and the noise's
covariance C loses (C a)(C a)' / (a' C a + w). This gives (sum of L' L / v)^-1 exactly, in any
order, and needs no solver: C is kept as `variance` times the identity less a few squares.

Sources: Hay, Rastogi, Miklau and Suciu 2010 (PVLDB 3:1021, section 4.2); Honaker 2015; Li et al.
2015 (VLDB J. 24:757).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fedethics.fairness.explained import FloatArray

# Below this share of the bins' own noise nothing is left to learn: what remains is rounding.
_ROUNDING = 1e-12


class Observed(NamedTuple):
    """A sum over neighbouring bins that was opened besides.

    Attributes:
        start, stop: the bins that it adds up, as of a slice.
        people: noised sums, shape (G, rows).
        variance: noise variance of each of them.
    """

    start: int
    stop: int
    people: FloatArray
    variance: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BinNoise:
    """Covariance of the noise on one row of bins: C = variance * identity - known' known.

    Every group and row has the same, and is independent of the others.

    Attributes:
        variance: of each bin as it was opened.
        known: (K, bins), what other sums know of the bins; no rows where there were none.
    """

    variance: float
    known: FloatArray

    @classmethod
    def alone(cls, variance: float, bins: int) -> BinNoise:
        """Return the noise of bins of which nothing else is known."""
        return cls(variance=variance, known=np.zeros((0, bins)))

    def times(self, factor: float) -> BinNoise:
        """Return the noise of a sum of `factor` such rows, or of one with that much variance."""
        return BinNoise(variance=self.variance * factor, known=self.known * math.sqrt(factor))

    def product(self, first: FloatArray, second: FloatArray) -> FloatArray:
        """Return first' C second over the last axis, which is that of the bins."""
        left, right = self.seen(first), self.seen(second)
        found: FloatArray = self.variance * (first * second).sum(axis=-1) - (left * right).sum(
            axis=-1
        )
        return found

    def seen(self, first: FloatArray) -> FloatArray:
        """Return `known` times vectors over the bins, shape (..., K)."""
        found: FloatArray = (first[..., None, :] * self.known).sum(axis=-1)
        return found

    def summed(self, fine: int) -> FloatArray:
        """Return the variance of the sum of each `fine` neighbouring bins, shape (bins / fine,)."""
        rows, bins = self.known.shape
        blocks = self.known.reshape(rows, bins // fine, fine).sum(axis=2)
        found: FloatArray = np.maximum(self.variance * fine - (blocks**2).sum(axis=0), 0.0)
        return found


def reconciled(
    histogram: FloatArray, variance: float, observed: Iterable[Observed]
) -> tuple[FloatArray, BinNoise]:
    """Return the histogram that agrees best with all that was opened, and the noise left in it.

    Args:
        histogram: (G, rows, bins), noised.
        variance: noise variance of each bin.
        observed: further sums over the same people, with independent noise.
    """
    found = np.array(histogram, dtype=np.float64)
    noise = BinNoise.alone(variance, found.shape[-1])
    for one in observed:
        inside = np.zeros(found.shape[-1])
        inside[one.start : one.stop] = 1.0
        tied = variance * inside - (noise.seen(inside)[:, None] * noise.known).sum(axis=0)
        own = float(tied[one.start : one.stop].sum())
        if own <= _ROUNDING * variance * (one.stop - one.start):
            continue  # the bins carry no noise, or the sum is known already
        left = own + one.variance
        missed = one.people - found[..., one.start : one.stop].sum(axis=-1)
        found += missed[..., None] * (tied / left)
        known = np.concatenate([noise.known, tied[None] / math.sqrt(left)])
        noise = BinNoise(variance=variance, known=known)
    return found, noise
