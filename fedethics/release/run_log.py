"""A run's event log, read: rounds, sites, who was lost, and the time left.

The coordinator appends to `events.jsonl` in the run's directory; everything a person watches is
read from that one file, so that no two views can disagree. It holds sums and public facts only.
Events that this version does not know are passed over.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from fedethics import plain_file
from fedethics.errors import RunError
from fedethics.storage import lines

EVENTS = "events.jsonl"
LOG_LIMIT = 1024 * 1024 * 1024
Event = dict[str, Any]


def read_events(job_path: Path) -> Iterator[Event]:
    """Yield the events so far, oldest first; a line still being written is left out.

    Raises:
        RunError: the log is no plain file, or cannot be read.
    """
    path = job_path / EVENTS
    if not path.exists():
        return
    yield from lines.objects(plain_file.read(path, RunError, limit=LOG_LIMIT))


@dataclass(kw_only=True, slots=True)
class RoundSeen:
    """One round: when it began and was committed, whose updates are in it, and who was lost.

    Attributes:
        dropped: site -> the stage at which it was lost.
        accuracy: value (none where noise left no estimate) and interval ends on held-out records,
            once measured.
    """

    number: int
    started: datetime
    committed: datetime | None = None
    survivors: tuple[str, ...] = ()
    dropped: dict[str, str] = field(default_factory=dict)
    accuracy: tuple[float | None, float, float] | None = None


@dataclass(kw_only=True, slots=True)
class RunSeen:
    """A run as its log describes it.

    Attributes:
        state: "absent" before the first event; then "enrolling", "training", "group tables" and
            "closed".
        starts: how often the coordinator began; more than 1 after a resume.
        expected: sites on the roster.
        sites: those that took part in this start.
        refusals: site -> why, as the coordinator may know it.
        abandoned: sums that could not be opened, in words.
        verdict: the gate's, once closed.
        advice: what the count of gradient norms says of the clipping norm, once opened.
    """

    state: str = "absent"
    starts: int = 0
    rounds: int = 0
    expected: int = 0
    sites: tuple[str, ...] = ()
    seen: dict[int, RoundSeen] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    abandoned: list[str] = field(default_factory=list)
    verdict: str = ""
    advice: str = ""
    first: datetime | None = None
    last: datetime | None = None

    @property
    def committed(self) -> int:
        """Rounds whose sum is in the adapter."""
        return sum(each.committed is not None for each in self.seen.values())

    @property
    def left_s(self) -> float | None:
        """Seconds left, from the median round so far; None while there is nothing to go by."""
        lengths = [
            (each.committed - each.started).total_seconds()
            for each in self.seen.values()
            if each.committed is not None
        ]
        if self.state == "closed":
            return 0.0
        if not lengths or not self.rounds:
            return None
        return statistics.median(lengths) * max(0, self.rounds - self.committed)


def follow(events: Iterable[Event]) -> RunSeen:
    """Return what these events, oldest first, say of the run."""
    run = RunSeen()
    for event in events:
        at = datetime.fromisoformat(str(event["time"]))
        run.first, run.last = run.first or at, at
        take = _TAKE.get(str(event["event"]))
        if take is not None:
            take(run, event, at)
    return run


def _enrolling(run: RunSeen, event: Event, _at: datetime) -> None:
    run.starts += 1
    run.state, run.expected = "enrolling", int(event["expected"])
    run.refusals.clear()


def _run(run: RunSeen, event: Event, _at: datetime) -> None:
    run.state, run.rounds, run.sites = "training", int(event["rounds"]), tuple(event["sites"])


def _round_started(run: RunSeen, event: Event, at: datetime) -> None:
    number = int(event["round"])
    run.seen[number] = RoundSeen(number=number, started=at)


def _round_committed(run: RunSeen, event: Event, at: datetime) -> None:
    number = int(event["round"])
    seen = run.seen.setdefault(number, RoundSeen(number=number, started=at))
    seen.committed = at
    seen.survivors, seen.dropped = tuple(event["survivors"]), dict(event["dropped"])


def _metrics(run: RunSeen, event: Event, _at: datetime) -> None:
    accuracy, seen = event["accuracy"], run.seen.get(int(event["round"]))
    if seen is not None:
        seen.accuracy = (accuracy["value"], accuracy["low"], accuracy["high"])


def _refused(run: RunSeen, event: Event, _at: datetime) -> None:
    run.refusals[str(event["site"])] = f"[{event['code']}] {event['sentence']}"


def _abandoned(run: RunSeen, event: Event, _at: datetime) -> None:
    run.abandoned.append(f"round {event['round']}, {event['kind']}: {event['why']}")


def _tables(run: RunSeen, _event: Event, _at: datetime) -> None:
    run.state = "group tables"


def _norms(run: RunSeen, event: Event, _at: datetime) -> None:
    run.advice = str(event["said"])


def _closed(run: RunSeen, event: Event, _at: datetime) -> None:
    run.state, run.verdict = "closed", str(event["verdict"])


_TAKE: dict[str, Callable[[RunSeen, Event, datetime], None]] = {
    "enrolling": _enrolling,
    "run": _run,
    "round-started": _round_started,
    "round-committed": _round_committed,
    "metrics": _metrics,
    "refused": _refused,
    "rejected": _refused,
    "sum-abandoned": _abandoned,
    "fairness-started": _tables,
    "norms-committed": _norms,
    "closed": _closed,
}
