"""What a window says: holds, drifted, or cannot conclude, figure by figure.

Guarantee: over all windows of a charter, the chance that any is called drifted although none of its
figures is above its bar is at most `monitoring.false-alarm` (see `fedethics.fairness.drift`). The
verdict is a function of charter, release and opened counts: anyone with these files gets the same.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from fedethics import canonical, terms
from fedethics.aggregates.monitoring import WindowLayout, terms_of
from fedethics.aggregates.noise import sites_of
from fedethics.charter.model import Charter
from fedethics.errors import ReleaseError
from fedethics.fairness import drift
from fedethics.fairness.drift import Scored
from fedethics.fairness.estimate import Estimate
from fedethics.fairness.judge import judge
from fedethics.fairness.layout import Tables
from fedethics.fairness.partition import FloatArray
from fedethics.monitoring.baseline import Baseline, labels_of
from fedethics.monitoring.evidence import WindowEvidence
from fedethics.release import durable
from fedethics.release.rules.objectives import as_objective, title
from fedethics.terms import KEY, TIME, term

VERDICT = "verdict.json"
Verdict: TypeAlias = Literal["holds", "drifted", "cannot conclude"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One figure of a window with its interval.

    Attributes:
        name: such as "score-psi", or an objective of the charter.
        value: absent where noise carried it out of its range, or where there is none.
        low, high: its interval; `high` is absent where nothing bounds it.
        bar: absent where it is only shown.
        direction: on which side of the bar it must be.
        verdict: absent without a bar.
        note: what a reader must know.
    """

    name: str = term(nonempty=True)
    value: float | None = term(default=None)
    low: float | None = term(default=None)
    high: float | None = term(default=None)
    bar: float | None = term(default=None)
    direction: Literal["at-most", "at-least"] = term(default="at-most")
    verdict: Verdict | None = term(default=None)
    note: str = term(default="", prose=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowVerdict:
    """The verdict of one window.

    Attributes:
        first_day, last_day: of the window.
        confidence: of each interval.
        records: noised number of records.
        unwatched: objectives of the charter that a window's counts cannot judge.
    """

    run_id: str = term(nonempty=True)
    charter_hash: str = term(pattern=KEY)
    release_manifest_sha256: str = term(pattern=KEY)
    window: int = term(at_least=1)
    first_day: str = term(nonempty=True)
    last_day: str = term(nonempty=True)
    finished: str = term(pattern=TIME)
    verdict: Verdict = term()
    confidence: float = term()
    records: int = term()
    figures: tuple[Figure, ...] = term(default=())
    unwatched: tuple[str, ...] = term(default=())

    @property
    def sentence(self) -> str:
        """The verdict and its reasons, on one line."""
        named = [each for each in self.figures if each.verdict == self.verdict]
        about = f"Window {self.window} ({self.first_day} to {self.last_day})"
        if self.verdict == "holds":
            return f"{about} holds: all {len(named)} figures with a bar are within it."
        why = "; ".join(map(worded, named))
        if self.verdict == "drifted":
            return f"{about} drifted: {why}."
        return f"{about}: cannot conclude: {why}."


def worded(figure: Figure) -> str:
    """Return a figure with its interval and bar."""
    value = "no estimate" if figure.value is None else f"{figure.value:.3f}"
    low = "?" if figure.low is None else f"{figure.low:.3f}"
    high = "?" if figure.high is None else f"{figure.high:.3f}"
    side = figure.direction.replace("-", " ")
    bar = "no bar" if figure.bar is None else f"bar {side} {figure.bar:g}"
    return f"{figure.name} {value} ({low} to {high}, {bar})"


def judge_window(charter: Charter, baseline: Baseline, found: WindowEvidence) -> WindowVerdict:
    """Return the verdict of a window.

    Args:
        charter: with `[monitoring]`.
        baseline: what the release published.
        found: what the window opened.
    """
    agreed = terms_of(charter)
    watched = [each for each in charter.ethics.objectives if not _beyond(each)]
    asked = _with_bar(charter) + (len(watched) if agreed.bars.objectives else 0)
    confidence = 1.0 - drift.spent_at(found.window, agreed.false_alarm) / max(asked, 1)
    layout = WindowLayout.of(charter)
    counts = np.asarray(found.counts, dtype=np.float64)
    parts = {name: counts[place] for name, place in layout.places.items()}
    tables = _tables(charter, layout, found)
    figures = [
        *_of_scores(charter, baseline, _scored(layout, parts, found.variance), confidence),
        _figure(
            "label-rate",
            drift.label_rate(baseline.labels, labels_of(tables), confidence=confidence),
            agreed.bars.label_rate,
        ),
        *_of_rows(charter, layout, parts, found.variance, confidence),
    ]
    if agreed.bars.objectives:
        figures += _of_objectives(charter, tables, confidence)
    begins, ends = agreed.window(found.window)
    return WindowVerdict(
        run_id=found.run_id,
        charter_hash=found.charter_hash,
        release_manifest_sha256=found.release_manifest_sha256,
        window=found.window,
        first_day=begins.isoformat(),
        last_day=(ends - (ends - begins) / (ends - begins).days).isoformat(),
        finished=found.finished,
        verdict=_together(figures),
        confidence=confidence,
        records=round(float(parts["rows"][0])),
        figures=tuple(figures),
        unwatched=tuple(title(each) for each in charter.ethics.objectives if _beyond(each)),
    )


def _beyond(objective: object) -> bool:
    """Say whether an objective needs scores by group or swapped words, which no window counts."""
    by_scores = getattr(objective, "needs_scores", False) and getattr(objective, "feature", "")
    return bool(by_scores or getattr(objective, "needs_swap", False))


def _with_bar(charter: Charter) -> int:
    agreed = terms_of(charter)
    bars = agreed.bars
    one = (bars.score_psi, bars.score_ks, bars.calibration, bars.label_rate)
    return sum(bar is not None for bar in one) + len(agreed.missing)


def _scored(layout: WindowLayout, parts: dict[str, FloatArray], variance: float) -> Scored:
    tables = layout.tables
    begins = tables.counts_length
    rows = parts["tables"][begins : begins + tables.crossed_length].reshape(2, -1)
    return Scored(counts=np.vstack([rows, parts["unlabelled-scores"]]), variance=variance)


def _of_scores(
    charter: Charter, baseline: Baseline, now: Scored, confidence: float
) -> Iterator[Figure]:
    bars = terms_of(charter).bars
    for name, measure, bar in (
        ("score-psi", drift.score_psi, bars.score_psi),
        ("score-ks", drift.score_ks, bars.score_ks),
        ("calibration", drift.calibration, bars.calibration),
    ):
        yield _figure(name, measure(baseline.scores, now, confidence=confidence), bar)


def _of_rows(
    charter: Charter,
    layout: WindowLayout,
    parts: dict[str, FloatArray],
    variance: float,
    confidence: float,
) -> Iterator[Figure]:
    agreed, rows = terms_of(charter), float(parts["rows"][0])

    def share(part: float) -> Estimate:
        return drift.share(part, rows, variance=variance, confidence=confidence)

    for name, part in zip(layout.missing, parts["missing"], strict=True):
        yield _figure(f"missing {name}", share(float(part)), agreed.bars.missing)
    yield _figure("without label yet", share(float(parts["unlabelled"][0])), None)
    yield _figure("left out", share(float(parts["left-out"][0])), None)


def _tables(charter: Charter, layout: WindowLayout, found: WindowEvidence) -> Tables:
    """Return the window's tables, as those of a release."""
    return Tables.from_vector(
        np.asarray(found.counts[layout.places["tables"]], dtype=np.int64),
        layout=layout.tables,
        counts_variance=found.variance,
        histogram_variance=found.variance,
        sites=sites_of(charter),
        absent=tuple(
            frozenset(_pair(group) for group in member.absent_groups) for member in charter.roster
        ),
    )


def _of_objectives(charter: Charter, tables: Tables, confidence: float) -> list[Figure]:
    figures = []
    for stated in charter.ethics.objectives:
        if _beyond(stated):
            continue
        asked = dataclasses.replace(as_objective(stated), confidence=confidence)
        said = judge(tables, asked)
        verdict: Verdict = "drifted" if said.outcome == "fails" else "cannot conclude"
        verdict = "holds" if said.outcome == "holds" else verdict
        figure = _figure(title(stated), said.estimate, stated.bar)
        note = said.remedy or figure.note
        figures.append(
            dataclasses.replace(figure, verdict=verdict, direction=stated.direction, note=note)
        )
    return figures


def _pair(group: str) -> tuple[str, str]:
    feature, _, name = group.partition("=")
    return feature, name


def _figure(name: str, estimate: Estimate, bar: float | None) -> Figure:
    verdict: Verdict | None = None
    if bar is not None:
        verdict = "cannot conclude"
        if estimate.known and estimate.low > bar:
            verdict = "drifted"
        elif estimate.known and estimate.high <= bar:
            verdict = "holds"
    return Figure(
        name=name,
        value=_finite(estimate.figure),
        low=_finite(estimate.low),
        high=_finite(estimate.high),
        bar=bar,
        verdict=verdict,
        note=estimate.note,
    )


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def _together(figures: list[Figure]) -> Verdict:
    said = {each.verdict for each in figures}
    if "drifted" in said:
        return "drifted"
    return "cannot conclude" if "cannot conclude" in said else "holds"


def write(verdict: WindowVerdict, folder: Path) -> None:
    """Write verdict.json durably."""
    durable.write(folder / VERDICT, canonical.encode(terms.document(verdict)))


def load(folder: Path) -> WindowVerdict:
    """Return the verdict of a window's folder as it was written.

    Raises:
        ReleaseError: none, or malformed.
    """
    path = folder / VERDICT
    return terms.parse(WindowVerdict, durable.read(path), what=str(path), error=ReleaseError)
