"""What an opened census says: sizes and shares of groups, labels, missing values, lengths, words.

Each figure has an interval. That of a number of records holds the noise alone: these records are
all that there are. That of a share holds the sampling error too: the records are taken as a sample
of the people whom the sites see. Several records of one person are taken as independent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from fedethics.aggregates.census import CENSUS
from fedethics.aggregates.census.layout import CensusLayout, layout_of_census, terms_of
from fedethics.charter.census_terms import CensusTerms
from fedethics.charter.data_terms import NOT_RECORDED
from fedethics.charter.model import Charter
from fedethics.errors import AccountingError
from fedethics.fairness import Estimate
from fedethics.fairness.estimate import Bands, bounded_mean, estimated, rate_bands, two_sided
from fedethics.fairness.explained import FloatArray
from fedethics.privacy.plan import make_plan
from fedethics.release.evidence import Counted

K = TypeVar("K")
_UNHEARD = "noise hides how many there are"


@dataclass(frozen=True, kw_only=True)
class OpenedCensus:
    """The opened sum, cut into its blocks.

    Attributes:
        terms: of the charter.
        layout: of the sum.
        counts: shape (layout.length,).
        variance: of the noise on each count.
        sites: in the sum.
    """

    terms: CensusTerms
    layout: CensusLayout
    counts: FloatArray
    variance: float
    sites: int

    @cached_property
    def blocks(self) -> Mapping[tuple[str, str], FloatArray]:
        """Each block of the layout, with its shape."""
        sizes = [rows * columns for rows, columns in self.layout.shapes.values()]
        cut = np.split(self.counts, np.cumsum(sizes)[:-1])
        pairs = zip(self.layout.shapes.items(), cut, strict=True)
        return {key: flat.reshape(shape) for (key, shape), flat in pairs}

    @property
    def z(self) -> float:
        """Critical value of the charter's confidence."""
        return two_sided(self.terms.confidence)

    @property
    def size_variance(self) -> float:
        """Noise variance of a group's size: a sum over labels."""
        return self.variance * len(self.layout.labels)

    def sizes(self, feature: str) -> FloatArray:
        """Return the noised number of records of each group, shape (groups,)."""
        return np.asarray(self.blocks["groups", feature].sum(axis=1))

    def records(self) -> float:
        """Return the noised number of all records: the mean over features, each counting all."""
        totals = [float(self.sizes(name).sum()) for name in self.layout.features]
        return max(0.0, sum(totals) / len(totals))

    def people(self, feature: str, *, z: float | None = None) -> dict[str, Estimate]:
        """Return the number of records of each group.

        Args:
            feature: a sensitive feature.
            z: critical value; that of the charter's confidence unless given.
        """
        reach = (self.z if z is None else z) * math.sqrt(self.size_variance)
        return {
            group: estimated(
                max(0.0, float(size)),
                max(0.0, float(size) - reach),
                max(0.0, float(size) + reach),
                confidence=self.terms.confidence,
                cut=bool(size < 0),
            )
            for group, size in zip(self.layout.features[feature], self.sizes(feature), strict=True)
        }

    def shares(self, feature: str, *, z: float | None = None) -> dict[str, Estimate]:
        """Return each group's share of the records whose group was recorded."""
        groups, sizes = self.layout.features[feature], self.sizes(feature)
        known = np.array([group != NOT_RECORDED for group in groups])
        inside, own = sizes[known], self.size_variance
        found = rate_bands(
            inside,
            inside.sum() - inside,
            hits_noise=own,
            misses_noise=own * (len(inside) - 1),
            z=self.z if z is None else z,
        )
        return self._told([group for group in groups if group != NOT_RECORDED], found)

    def labels(self, feature: str) -> dict[tuple[str, str], Estimate]:
        """Return the share of each label in each group; empty where labels are not counted."""
        names = self.layout.labels
        if len(names) < 2:
            return {}
        block = self.blocks["groups", feature]
        found = rate_bands(
            block.ravel(),
            (block.sum(axis=1, keepdims=True) - block).ravel(),
            hits_noise=self.variance,
            misses_noise=self.variance * (len(names) - 1),
            z=self.z,
        )
        keys = [(group, label) for group in self.layout.features[feature] for label in names]
        return self._told(keys, found)

    def missing(self) -> dict[tuple[str, str], Estimate]:
        """Return the share of records without a value, by column and group."""
        return {
            (name, group): one
            for name in self.layout.missing
            for group, one in self._of_group(self.blocks["missing", name])[0].items()
        }

    def lengths(self) -> dict[tuple[str, str], Estimate]:
        """Return the share of records of each length, by bin and group."""
        if not self.layout.edges:
            return {}
        rows = self._of_group(self.blocks["lengths", ""])
        pairs = zip(self.layout.bins, rows, strict=True)
        return {(name, group): one for name, row in pairs for group, one in row.items()}

    def holding(self, feature: str) -> dict[str, Estimate]:
        """Return how many sites hold each group; empty where they are not counted."""
        if not self.layout.sites:
            return {}
        reach = self.z * math.sqrt(self.variance)
        return {
            group: estimated(
                min(max(value, 0.0), self.sites),
                min(max(value - reach, 0.0), self.sites),
                min(max(value + reach, 0.0), self.sites),
                confidence=self.terms.confidence,
                cut=not 0 <= value <= self.sites,
            )
            for group, value in zip(
                self.layout.features[feature],
                map(float, self.blocks["sites", feature][0]),
                strict=True,
            )
        }

    def of_by(self) -> tuple[FloatArray, float]:
        """Return the sizes of the groups of `by`, and the noise variance of each."""
        if self.terms.by:
            return self.sizes(self.terms.by), self.size_variance
        first = next(iter(self.layout.features))
        sizes = self.sizes(first)
        return sizes.sum(keepdims=True), self.size_variance * len(sizes)

    def _of_group(self, block: FloatArray) -> list[dict[str, Estimate]]:
        """Return each row of a block as shares of the groups of `by`."""
        people, noise = self.of_by()
        found = []
        for row in block:
            bands = bounded_mean(
                row, people, total_noise=self.variance, people_noise=noise, most=1.0, z=self.z
            )
            found.append(self._told(list(self.layout.by), bands))
        return found

    def _told(self, keys: Sequence[K], bands: Bands) -> dict[K, Estimate]:
        confidence = self.terms.confidence
        return {
            key: Estimate(value=math.nan, low=0.0, high=1.0, confidence=confidence, note=_UNHEARD)
            if not (math.isfinite(low) and math.isfinite(high))
            else estimated(
                min(max(value, 0.0), 1.0), max(low, 0.0), min(high, 1.0), confidence=confidence
            )
            for key, value, low, high in zip(keys, *map(np.ravel, bands), strict=True)
        }


def opened_census(charter: Charter, counted: tuple[Counted, ...] | None) -> OpenedCensus | None:
    """Return the opened census; None where none of the right round and size is on record.

    Args:
        charter: with a census.
        counted: the opened integers of a run, as evidence or a job's state holds them.

    Raises:
        AccountingError: the charter asks for none, or no plan follows from it.
    """
    layout, terms = layout_of_census(charter), terms_of(charter)
    plan = make_plan(charter)
    for entry in counted or ():
        if (entry.kind, entry.round, len(entry.counts)) == (CENSUS.name, 1, layout.length):
            return OpenedCensus(
                terms=terms,
                layout=layout,
                counts=np.array(entry.counts, dtype=np.float64),
                variance=CENSUS.of(plan.sums).noise.sum_variance,
                sites=plan.sites,
            )
    return None


def required(charter: Charter, counted: tuple[Counted, ...] | None) -> OpenedCensus:
    """Return the opened census.

    Raises:
        AccountingError: none is on record.
    """
    found = opened_census(charter, counted)
    if found is None:
        raise AccountingError("no census of this charter was opened; there is nothing to show")
    return found
