"""Exact Skellam noise from uniform words: inversion of a 128-bit table of the distribution.

Guarantee: each draw's distribution is within total variation 2^-100 of Skellam(variance). No
floating-point number takes part, so no output is impossible under a neighbouring input (the
attack of Mironov 2012; see also Holohan and Braghin 2021).

A draw is decided by 64 random bits; where they fall on a table entry's leading 64 bits (once in
about 2^54 draws), 64 more are taken. The time of a table search depends on the noise it draws,
like any memory access; nothing here defends against a process on the same machine that times it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from fedethics.privacy.skellam import burn_in, reach

_PRECISION = 256  # bits of the fixed point in which the table is computed
_WORD = 64
_LOW = (1 << _WORD) - 1


@dataclass(frozen=True, slots=True)
class SkellamTable:
    """Cumulative probabilities of -reach .. reach - 1, in units of 2^-128, as two 64-bit halves."""

    reach: int
    high: NDArray[np.uint64]
    low: NDArray[np.uint64]

    def draw(self, words: NDArray[np.uint64], next_word: Callable[[], int]) -> NDArray[np.int64]:
        """Return one draw for each word of `words`; a tie takes one more from `next_word`."""
        at = np.searchsorted(self.high, words, side="left")
        inside = np.minimum(at, self.high.size - 1)
        tied = (at < self.high.size) & (self.high[inside] == words)
        for position in np.flatnonzero(tied):
            at[position] = self._break_tie(int(at[position]), int(words[position]), next_word())
        return at.astype(np.int64) - self.reach

    def _break_tie(self, at: int, word: int, low_bits: int) -> int:
        while at < self.high.size and self.high[at] == word and self.low[at] <= low_bits:
            at += 1
        return at


@lru_cache(maxsize=16)
def skellam_table(variance: float) -> SkellamTable:
    """Return the table of Skellam(variance), computed in integers.

    Raises:
        AccountingError: variance not above 0, or above 1e10.
    """
    last = reach(variance)
    return table_of(_weights(variance, last))


def table_of(right: Sequence[int]) -> SkellamTable:
    """Return the table of a symmetric distribution from its weights of 0, 1, 2, ..., integers."""
    weights = [*reversed(right[1:]), *right]
    total = sum(weights)
    # Where the upper tail has underflowed, its entries stop one short of 2^128.
    scaled = [
        min((count << 2 * _WORD) // total, (1 << 2 * _WORD) - 1)
        for count in accumulate(weights[:-1])
    ]
    return SkellamTable(
        reach=len(right) - 1,
        high=np.array([value >> _WORD for value in scaled], dtype=np.uint64),
        low=np.array([value & _LOW for value in scaled], dtype=np.uint64),
    )


def _weights(variance: float, last: int) -> list[int]:
    """Return p(k) / p(0) for k = 0 .. last, in fixed point; the recursion is skellam.ratios'."""
    exact = Fraction(variance)
    scaled = (exact.numerator << _PRECISION) // exact.denominator
    ratios = [0] * (last + 1)
    ratio = 0
    for k in range(last + burn_in(variance), 0, -1):
        ratio = (scaled << _PRECISION) // ((2 * k << _PRECISION) + (scaled * ratio >> _PRECISION))
        if k <= last:
            ratios[k] = ratio
    weights = [1 << _PRECISION]
    for k in range(1, last + 1):
        weights.append(weights[-1] * ratios[k] >> _PRECISION)
    return weights
