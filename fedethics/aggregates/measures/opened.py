"""The opened sums of the measures, in records and in the measures' own units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fedethics.aggregates.measures import MEASURES, MeasuresPlan, layout_of_measures, terms_of
from fedethics.charter.measure_terms import GRID, Combine
from fedethics.charter.model import Charter
from fedethics.fairness import Estimate
from fedethics.fairness.bounded import ValueSums, compared, mean_of, means_by_group
from fedethics.fairness.estimate import two_sided
from fedethics.fairness.partition import MINIMUM_CELL, MINIMUM_SITES
from fedethics.learning_tasks.task import Bounded
from fedethics.privacy.plan import make_plan
from fedethics.release.folder import Folder


class OpenedMeasures:
    """What a charter's measures came out as. All figures are in the measures' own units."""

    def __init__(self, charter: Charter, counts: tuple[int, ...]) -> None:
        """Cut the opened integers into the sums of each measure.

        Args:
            charter: the agreed terms.
            counts: the opened sum, as many as the layout has entries.

        Raises:
            AccountingError: the charter measures nothing, or no plan follows from it.
        """
        self._plan: MeasuresPlan = MEASURES.of(make_plan(charter).sums)
        self.layout, self._terms = layout_of_measures(charter), terms_of(charter)
        self._charter = charter
        flat = np.array(counts, dtype=np.float64)
        groups = len(self.layout.groups)
        widths = list(self.layout.widths.values())
        cuts = np.cumsum([groups * width for width in widths])
        ends = np.cumsum([self.layout.values_length, self.layout.spread_length])
        hits, spreads, words = np.split(flat, ends)
        values = np.split(hits / GRID, cuts[:-1]) if widths else []
        spread = spreads.reshape(-1, groups) / (4 * GRID)
        self._words = words.reshape(len(self.layout.words), groups, 2)
        self._tables = {
            name: table.reshape(groups, width)
            for name, table, width in zip(self.layout.measures, values, widths, strict=True)
        }
        self._sums = {
            name: self._of(
                self._tables[name],
                spread[self.layout.spread_names.index(name)] if not each.binary else None,
            )
            for name, each in self.layout.measures.items()
        }

    def estimate(self, name: str, combine: Combine = "", *, confidence: float) -> Estimate:
        """Return the mean over everyone, or how the groups' means compare."""
        measure, sums = self.layout.measures[name], self._sums[name]
        if not combine:
            everyone = sums.together(sites=len(self._charter.roster))
            return _in_units(mean_of(everyone, confidence=confidence), measure)
        found = compared(sums, combine, confidence=confidence, minimum_cell=MINIMUM_CELL)
        return _in_units(found, measure, combine)

    def by_group(self, name: str, *, confidence: float) -> dict[str, Estimate]:
        """Return the mean of each group; small ones are withheld."""
        found = means_by_group(self._sums[name], confidence=confidence, minimum_cell=MINIMUM_CELL)
        measure = self.layout.measures[name]
        return {group: _in_units(one, measure) for group, one in found.items()}

    def counted(self, name: str, *, confidence: float) -> dict[str, Estimate]:
        """Return the share of records that have such a number, over everyone and by group.

        Empty for a measure that every record has. Small groups are withheld.
        """
        if not self.layout.measures[name].apart:
            return {}
        table = self._tables[name]
        # The noise of the two entries that are added up is taken for both sides: a little too much.
        sums = replace(
            self._of(np.stack([table[:, 0] + table[:, 1], table[:, 2]], axis=1), None),
            noise=2 * self._plan.values.sum_variance / GRID**2,
        )
        together = sums.together(sites=len(self._charter.roster))
        everyone = {"everyone": mean_of(together, confidence=confidence)}
        if not self._terms.feature:
            return everyone
        return everyone | means_by_group(sums, confidence=confidence, minimum_cell=MINIMUM_CELL)

    def word(self, name: str, *, confidence: float) -> dict[str, Estimate]:
        """Return the sum of what a word moved, over everyone and by group, in units of the score.

        Like a count, it is of these records and not of a population: the interval holds the noise.
        Groups that few sites have are withheld.
        """
        vocabulary = self._terms.vocabulary
        most = vocabulary.largest_change if vocabulary else 1.0
        table = self._words[self.layout.words.index(name)]
        moved = (table[:, 0] - table[:, 1]) * most / GRID
        # Raised less lowered: two entries, each with its noise.
        spread = two_sided(confidence) * most / GRID * np.sqrt(2 * self._plan.words.sum_variance)
        whole = float(moved.sum()), float(spread * np.sqrt(len(moved)))
        found = {"everyone": _around(*whole, confidence=confidence)}
        if not self._terms.feature:
            return found
        shown = self._contributors() >= MINIMUM_SITES
        for group, value, known in zip(self.layout.groups, moved, shown, strict=True):
            if known:
                found[group] = _around(float(value), float(spread), confidence=confidence)
        return found

    def _of(self, table: np.ndarray, spread: np.ndarray | None) -> ValueSums:
        return ValueSums(
            groups=self.layout.groups,
            hits=table[:, 0],
            misses=table[:, 1],
            spread=np.zeros(len(self.layout.groups)) if spread is None else spread,
            noise=self._plan.values.sum_variance / GRID**2,
            spread_noise=0.0
            if spread is None
            else self._plan.spread.sum_variance / (4 * GRID) ** 2,
            step=1 / GRID if spread is not None else 0.0,
            contributors=self._contributors(),
        )

    def _contributors(self) -> np.ndarray:
        feature, roster = self._terms.feature, self._charter.roster
        return np.array(
            [
                sum(f"{feature}={group}" not in member.absent_groups for member in roster)
                for group in self.layout.groups
            ]
        )


def opened_measures(folder: Folder) -> OpenedMeasures | None:
    """Return the measures of a run; None where the charter asks for none, or none were opened.

    Raises:
        AccountingError: no plan follows from the charter.
    """
    charter = folder.charter
    if charter.measures is None:
        return None
    wanted = (MEASURES.name, charter.training.rounds, layout_of_measures(charter).length)
    for entry in folder.evidence.counted or ():
        if (entry.kind, entry.round, len(entry.counts)) == wanted:
            return OpenedMeasures(charter, entry.counts)
    return None


def _around(value: float, margin: float, *, confidence: float) -> Estimate:
    return Estimate(value=value, low=value - margin, high=value + margin, confidence=confidence)


def _in_units(found: Estimate, measure: Bounded, combine: Combine = "") -> Estimate:
    """Return an estimate of shares of the measure's range in the measure's own unit."""
    if combine == "ratio":
        return found
    width = measure.high - measure.low
    base = 0.0 if combine == "difference" else measure.low
    value, low, high = (base + width * end for end in (found.value, found.low, found.high))
    return replace(found, value=value, low=low, high=high)
