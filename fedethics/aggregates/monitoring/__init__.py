"""One window of records after a release: what its verdict is computed from, in one sum.

It is the only sum of a charter with `[monitoring]`: nothing is trained. A run is of one window,
which its name tells: `NAME-w0003`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Final

from fedethics.aggregates.aggregate import (
    UNLIMITED,
    Aggregate,
    Ask,
    Moment,
    Number,
    TablePlan,
    count_spec,
)
from fedethics.aggregates.noise import Account, Noise, count_noise
from fedethics.charter.model import Charter
from fedethics.charter.monitoring_terms import MonitoringTerms
from fedethics.charter_sums import layout_of
from fedethics.errors import AccountingError, FairnessError
from fedethics.fairness.explained import NOTHING_EXPLAINED
from fedethics.fairness.layout import Layout
from fedethics.privacy.calibration import smallest_scale
from fedethics.privacy.events import Event, count_mechanism
from fedethics.secagg import SumSpec

# More noise than this, over the sensitivity, is not looked for: nothing could be seen through it.
_LARGEST = 500.0
_RUN = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]*)-w(?P<number>[0-9]{4})")


@dataclasses.dataclass(frozen=True)
class WindowLayout:
    """Where each entry of the sum lies.

    First the tables of records with a label, as at release but with scores over everyone, in a few
    coarse bins and, where they nest, in fine ones; then the coarse scores of records without a
    label; then rows of the window, rows without a label, rows that the charter leaves out for an
    empty cell, and empty cells of each column that is watched.

    Guarantee: a record moves one entry of each of `releases` parts by 1.

    Attributes:
        tables: of records with a label.
        missing: columns whose empty cells are counted.
    """

    tables: Layout
    missing: tuple[str, ...]

    @classmethod
    def of(cls, charter: Charter) -> WindowLayout:
        """Return the layout that follows from the charter.

        Raises:
            AccountingError: the charter watches nothing.
        """
        whole = dataclasses.replace(
            layout_of(charter), histogram_by=(), nested=False, explained=NOTHING_EXPLAINED
        )
        try:
            # Few bins have little noise: drift is read from them, and the order from the fine ones.
            tables = dataclasses.replace(whole, nested=True)
        except FairnessError:  # the threshold is no edge of the fine bins
            tables = whole
        return cls(tables, terms_of(charter).missing)

    @property
    def edges(self) -> tuple[float, ...]:
        """Edges of the bins in which scores are compared with those at release."""
        return self.tables.coarse_edges

    @cached_property
    def places(self) -> dict[str, slice]:
        """Each part's entries by its name: tables, unlabelled-scores, rows and so on."""
        lengths = {
            "tables": self.tables.tables_length,
            "unlabelled-scores": len(self.edges) - 1,
            "rows": 1,
            "unlabelled": 1,
            "left-out": 1,
            "missing": len(self.missing),
        }
        found, start = {}, 0
        for name, length in lengths.items():
            found[name] = slice(start, start + length)
            start += length
        return found

    @property
    def length(self) -> int:
        """Entries of the sum."""
        return int(self.places["missing"].stop)

    @property
    def releases(self) -> int:
        """Parts of which a record moves one entry each: blocks of counts, scores, and the rest."""
        return len(self.tables.count_blocks) + self.tables.score_blocks + 3 + len(self.missing)


def window_number(run: str) -> int | None:
    """Return which window a run is of; None where its name tells none."""
    found = _RUN.fullmatch(run)
    return int(found["number"]) if found and int(found["number"]) else None


def window_run(name: str, number: int) -> str:
    """Return the name of the run that reads a window."""
    return f"{name}-w{number:04d}"


def terms_of(charter: Charter) -> MonitoringTerms:
    """Return what the charter says of monitoring.

    Raises:
        AccountingError: nothing; nothing was computed.
    """
    if charter.monitoring is None:
        raise AccountingError("the charter asks for no monitoring; nothing was computed")
    return charter.monitoring


class Monitoring(Aggregate[TablePlan]):
    """The sum of one window; held-out records of the release are not read again."""

    name: Final = "monitoring"
    moment = Moment.BEFORE_STEP
    ends_run = True
    opt_in = "count new records after a release, window by window, with the released adapter"
    seen = "the opened sum of each window of new records, with noise"
    plan_type = TablePlan

    def plan(self, charter: Charter, scale: float) -> TablePlan | None:
        """Return what one window costs; None where the charter watches nothing."""
        if charter.monitoring is None:
            return None
        return TablePlan(
            rounds=(1,),
            noise=_noise(charter, charter.monitoring),
            accounts=self.accounts,
            table="the counts of a window",
        )

    def spec(self, charter: Charter, plan: TablePlan, *, vector_length: int) -> SumSpec:
        """Return the specification."""
        return count_spec(self.name, WindowLayout.of(charter).length)

    def permissions(self, charter: Charter) -> tuple[str, ...]:
        """Return the name, where windows are to be counted."""
        return () if charter.monitoring is None else (self.name,)

    def asks(self, charter: Charter) -> Iterator[Ask]:
        """Yield the windows, and what they cost."""
        terms = charter.monitoring
        if terms is None:
            return
        first, last = terms.window(1)[0], terms.window(terms.windows)[1]
        unit = charter.privacy.unit
        times = "one window" if appearances(charter) == 1 else f"all {terms.windows} windows"
        yield (
            "windows after the release",
            f"{terms.windows} of {terms.days} days by {terms.time}, {first} to {last}",
            'only with "monitoring" among allow.releases',
        )
        yield (
            "epsilon of monitoring",
            f"{terms.epsilon:g} for one {unit}, which may be in {times}",
            "the caps on an account's epsilon",
        )
        yield "records that a window needs here", f"{terms.minimum_records}", UNLIMITED

    def left(self, charter: Charter, plan: TablePlan, number: Number) -> tuple[str, str, str]:
        """Return the row of a window."""
        return (
            "counts by group, label and prediction; scores; empty cells of a window",
            "new records",
            f"{charter.privacy.evaluation.mechanism}: std {number(plan.noise.sum_std, 2)} on each "
            "entry of the sum",
        )


def appearances(charter: Charter) -> int:
    """Return in how many windows one unit may be: a record has one day, a person has many."""
    return terms_of(charter).windows if charter.privacy.unit == "person" else 1


def window_event(charter: Charter) -> Event:
    """Return what one window costs a unit that is in it."""
    return MONITORING.of({MONITORING.name: _planned(charter)}).noise.event


def _planned(charter: Charter) -> TablePlan:
    found = MONITORING.plan(charter, 0.0)
    if found is None:
        raise AccountingError("the charter asks for no monitoring; nothing was computed")
    return found


def _noise(charter: Charter, terms: MonitoringTerms) -> Noise:
    rows, releases = charter.data.max_rows_per_person, WindowLayout.of(charter).releases

    def noise(scale: float) -> Noise:
        return count_noise(
            charter, Account.EVALUATION, std=scale * rows, releases=releases, sensitivity=rows
        )

    if not noise(1.0).std:
        return noise(1.0)
    largest = count_mechanism(charter.privacy.evaluation.mechanism).largest_std
    times = appearances(charter)
    scale = smallest_scale(
        lambda scale: (noise(scale).event,) * times,
        epsilon=terms.epsilon,
        delta=charter.privacy.delta,
        largest=min(0.99 * largest / rows, _LARGEST),
    )
    return noise(scale)


MONITORING = Monitoring()
