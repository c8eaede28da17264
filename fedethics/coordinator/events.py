"""What a person watches of a run: the append-only event log, and the light evaluations so far.

Everything that is shown is read from the event log, so that a progress bar, a status command and a
dashboard can never disagree. It holds sums and public facts only.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from fedethics.canonical import Json
from fedethics.charter_sums import layout_of
from fedethics.coordinator.job import Job
from fedethics.errors import RunError
from fedethics.fairness.measure import progress as progress_metrics
from fedethics.fairness.measured import Measured
from fedethics.release import durable
from fedethics.release.evidence import Progress
from fedethics.release.run_log import EVENTS, read_events
from fedethics.storage import files, lines

__all__ = ["EVENTS", "EventLog", "announce_metrics", "read_events", "write_metrics"]

METRICS = "metrics.jsonl"


class EventLog:
    """Appends events to `events.jsonl` in the run's directory."""

    def __init__(self, job_path: Path) -> None:
        self._path = job_path / EVENTS

    def write(self, event: str, **fields: Json) -> None:
        """Append one event with its time (UTC).

        Raises:
            RunError: it cannot be written, as when the disk is full.
        """
        line = {"time": datetime.now(UTC).isoformat(), "event": event, **fields}
        try:
            lines.append(self._path, line, mode=files.PUBLIC)
        except OSError as error:
            raise RunError(
                f"{self._path} cannot be written ({error.strerror}). What was committed is kept; "
                "make room, then resume the job"
            ) from error


def write_metrics(job: Job) -> None:
    """Write every light evaluation of the job to `metrics.jsonl`, as people read them.

    It is written whole each time, so that a crash between a commit and its line loses nothing.
    """
    measured = layout_of(job.charter).measured
    ordered = sorted(job.state.progress, key=lambda record: record.round)
    lines = "".join(json.dumps(_row(record, measured)) + "\n" for record in ordered)
    durable.write(job.path / METRICS, lines.encode("utf-8"))


def announce_metrics(job: Job, events: EventLog, record: Progress) -> None:
    """Write one light evaluation of the job into the event log."""
    events.write("metrics", **_row(record, layout_of(job.charter).measured))


def _row(record: Progress, measured: Measured) -> dict[str, Json]:
    counts = np.array(record.counts, dtype=np.int64)
    metrics = progress_metrics(counts, variance=record.variance, measured=measured)
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
