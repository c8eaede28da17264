"""The site operator's page: the node, what runs, what was answered, disk, certificate."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fedethics import plain_file, texts
from fedethics.console.places import Places, fault_of
from fedethics.console.role import Role
from fedethics.deployment.site_look import look, roster_key
from fedethics.errors import FedethicsError, RunError
from fedethics.privacy.ledger import read_book
from fedethics.protocol import Action
from fedethics.release.run_log import LOG_LIMIT
from fedethics.site.home import SiteHome
from fedethics.storage import lines

_SHOWN = 15
_LITTLE_DISK = 2e9


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """One site, as the page shows it.

    Attributes:
        facts: what stands, name -> words.
        disk: bytes free where the home lies, in words.
        little: whether that is so little that a run may fail.
        answered: the newest entries of the site's own log: time, words.
        runs: run -> training rounds that it was charged for.
        fault: why the rest is empty.
    """

    name: str
    path: Path
    facts: Mapping[str, str] = field(default_factory=dict)
    disk: str = ""
    little: bool = False
    answered: tuple[tuple[str, str], ...] = ()
    runs: Mapping[str, int] = field(default_factory=dict)
    fault: str = ""


def _look(places: Places) -> Mapping[str, object]:
    return {"sites": [_site(name, path) for name, path in places.site_homes().items()]}


def _site(name: str, path: Path) -> Site:
    try:
        home = SiteHome.open(path, to_look=True)
        seen = look(home, read_book(home.ledger_path, roster_key(home) or None))
        disk = shutil.disk_usage(path)
        return Site(
            name=home.settings.site,
            path=path,
            facts=_facts(seen.facts),
            disk=f"{disk.free / 1e9:,.1f} GB free of {disk.total / 1e9:,.1f} GB",
            little=disk.free < _LITTLE_DISK,
            answered=_answered(path / "log.jsonl"),
            runs=seen.runs,
        )
    except (FedethicsError, OSError) as error:
        told = fault_of(error) if isinstance(error, FedethicsError) else str(error.strerror)
        return Site(name=name, path=path, fault=told)


def _facts(found: Mapping[str, str]) -> dict[str, str]:
    """Return the facts of a site but for its name, which is the heading."""
    told = {**found, "charter-hash": found["charter-hash"][:16]}
    return {key.replace("-", " "): value for key, value in told.items() if key != "site" and value}


def _words(entry: Mapping[str, object]) -> str:
    action = str(entry.get("action", ""))
    if entry.get("event") != "answered" or action not in set(Action):
        return texts.event_line(entry)
    return f"{Action(action).answered}: run {texts.in_words(entry.get('run', ''))}"


def _answered(log: Path) -> tuple[tuple[str, str], ...]:
    """Return the newest entries of a site's log, newest first."""
    if not log.exists():
        return ()
    entries = lines.objects(plain_file.read(log, RunError, limit=LOG_LIMIT))
    newest = list(deque(entries, maxlen=_SHOWN))
    return tuple(
        (str(entry.get("time", ""))[:19].replace("T", " "), _words(entry))
        for entry in reversed(newest)
    )


OPERATOR = Role(
    name="operator",
    title="Site operator",
    question="Does the node run, what does it answer, and what stands in its way?",
    shown=lambda places: bool(places.site_homes()),
    look=_look,
)
