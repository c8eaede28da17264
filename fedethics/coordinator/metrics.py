"""metrics.jsonl: the light evaluations so far, as people read them; all of it follows from the job.

It is written whole each time, so that a crash between a commit and its line loses nothing.
"""

from __future__ import annotations

import json
import math

import numpy as np

from fedethics.canonical import Json
from fedethics.coordinator.events import EventLog
from fedethics.coordinator.job import Job
from fedethics.fairness.progress import progress as progress_metrics
from fedethics.release import durable
from fedethics.release.evidence import Progress

METRICS = "metrics.jsonl"


def write_metrics(job: Job) -> None:
    """Write every light evaluation of the job."""
    ordered = sorted(job.state.progress, key=lambda record: record.round)
    lines = "".join(json.dumps(_row(record)) + "\n" for record in ordered)
    durable.write(job.path / METRICS, lines.encode("utf-8"))


def announce_metrics(events: EventLog, record: Progress) -> None:
    """Write one light evaluation into the event log."""
    events.write("metrics", **_row(record))


def _row(record: Progress) -> dict[str, Json]:
    counts = np.array(record.counts, dtype=np.int64)
    metrics = progress_metrics(counts, variance=record.variance)
    row: dict[str, Json] = {"round": record.round}
    for name, estimate in (
        ("accuracy", metrics.accuracy),
        ("true-positive-rate", metrics.tpr),
        ("false-positive-rate", metrics.fpr),
        ("records", metrics.n),
    ):
        row[name] = {
            part: number if math.isfinite(number) else None
            for part, number in (
                ("value", estimate.figure),
                ("low", estimate.low),
                ("high", estimate.high),
            )
        }
    return row
