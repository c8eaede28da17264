"""What lies in a release's folder and does not belong there, by name and by kind.

Whoever is handed a release opens what lies in it. So nothing may lie there that no hash covers: no
other file, no second spelling of a name, no link, pipe or device. The folders of a finished run's
own work (the sites' homes of a simulation, a job's rounds) are not part of the release and are not
looked into; nothing is read from them but ledgers, whose heads receipts hold.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import Path

from fedethics import plain_file, texts
from fedethics.release import durable
from fedethics.release.folder import (
    ADAPTER,
    ADAPTER_CONFIG,
    ADAPTER_DIR,
    APPROVALS,
    CARD,
    CHARTER,
    COMPARISONS,
    EVIDENCE,
    GATE,
    MANIFEST,
    METRICS,
    PAGES,
    SIGNATURE,
    WITHHELD,
    located,
)

RELEASED = frozenset(
    {APPROVALS, CHARTER, COMPARISONS, EVIDENCE, GATE, MANIFEST, METRICS, SIGNATURE, *PAGES}
)
# Of the job, beside its release: its log, its committed state, and the lock of its process.
WORKING = frozenset({"events.jsonl", "state.json", "lock"})
FOLDERS = frozenset({ADAPTER_DIR, WITHHELD})
# Of the job and of a simulation: their own work, which a release may leave behind.
WORKPLACES = frozenset({"coordinator", "protocol", "rounds", "sites", "stakeholders", "sums"})
_MOST_LISTED = 1000


def strangers(run_dir: Path) -> tuple[str, ...]:
    """Return one sentence for each thing in a release's folder that no release has there."""
    try:
        top = _names(run_dir)
        found = [*_at_the_top(run_dir, top)]
        for root in sorted(FOLDERS & top):
            found += _with_the_adapter(run_dir, run_dir / root)
    except _Unlistable as error:
        return (f"{error}.",)
    return tuple(found)


class _Unlistable(Exception):
    """A folder that cannot be listed, or holds too much to be a release's."""


def _at_the_top(run_dir: Path, names: Collection[str]) -> Iterator[str]:
    files, folders = RELEASED | WORKING, FOLDERS | WORKPLACES
    spelled = {_folded(name): name for name in files | folders}
    for name in sorted(names):
        path, shown = run_dir / name, texts.printed(name)
        if name in files:
            unfit = plain_file.fault(path, limit=durable.FILE_LIMIT)
            if unfit:
                yield f"{shown} {unfit}."
        elif name in folders:
            if not _is_folder(path):
                yield f"{shown} is no folder, or a link to one; remove it."
        elif _folded(name) in spelled:
            yield (
                f"{shown} differs from {spelled[_folded(name)]} only in how it is spelled, and on "
                "some systems the two are one file; remove it."
            )
        else:
            yield f"{shown} does not belong to the release; remove it."


def _with_the_adapter(run_dir: Path, root: Path) -> Iterator[str]:
    """Look at every single thing beside the adapter, at any depth."""
    # Sensitive: a weights file of another format, or a module, would be loaded by its name.
    known = {located(run_dir, name) for name in (ADAPTER, ADAPTER_CONFIG, CARD)}
    limits = {located(run_dir, ADAPTER): durable.ADAPTER_LIMIT}
    folders = {run_dir / ADAPTER_DIR, run_dir / WITHHELD, run_dir / WITHHELD / ADAPTER_DIR}
    waiting = [root]
    looked_at = 0
    while waiting:
        path = waiting.pop()
        looked_at += 1
        if looked_at > _MOST_LISTED:
            raise _Unlistable(f"{texts.printed(root.name)} holds more than {_MOST_LISTED} files")
        where = texts.printed(path.relative_to(run_dir).as_posix())
        if _is_folder(path):
            if path not in folders:
                yield f"{where} does not belong to the release; remove it."
            waiting += [path / name for name in sorted(_names(path), reverse=True)]
        elif path in known:
            unfit = plain_file.fault(path, limit=limits.get(path, durable.FILE_LIMIT))
            if unfit:
                yield f"{where} {unfit}."
        else:
            yield f"{where} does not belong to the release; remove it."


def _names(folder: Path) -> set[str]:
    names: set[str] = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                names.add(entry.name)
                if len(names) > _MOST_LISTED:
                    raise _Unlistable(f"{folder} holds more than {_MOST_LISTED} files")
    except OSError as error:
        raise _Unlistable(f"{folder} cannot be listed: {error.strerror}") from error
    return names


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _folded(name: str) -> str:
    """Return a name as file systems see it that ignore case and the forms of Unicode."""
    return unicodedata.normalize("NFKC", name).casefold()
