"""Models that may come out of the run, as far as the tables tell them apart.

A model is the share of records selected, by cell and label; of several classes, the share that is
right (`kinds`). Scores of two classes are binormal: on the logit scale, those of a cell and label
are normal with one spread, and as many of them as are selected lie above the charter's threshold.
A family is a line of such models; an objective's truth
is looked for on it, with the gate's own estimator on the expected table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedethics.fairness.explained import FloatArray
from fedethics.fairness.judge import Objective
from fedethics.fairness.layout import INTERSECTION, Layout
from fedethics.foresight.kinds import kind_of
from fedethics.foresight.population import Population

# Shares of each cell and label, shape (cells, labels), of a strength in [-1, 1].
Family: TypeAlias = Callable[[float], FloatArray]

_GRID = np.linspace(-1.0, 1.0, 41)
_STEPS = 10


def fair(layout: Layout, accuracy: float) -> FloatArray:
    """Return the model that is right as often for every cell and label."""
    return _everywhere(layout, kind_of(layout).fair(accuracy))


def _everywhere(layout: Layout, shares: FloatArray) -> FloatArray:
    return np.tile(shares, (layout.num_cells, 1))


def families(objective: Objective, population: Population, accuracy: float) -> Iterator[Family]:
    """Yield the lines on which the objective's truth is looked for, the plainest first."""
    layout, kind = population.layout, kind_of(population.layout)
    compares = objective.metric.endswith(("_group_min", "_group_max"))
    if objective.feature is None or compares:
        # The same in every group, from always wrong to always right; then from few to many.
        yield lambda s: fair(layout, (1.0 + s) / 2.0)
        yield lambda s: _everywhere(layout, kind.alike(s))
        return
    apart = _smallest_group(objective.feature, population)
    base = fair(layout, accuracy)
    for direction in kind.directions(objective.metric):
        yield _shifted(base, apart, direction)


def _shifted(base: FloatArray, apart: FloatArray, direction: FloatArray) -> Family:
    """Return models in which one group's rates move from the others' towards 0 or 1."""

    def at(strength: float) -> FloatArray:
        towards = (1.0 + direction * np.sign(strength)) / 2.0
        moved = base + np.abs(direction * strength) * (towards - base)
        return np.where(apart[:, None], moved, base)

    return at


def _smallest_group(feature: str, population: Population) -> FloatArray:
    """Return which cells are of the group, or intersection, with the fewest records."""
    layout = population.layout
    names = feature.split(INTERSECTION)
    axes = [layout.features.index(layout.feature(name)) for name in names]
    place = layout.groups_of(np.arange(layout.num_cells))
    number = np.zeros(layout.num_cells, dtype=np.int64)
    for axis in axes:
        number = number * layout.shape[axis] + place[:, axis]
    sizes = np.bincount(number, weights=population.shares.sum(axis=1))
    smallest: FloatArray = number == sizes.argmin()
    return smallest


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Found:
    """A model with the value that was looked for, and the value that it has."""

    selected: FloatArray
    value: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Line:
    """A family with the metric's value along it.

    Attributes:
        family: the models.
        value_of: the metric's value for the selected shares of a model, NaN where it has none.
        values: on the grid of strengths.
    """

    family: Family
    value_of: Callable[[FloatArray], float]
    values: FloatArray

    @classmethod
    def along(cls, family: Family, value_of: Callable[[FloatArray], float]) -> Line:
        """Take the value on the grid."""
        values = np.array([value_of(family(strength)) for strength in _GRID])
        return cls(family=family, value_of=value_of, values=values)

    def at(self, wanted: float, *, within: float) -> Found | None:
        """Return the model whose metric is `wanted`, the one nearest to the middle of the line.

        None where no model of the line comes as near as `within`.
        """
        off = self.values - wanted
        if np.isnan(off).all():
            return None
        crossings = np.flatnonzero(np.sign(off[:-1]) * np.sign(off[1:]) < 0)
        nearest = np.nanargmin(np.abs(off) + 1e-9 * np.abs(_GRID))
        if len(crossings) and abs(off[nearest]) > 0:
            strength = self._crossing(wanted, crossings, off)
        else:
            strength = float(_GRID[nearest])
        selected = self.family(strength)
        value = self.value_of(selected)
        return Found(selected=selected, value=value) if abs(value - wanted) <= within else None

    def _crossing(self, wanted: float, crossings: NDArray[np.int64], off: FloatArray) -> float:
        at = crossings[np.abs(_GRID[crossings] + _GRID[crossings + 1]).argmin()]
        low, high, sign = float(_GRID[at]), float(_GRID[at + 1]), np.sign(off[at])
        for _ in range(_STEPS):
            middle = 0.5 * (low + high)
            same = np.sign(self.value_of(self.family(middle)) - wanted) == sign
            low, high = (middle, high) if same else (low, middle)
        return 0.5 * (low + high)
