"""Agreement between annotators: Krippendorff's alpha for nominal, ordinal and interval values.

Source: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), sections C to E. The
coincidence matrix is a sum over items, so the matrices of several sites add up to that of all.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

from fedethics.charter.annotation_terms import Level

FloatArray: TypeAlias = NDArray[np.float64]

# Krippendorff's customary limits: rely on 0.800 and above, draw tentative conclusions from 0.667.
RELIABLE = 0.8
TENTATIVE = 0.667


@dataclass(frozen=True, kw_only=True, slots=True)
class Coincidences:
    """How often two annotators of one item gave the values c and k, each item weighing its raters.

    Attributes:
        pairs: (c, k) -> o_ck, symmetric; items with fewer than two values add nothing.
        items: items that added something.
        level: how far apart two values are; see `squared_differences`.
        order: all values in their order, where the level is not nominal.
    """

    pairs: Mapping[tuple[str, str], float] = field(default_factory=dict)
    items: int = 0
    level: Level = "nominal"
    order: tuple[str, ...] = ()

    def __add__(self, other: Coincidences) -> Coincidences:
        """Return the coincidences of both sets of items: another site, another group."""
        both = set(self.pairs) | set(other.pairs)
        pairs = {key: self.pairs.get(key, 0.0) + other.pairs.get(key, 0.0) for key in both}
        return replace(self, pairs=pairs, items=self.items + other.items)

    def alpha(self) -> float:
        """Return alpha = 1 - observed over expected disagreement; NaN where values do not vary."""
        given = dict.fromkeys((*self.order, *(value for value, _ in self.pairs)))
        place = {value: number for number, value in enumerate(given)}
        matrix = np.zeros((len(place), len(place)))
        for (c, k), count in self.pairs.items():
            matrix[place[c], place[k]] = count
        if matrix.sum() <= 1:
            return math.nan
        values = np.array([float(one) if self.level == "interval" else 0.0 for one in given])
        observed, expected = disagreements(matrix, level=self.level, values=values)
        return 1 - observed / expected if expected else math.nan


def coincidences(
    items: Iterable[Sequence[str]], *, level: Level = "nominal", order: Sequence[str] = ()
) -> Coincidences:
    """Count the coincidences of `items`: each one's values, "" where an annotator gave none."""
    pairs: defaultdict[tuple[str, str], float] = defaultdict(float)
    used = 0
    for item in items:
        given = Counter(value for value in item if value)
        raters = sum(given.values())
        if raters < 2:
            continue
        used += 1
        for c, times in given.items():
            for k, others in given.items():
                together = times * (times - 1) if c == k else times * others
                if together:
                    pairs[c, k] += together / (raters - 1)
    return Coincidences(pairs=dict(pairs), items=used, level=level, order=tuple(order))


def squared_differences(level: Level, values: FloatArray, totals: FloatArray) -> FloatArray:
    """Return how far each value is from each other, squared, shape (V, V).

    Args:
        level: nominal: 0 or 1; ordinal: ranks, by how many values lie between; interval: numbers.
        values: shape (V,), in increasing order where the level is ordinal.
        totals: how often each value was given, shape (V,).
    """
    match level:
        case "nominal":
            return 1.0 - np.eye(len(values))
        case "ordinal":
            # Between the middles of two values lie those of all ranks between, and half of each.
            places = np.cumsum(totals) - totals / 2
        case "interval":
            places = values
        case _:
            assert_never(level)
    return np.asarray((places[:, None] - places[None, :]) ** 2)


def disagreements(matrix: FloatArray, *, level: Level, values: FloatArray) -> tuple[float, float]:
    """Return observed and expected disagreement, alpha = 1 - observed / expected.

    Args:
        matrix: coincidences, symmetric, shape (V, V).
        level: see `squared_differences`.
        values: see there.
    """
    totals = matrix.sum(axis=1)
    apart = squared_differences(level, values, totals)
    expected = (np.outer(totals, totals) * apart).sum() / (totals.sum() - 1)
    return float((matrix * apart).sum()), float(expected)
