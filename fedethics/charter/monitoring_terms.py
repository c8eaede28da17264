"""What is watched of a released adapter: windows of new records, bars, and a budget of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from fedethics.charter.data_terms import DataTerms
from fedethics.charter.privacy_terms import LARGEST_EPSILON
from fedethics.charter.training_terms import AdapterTerms, ModelTerms
from fedethics.charter.tuning_terms import TuningTerms
from fedethics.learning_tasks import find_task
from fedethics.terms import KEY, term

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
MOST_WINDOWS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class MonitoringBars:
    """From where on a figure of a window is an alarm; a figure without a bar is only shown.

    Attributes:
        score_psi: population stability index of the scores against those at release.
        score_ks: Kolmogorov distance between the two distributions of scores.
        calibration: share of records that are positive and score at most so much, less the share
            expected at the release's rate in each score bin; the largest distance over all scores.
        label_rate: change of the share of positives, without its sign.
        missing: share of empty cells of each column in `missing`.
        objectives: whether the charter's own objectives are judged on each window.
    """

    score_psi: float | None = term(default=None, above=0, at_most=10)
    score_ks: float | None = term(default=None, above=0, below=1)
    calibration: float | None = term(default=None, above=0, below=1)
    label_rate: float | None = term(default=None, above=0, below=1)
    missing: float | None = term(default=None, above=0, below=1)
    objectives: bool = term(default=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class MonitoringTerms:
    """The windows after a release; a charter with these terms trains nothing.

    Attributes:
        release: SHA-256 of the release's manifest.json: its tables are what windows are held to.
        time: column with each record's day (YYYY-MM-DD; a time of day may follow). It alone says
            in which window a record is, so a record is in one window.
        first_day: of the first window.
        days: length of a window.
        windows: how many there are.
        wait_days: how long after its end a window is read, so that labels can come; a record whose
            label comes later still counts as one without label.
        minimum_records: records that a window needs at each site.
        epsilon: what all windows together may cost one unit: a record is in one window, a person
            may be in all of them.
        missing: columns whose share of empty cells is counted; each costs accuracy of all figures.
        false_alarm: the chance, at most, that any of all windows is called drifted though no
            figure is above its bar.
        bars: see `MonitoringBars`.
    """

    release: str = term(pattern=KEY)
    time: str = term(nonempty=True)
    first_day: str = term(pattern=_DAY)
    days: int = term(at_least=1, at_most=3660)
    windows: int = term(at_least=1, at_most=MOST_WINDOWS)
    wait_days: int = term(default=0, at_least=0, at_most=3660)
    minimum_records: int = term(default=50, at_least=1, at_most=10**9)
    epsilon: float = term(at_least=0.02, at_most=LARGEST_EPSILON)
    missing: tuple[str, ...] = term(default=())
    false_alarm: float = term(default=0.05, at_least=1e-4, at_most=0.5)
    bars: MonitoringBars = term()

    def problems(self) -> list[str]:
        """Refuse a day that is none, and bars that nothing is held to."""
        found = []
        try:
            self.window(self.windows)
        except (ValueError, OverflowError):
            found.append(f"first-day: {self.first_day} is no day, or the last window has none")
        if self.bars == MonitoringBars(objectives=False):
            found.append("bars: none is set, so no window could be called drifted")
        if (self.bars.missing is None) != (not self.missing):
            found.append("bars.missing: it goes with columns in `missing`, and they with it")
        if len(set(self.missing)) < len(self.missing):
            found.append("missing: a column is listed twice")
        return found

    def window(self, number: int) -> tuple[date, date]:
        """Return the first day of a window, counted from 1, and the first day after it."""
        begins = date.fromisoformat(self.first_day) + timedelta(days=(number - 1) * self.days)
        return begins, begins + timedelta(days=self.days)

    def readable_from(self, number: int) -> date:
        """Return the first day on which a window may be read."""
        return self.window(number)[1] + timedelta(days=self.wait_days)

    def newest(self, today: date) -> int:
        """Return the newest window that may be read, 0 for none yet."""
        due = [
            number for number in range(1, self.windows + 1) if self.readable_from(number) <= today
        ]
        return due[-1] if due else 0


def monitoring_rule(
    monitoring: MonitoringTerms, model: ModelTerms, adapter: AdapterTerms, data: DataTerms
) -> Iterator[str]:
    """Yield what is wrong between monitoring and what is watched."""
    if adapter.from_ is None:
        yield (
            "monitoring: adapter.from names no release. A charter that watches names the adapter "
            "that is watched, by the SHA-256 of its adapter_model.safetensors"
        )
    task = find_task(model.task)
    if data.label is None or task.label_problems(data.label):
        if not task.labelled:
            yield f"monitoring: watching model.task {model.task!r} is not built; it has no label"
        return
    if not task.measured(data.labels).thresholded:
        yield (
            "monitoring: watching is built for two classes whose score a threshold decides; "
            f"model.task {model.task!r} with these classes has none"
        )
    known = {column.name for column in data.columns}
    for name in monitoring.missing:
        if name not in known:
            yield f"monitoring.missing: {name!r} is no column of data.columns"


def watched_search_rule(monitoring: MonitoringTerms, tuning: TuningTerms) -> Iterator[str]:
    """Yield that a charter either watches or searches."""
    if tuning.paid:
        yield (
            f"monitoring: a search trains, and a charter that watches {monitoring.release[:12]} "
            "trains nothing. Leave out [tuning]"
        )
