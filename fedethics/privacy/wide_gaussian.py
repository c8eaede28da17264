"""Exact discrete Gaussian noise: integers k with probability proportional to exp(-k^2 / 2 sigma^2).

Guarantee: each draw's distribution is within total variation 2^-100 of the discrete Gaussian. No
floating-point number takes part in a draw, so no output is impossible under a neighbouring input
(the attack of Mironov 2012).

A small sigma is one inversion of a 128-bit table. A large one is x + m y with x and y from the
table of s = sigma / sqrt(1 + m^2): where s is at least 3 sqrt(1 + m^2), x smooths the gaps of m y
and the sum's density is the discrete Gaussian's to a factor 1 +- 4 exp(-2 pi^2 9) = 1 +- 2^-250.

Sources: Canonne, Kamath and Steinke 2020 (arXiv 2004.00010) for the distribution; Peikert 2010,
theorem 3.1, and Micciancio and Walter 2017, section 4, for the sum.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import AccountingError
from fedethics.privacy.noise import NoiseSource
from fedethics.privacy.sampler import SkellamTable, table_of

LARGEST = 2.0**40
_SMALLEST = 2.0**-4
# A table of 14 s entries a side: up to this s it is made at once.
_ONE_TABLE = 2048.0
_SMOOTHING = 3.0
_PRECISION = 256  # bits of the fixed point in which the table is computed
_DIGITS = Context(prec=100)


def sample(noise: NoiseSource, *, size: int, sigma: float) -> NDArray[np.int64]:
    """Return `size` independent draws of the discrete Gaussian of parameter `sigma`.

    Its variance is sigma^2, to a relative 1e-30 from sigma = 3 on.

    Raises:
        AccountingError: sigma not in 1/16 to 2^40. A sum that is to leave without noise must not
            pass through here, so that a wrong sigma can never mean "no noise".
    """
    if not _SMALLEST <= sigma <= LARGEST:
        raise AccountingError(
            f"discrete Gaussian sigma {sigma!r} is not in {_SMALLEST:g} to {LARGEST:g}; nothing "
            "was drawn"
        )
    stride = _stride(sigma)
    if stride == 0:
        return _from_table(noise, size, sigma)
    base = sigma / math.sqrt(1 + stride * stride)
    return sample(noise, size=size, sigma=base) + stride * sample(noise, size=size, sigma=base)


def reach(sigma: float) -> int:
    """Return the largest magnitude that a draw can have."""
    stride = _stride(sigma)
    if stride == 0:
        return _table_reach(sigma)
    return (1 + stride) * reach(sigma / math.sqrt(1 + stride * stride))


def _stride(sigma: float) -> int:
    """Return m of the sum x + m y; 0 where one table does."""
    if sigma <= _ONE_TABLE:
        return 0
    # s = sigma / sqrt(1 + m^2) must be at least 3 sqrt(1 + m^2), so 1 + m^2 at most sigma / 3.
    return math.isqrt(int(sigma / _SMOOTHING) - 1)


def _table_reach(sigma: float) -> int:
    """Return K such that both tails beyond K together weigh less than 2^-128."""
    return math.ceil(14 * sigma) + 2


def _from_table(noise: NoiseSource, size: int, sigma: float) -> NDArray[np.int64]:
    def words(count: int) -> NDArray[np.uint64]:
        return np.frombuffer(noise.random_bytes(8 * count), dtype="<u8").astype(np.uint64)

    return _table(sigma).draw(words(size), lambda: int(words(1)[0]))


@lru_cache(maxsize=16)
def _table(sigma: float) -> SkellamTable:
    """Return the table, computed in integers: weight(k + 1) = weight(k) exp(-(2k + 1) / 2 s^2)."""
    inverse = _DIGITS.divide(Decimal(1), _DIGITS.multiply(Decimal(sigma), Decimal(sigma)))
    ratio = _fixed(_DIGITS.exp(_DIGITS.multiply(inverse, Decimal("-0.5"))))
    shrink = _fixed(_DIGITS.exp(-inverse))
    weights = [1 << _PRECISION]
    for _ in range(_table_reach(sigma)):
        weights.append(weights[-1] * ratio >> _PRECISION)
        ratio = ratio * shrink >> _PRECISION
    return table_of(weights)


def _fixed(value: Decimal) -> int:
    return int(_DIGITS.multiply(value, Decimal(1 << _PRECISION)))
