"""Opened tables as a run might open them: records drawn, tabulated by the charter's layout, noised.

A record is of one of finitely many types: cell, label, what is decided, score bin. Each type goes
once through `tabulate`, the sites' own code, so that what is drawn follows whatever layout the
charter has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedethics.fairness.explained import FloatArray
from fedethics.fairness.layout import Layout, Tables
from fedethics.fairness.partition import MINIMUM_SITES
from fedethics.fairness.tabulate import tabulate
from fedethics.foresight.kinds import kind_of
from fedethics.foresight.population import Population

_EXPECTED = 10_000_000
# Of all types: what is rarer than this is never drawn.
_RARE = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class TableNoise:
    """Variance of the noise on each entry of the opened tables."""

    counts: float
    histogram: float

    def times(self, factor: float) -> TableNoise:
        """Return noise of `factor` times the standard deviation."""
        return TableNoise(counts=self.counts * factor**2, histogram=self.histogram * factor**2)


NO_NOISE = TableNoise(counts=0.0, histogram=0.0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Drawing:
    """What draws tables of one layout.

    Attributes:
        layout: of the tables; nothing is explained.
        entries: the entries that a record of each type touches, shape (types, blocks).
        sites: in the sum.
    """

    layout: Layout
    entries: NDArray[np.int64]
    sites: int

    @classmethod
    def of(cls, layout: Layout, *, sites: int) -> Drawing:
        """Tabulate each type once."""
        groups = layout.groups_of(np.arange(layout.num_cells))
        kind = kind_of(layout)
        touched = [
            np.flatnonzero(
                tabulate(
                    layout, groups=groups[cell, None], labels=[label], scores=np.stack([score])
                )
            )
            for cell in range(layout.num_cells)
            for label in range(kind.targets)
            for score in kind.outcomes(layout, label)
        ]
        return cls(layout=layout, entries=np.array(touched), sites=max(sites, MINIMUM_SITES))

    def types(self, population: Population, selected: FloatArray) -> FloatArray:
        """Return the share of each type under a model, shape (types,)."""
        shares = population.shares[..., None] * kind_of(self.layout).shares(self.layout, selected)
        kept = np.where(shares > _RARE, shares, 0.0).reshape(-1)
        whole: FloatArray = kept / kept.sum()
        return whole

    def expected(self, population: Population, selected: FloatArray) -> Tables:
        """Return the tables of very many records, without noise."""
        records = np.rint(self.types(population, selected) * _EXPECTED).astype(np.int64)
        return self._tables(self._vector(records), NO_NOISE)

    def draw(
        self,
        population: Population,
        selected: FloatArray,
        noise: TableNoise,
        rng: np.random.Generator,
    ) -> Iterator[tuple[Tables, Tables]]:
        """Yield tables, any number of them: with noise, and the same records without it."""
        types = self.types(population, selected)
        there = np.flatnonzero(types)
        records = np.zeros(len(types), dtype=np.int64)
        half = self._variances(noise) / 2.0
        while True:
            records[there] = rng.multinomial(population.records, types[there])
            exact = self._vector(records)
            noised = exact + rng.poisson(half) - rng.poisson(half)
            yield self._tables(noised, noise), self._tables(exact, NO_NOISE)

    def _vector(self, records: NDArray[np.int64]) -> NDArray[np.int64]:
        weights = np.repeat(records, self.entries.shape[1])
        counted = np.bincount(self.entries.ravel(), weights, minlength=self.layout.length)
        return np.rint(counted).astype(np.int64)

    def _variances(self, noise: TableNoise) -> FloatArray:
        lengths = (self.layout.counts_length, self.layout.histogram_length)
        return np.repeat([noise.counts, noise.histogram], lengths)

    def _tables(self, vector: NDArray[np.int64], noise: TableNoise) -> Tables:
        return Tables.from_vector(
            vector,
            layout=self.layout,
            counts_variance=noise.counts,
            histogram_variance=noise.histogram,
            sites=self.sites,
        )
