"""Preflight: are the keys private, and is the ledger whole and all there?"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from fedethics import ownership
from fedethics.commands import command
from fedethics.enrolment.papers import public_half
from fedethics.errors import FedethicsError
from fedethics.privacy.ledger import verify_files
from fedethics.site.finding import Finding, fail, ok, warn
from fedethics.site.home import SiteHome

_PRIVATE = ("identity.key", "ledger.db", "ledger.db.head", "secagg.db", "journal.db", "log.jsonl")


def modes(home: SiteHome) -> Iterator[Finding]:
    """Check that nobody else may read the home, and that both keys are what they should be."""
    open_to_others = [
        f"{path} {_mode(path):04o}"
        for path in _looked_at(home)
        if path.exists() and _mode(path) & 0o077
    ]
    if open_to_others:
        yield fail(
            "file modes",
            f"others may read: {', '.join(open_to_others)}",
            fix=f"{command('chmod', '700', home.path)}; chmod 600 on each file named",
        )
    else:
        yield ok("file modes", f"{home.path} and its keys are this account's alone")
    yield from _keys(home)


def owners(home: SiteHome) -> Iterator[Finding]:
    """Check that nobody else may change, or put another file in the place of, what counts here."""
    if not ownership.knows_owners():
        yield warn(
            "file owners",
            "this system's files have no owners that could be read",
            fix="run a site on Linux or macOS",
        )
        return
    # A secret that others may only read is in "file modes"; here is what they may change.
    found = ownership.of_all((path, False) for path, _ in home.rests_on())
    if found:
        yield fail(
            "file owners",
            "others could change or replace what this site rests on: "
            + "; ".join(f"{fault.path} {fault.found}" for fault in found),
            fix="\n".join(dict.fromkeys(fault.fix for fault in found)),
        )
    else:
        yield ok("file owners", f"nobody else may change {home.path}, from the root on")


def ledger(home: SiteHome) -> Iterator[Finding]:
    """Verify the ledger offline, its head file, and that opened sums are remembered."""
    try:
        report = verify_files(home.ledger_path, home.identity().public_key)
    except FedethicsError as error:
        yield fail(
            "ledger", str(error), fix="stop, keep the files, and compare them with your backup"
        )
        return
    if report.head_checked:
        yield ok("ledger", f"{report.entries} entries verify, and its head file agrees")
    else:
        yield fail(
            "ledger",
            f"{home.ledger_path}.head is missing: a rollback could not be seen",
            fix="restore ledger.db and ledger.db.head together from your backup",
        )
    try:
        yield ok("opened sums", f"{home.opened_sums} is in place")
    except FedethicsError as error:
        yield fail("opened sums", str(error), fix=f"restore {home.path / 'secagg.db'}")


def _looked_at(home: SiteHome) -> Iterator[Path]:
    yield home.path
    yield from (home.path / name for name in _PRIVATE)
    if home.settings.node is not None:
        yield home.path / home.settings.node.key


def _keys(home: SiteHome) -> Iterator[Finding]:
    key = home.path / (home.settings.node.key if home.settings.node else "node.key")
    try:
        home.identity()
        public_half(key.read_bytes())
    except FedethicsError as error:
        yield fail("keys", str(error), fix="restore the keys of this home from your backup")
    except OSError as error:
        yield fail(
            "keys",
            ownership.cannot_read(key, error),
            fix="restore it from your backup; else a new home, see clients/README.md",
        )
    else:
        yield ok("keys", "identity and node key are there and of the right kind")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
