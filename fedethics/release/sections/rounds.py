"""The run round by round: pooled metrics with their intervals, and who took part in each sum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fedethics.fairness import Estimate, ProgressMetrics, Tables, overall, progress
from fedethics.fairness.measure import not_measured
from fedethics.fairness.metrics import find_metric
from fedethics.release.evidence import OpenedSum
from fedethics.release.folder import Folder
from fedethics.release.plots import Line, over_rounds
from fedethics.release.sections.block import NOTHING, Block, Table, estimate_cells

_CONFIDENCE = 0.95
_METRICS: dict[str, Callable[[ProgressMetrics], Estimate]] = {
    "accuracy": lambda metrics: metrics.accuracy,
    "true positive rate": lambda metrics: metrics.tpr,
    "false positive rate": lambda metrics: metrics.fpr,
}

_OF = {
    "accuracy": "accuracy_score",
    "true positive rate": "true_positive_rate",
    "false positive rate": "false_positive_rate",
}


def metrics(folder: Folder) -> Block | None:
    """Return the light evaluations over the rounds; None where there were none."""
    measured = folder.tables.layout.measured
    found = {
        entry.round: progress(
            np.array(entry.counts, dtype=np.int64), variance=entry.variance, measured=measured
        )
        for entry in folder.evidence.progress
    }
    if not found:
        return None
    last = folder.charter.training.rounds
    if last not in found:
        found[last] = _final(folder.tables)
    picked = {name: pick for name, pick in _METRICS.items() if _OF[name] in measured.metrics}
    rows = tuple(
        (f"round {after}", name, *estimate_cells(pick(metric)))
        for after, metric in found.items()
        for name, pick in picked.items()
    )
    title = "Metrics over the rounds"
    return Block(
        title=title,
        drawing=over_rounds(
            [_line(name, found, pick) for name, pick in picked.items()],
            name="progress",
            title=title,
            description="; ".join(", ".join(row) for row in rows),
            y="share of held-out records",
            top=1.0,
        ),
        caption=(
            "If lines still rise in the last round, more rounds might help, at more epsilon. The "
            "bands are 95 % intervals; movement within a band is noise. If noise left no "
            "estimate, only the band is shown. The last round is that of the full tables above, "
            "which judge the final model."
        ),
        table=Table(head=("After", "Metric", "Value", "95 % interval"), rows=rows),
    )


def _final(tables: Tables) -> ProgressMetrics:
    accuracy, tpr, fpr, n = (
        overall(tables, name)
        if name in tables.layout.measured.metrics
        else not_measured(find_metric(name), confidence=_CONFIDENCE)
        for name in ("accuracy_score", "true_positive_rate", "false_positive_rate", "count")
    )
    return ProgressMetrics(accuracy=accuracy, tpr=tpr, fpr=fpr, n=n)


def _line(
    name: str, found: dict[int, ProgressMetrics], pick: Callable[[ProgressMetrics], Estimate]
) -> Line:
    points = [(after, pick(metric)) for after, metric in found.items()]
    known = [(after, point) for after, point in points if point.known]
    return Line(
        label=name,
        x=tuple(float(after) for after, _ in known),
        y=tuple(point.figure for _, point in known),
        low=tuple(point.low for _, point in known),
        high=tuple(point.high for _, point in known),
    )


def cohorts(folder: Folder) -> Table:
    """Return who was asked for each sum, who is in it, and who dropped out where."""
    rows = tuple(_cohort_row(entry) for entry in folder.evidence.rounds)
    return Table(head=("Sum", "In the sum", "Dropped out", "SHA-256 of the sum"), rows=rows)


def _cohort_row(entry: OpenedSum) -> tuple[str, ...]:
    dropped = ", ".join(f"{dropout.site} ({dropout.stage})" for dropout in entry.dropped)
    return (
        f"round {entry.round}, {entry.kind}",
        f"{len(entry.survivors)} of {len(entry.cohort)}: {', '.join(entry.survivors)}",
        dropped or NOTHING,
        entry.sum_sha256[:12],
    )
