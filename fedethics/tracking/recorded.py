"""What a run recorded of itself, as named numbers by round.

Guarantee: sums and public facts only, from the run's event log, its charter and the gate. The one
exception is a file that only a simulation writes (`simulated.jsonl`): its numbers are of records
and carry no noise, so their names begin with `simulated-only/`, and no real site ever gives them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fedethics import plain_file, terms
from fedethics.canonical import Json
from fedethics.charter import document
from fedethics.errors import ReleaseError, RunError
from fedethics.release import durable, folder
from fedethics.release.gate import examine
from fedethics.release.run_log import follow, read_events
from fedethics.storage import lines

# Written by a simulation that was asked to look at its sites' records.
SIMULATED = "simulated.jsonl"
SIMULATED_ONLY = "simulated-only"
_TABLES = ("model", "adapter", "training", "privacy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scalar:
    """One number of one round.

    Attributes:
        name: such as "held-out/accuracy-score".
        step: the round, from 1.
        value: finite.
        time_s: when it was recorded, in seconds since 1970.
    """

    name: str
    step: int
    value: float
    time_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """One run.

    Attributes:
        run: its name.
        settings: keys of the charter that say how it was trained, as text.
        tags: its state, its verdict once it is closed, and its charter's hash.
        scalars: by round.
    """

    run: str
    settings: dict[str, str]
    tags: dict[str, str]
    scalars: tuple[Scalar, ...]


def recorded(run_dir: Path) -> Recorded:
    """Return what the run in `run_dir` has recorded so far.

    Raises:
        RunError: no run has begun there.
    """
    seen = follow(read_events(run_dir))
    if seen.last is None:
        raise RunError(f"{run_dir} holds no run that has begun: it has no event log")
    charter = document.load(run_dir / folder.CHARTER)
    spelled = terms.document(charter)
    tables = spelled if isinstance(spelled, dict) else {}
    settings = dict(pair for name in _TABLES for pair in _flat(tables.get(name), name))
    scalars = [*_events(run_dir), *_simulated(run_dir, seen.last)]
    tags = {"state": seen.state, "charter": document.hash_of(charter)}
    if seen.verdict:
        tags["verdict"] = seen.verdict
        scalars += _gate(run_dir, step=charter.training.rounds, at=seen.last)
    return Recorded(
        run=run_dir.resolve().name, settings=settings, tags=tags, scalars=tuple(scalars)
    )


def _events(run_dir: Path) -> Iterator[Scalar]:
    started: dict[int, datetime] = {}
    for event in read_events(run_dir):
        at = datetime.fromisoformat(str(event["time"]))
        kind = event["event"]
        if kind == "round-started":
            started[int(event["round"])] = at
        elif kind == "round-committed":
            number = int(event["round"])
            found: dict[str, float] = {
                "sites": len(event["survivors"]),
                "sites-lost": len(event["dropped"]),
            }
            if number in started:
                found["seconds"] = (at - started[number]).total_seconds()
            for name, value in found.items():
                yield _scalar(f"round/{name}", number, value, at)
        elif kind == "metrics":
            number = int(event["round"])
            for name, estimate in event.items():
                if isinstance(estimate, dict):
                    yield from _estimate(f"held-out/{name}", number, estimate, at)


def _estimate(name: str, step: int, parts: dict[str, Json], at: datetime) -> Iterator[Scalar]:
    for part, number in parts.items():
        if isinstance(number, int | float):
            yield _scalar(name if part == "value" else f"{name}-{part}", step, number, at)


def _gate(run_dir: Path, *, step: int, at: datetime) -> Iterator[Scalar]:
    try:
        rules = examine(run_dir).rules
    except ReleaseError:  # closed, but its files were taken away: the log still stands
        return
    for rule in rules:
        if rule.topic == "people" and rule.figure is not None:
            figure = rule.figure
            parts: dict[str, Json] = {
                "value": figure.value,
                "low": figure.low,
                "high": figure.high,
                "bar": figure.bar,
            }
            yield from _estimate(f"objective/{rule.name}", step, parts, at)


def _simulated(run_dir: Path, at: datetime) -> Iterator[Scalar]:
    path = run_dir / SIMULATED
    if not path.exists():
        return
    data = plain_file.read(path, RunError, limit=durable.FILE_LIMIT)
    for row in lines.objects(data):
        for name, value in row.items():
            if name != "round" and isinstance(value, int | float):
                yield _scalar(f"{SIMULATED_ONLY}/{name}", int(row["round"]), value, at)


def _scalar(name: str, step: int, value: float, at: datetime) -> Scalar:
    return Scalar(name=name, step=step, value=float(value), time_s=at.timestamp())


def _flat(value: Json | None, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _flat(below, f"{where}.{key}")
    elif value is not None:
        yield where, str(value)
