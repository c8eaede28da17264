"""One site's node: its SuperNode and its executor, started, watched and stopped as one.

The SuperNode holds the connection and no records; the executor holds the records and no connection
but the one to its own SuperNode, over a Unix socket that only this account can reach. Either
may die at any moment: it is started again, and what was reserved in the ledger stays charged.

Under the site's home, in node/ (mode 0700):

lock               held while this runs; a second `site run` on the same home is refused
runtime.sock       where the SuperNode answers its executor; no port is opened
superexec.secret   what the executor proves itself with; new at every start
contact            touched when the coordinator answers; its age is the time of last contact
working            there while a message is being answered
supernode.log      Flower's own words; no data
executor.log       what the executor's libraries print

Why a SuperNode ended, read from its own messages, so that an operator need not read Flower's log.

Flower answers an unknown node and a node that it still counts as present with the same code, so
only time distinguishes the two.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from pathlib import Path

from fedethics.deployment.locking import locked, write_secret
from fedethics.deployment.processes import Child, python, shortage
from fedethics.errors import RunError
from fedethics.proxies import only_for, proxy_for
from fedethics.site.home import NodeTable, SiteHome


class Refused(Enum):
    """What an ended SuperNode means."""

    FOR_GOOD = auto()
    MAYBE = auto()
    NO = auto()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a SuperNode ended, in one sentence."""

    kind: Refused
    sentence: str


_SIGNS: tuple[tuple[str, Refused, str], ...] = (
    (
        r"certificate has expired",
        Refused.FOR_GOOD,
        "the coordinator's certificate has expired (or this clock is wrong): no connection was "
        "made. The coordinator must renew it.",
    ),
    (
        r"certificate is not yet valid",
        Refused.FOR_GOOD,
        "the coordinator's certificate is not valid yet: compare this machine's clock.",
    ),
    (
        r"[Hh]ostname mismatch|IP address mismatch",
        Refused.FOR_GOOD,
        "the coordinator's certificate is for another address than `[node] superlink` names: no "
        "connection was made.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        Refused.FOR_GOOD,
        "the coordinator's certificate is not signed by the authority in `[node] ca`: no "
        "connection was made. Compare the fingerprint with the coordinator.",
    ),
    (
        r"Unable to parse the private key",
        Refused.FOR_GOOD,
        "`[node] key` is not an elliptic-curve key in OpenSSH's form.",
    ),
    (
        r"code: 2004\]",
        Refused.MAYBE,
        "the coordinator refuses this node: its key is not on the roster, or a node of this key "
        "was killed and is still counted as present (up to 60 s).",
    ),
    (
        r"\b401\b|Invalid SuperNode authentication",
        Refused.MAYBE,
        "the coordinator refuses this node's signature: its key is not on the roster, or the "
        "clocks are more than 5 minutes apart.",
    ),
)


def why_it_ended(output: str) -> Ended:
    """Return what the last words of a SuperNode mean."""
    for pattern, kind, sentence in _SIGNS:
        if re.search(pattern, output):
            return Ended(kind, sentence)
    return Ended(Refused.NO, "the SuperNode ended; it is started again.")


# Flower counts a node that was killed as present until two heartbeats of 30 s were missed, and
# refuses it for so long.
STILL_COUNTED_S = 75.0
_ADMISSION_S = 12.0
_PAUSE_S = 5.0
_EXECUTOR_FALLS = 3
_FALL_WINDOW_S = 60.0
# Together less than the 90 s that a service or container is given to stop (clients/kit/).
WORK_GRACE_S = 45.0
_SEND_GRACE_S = 15.0
_GRACE_S = 20.0
_LOOK_S = 0.1
# Relative to node/, where both processes work: a socket's path has at most 107 bytes.
_SOCKET = "runtime.sock"


@dataclass
class SiteNode:
    """The two processes of one site.

    Attributes:
        home: the site's home; site.toml must have the table [node].
        preload: load records and model before the first task, or when it comes.
    """

    home: SiteHome
    preload: bool = True
    words: str = ""
    _supernode: Child | None = None
    _executor: Child | None = None
    _again_at: float = 0.0
    _refused_since: float = 0.0
    _recent: bool = False
    _falls: list[float] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where the node keeps its files."""
        return self.home.path / "node"

    @property
    def contact(self) -> Path:
        """The file whose age is the time of last contact."""
        return self.folder / "contact"

    @property
    def note(self) -> str:
        """What keeps the node from working, for its operator; empty when nothing does."""
        return self.words or shortage(self.home.path)

    @contextmanager
    def running(self) -> Iterator[SiteNode]:
        """Start both processes; stop them at the end, whatever happens.

        Raises:
            RunError: no [node] table, a file of it is missing, or this home is in use already.
        """
        table = _node_table(self.home)
        private_folder(self.folder)
        with locked(self.folder / "lock"):
            secret = self.folder / "superexec.secret"
            write_secret(secret)
            self._supernode = _supernode(self.home, table, self.folder, secret)
            self._executor = _executor(self.home, self.folder, secret, self.preload)
            self._recent = _age_s(self.contact) < STILL_COUNTED_S
            self._supernode.start()
            self._executor.start()
            try:
                yield self
            finally:
                self._stop(self._supernode, self._executor)
                (self.folder / _SOCKET).unlink(missing_ok=True)
                secret.unlink(missing_ok=True)

    def _stop(self, supernode: Child, executor: Child) -> None:
        """Let the current message be answered, and the answer be sent on; then sign off.

        What is killed between its charge and its answer is charged again when it is asked again.
        """
        executor.stop(grace_s=WORK_GRACE_S)
        deadline = time.monotonic() + _SEND_GRACE_S
        while executor.exit_code == 0 and supernode.alive and time.monotonic() < deadline:
            if answer_is_out(supernode.output()):
                break
            time.sleep(_LOOK_S)
        supernode.stop(grace_s=_GRACE_S)

    def tend(self) -> None:
        """Look after both processes; call this every half second or so.

        Raises:
            RunError: the coordinator refuses this node, or the executor cannot stay up.
        """
        if self._executor is not None and not self._executor.alive:
            self._restart_executor(self._executor)
        if self._supernode is None:
            return
        if self._supernode.alive:
            if self.contact.exists() and _age_s(self.contact) < _PAUSE_S:
                self._refused_since, self._recent, self.words = 0.0, True, ""
        elif not self._again_at:
            self._supernode_ended(self._supernode)
        elif time.monotonic() >= self._again_at:
            self._again_at = 0.0
            self._supernode.start()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the two children, by name."""
        children = (self._supernode, self._executor)
        return {child.name: child.pid for child in children if child is not None}

    def _supernode_ended(self, child: Child) -> None:
        ended = why_it_ended(child.output())
        if ended.kind is Refused.FOR_GOOD:
            raise RunError(f"{ended.sentence} Nothing was computed")
        now = time.monotonic()
        if ended.kind is Refused.MAYBE:
            self._refused_since = self._refused_since or now
            patience_s = STILL_COUNTED_S if self._recent else _ADMISSION_S
            if now - self._refused_since > patience_s:
                raise RunError(
                    f"{ended.sentence} It was asked for {patience_s:.0f} s. Nothing was computed"
                )
        self.words = ended.sentence
        self._again_at = now + _PAUSE_S

    def _restart_executor(self, child: Child) -> None:
        now = time.monotonic()
        self._falls = [moment for moment in self._falls if now - moment < _FALL_WINDOW_S]
        self._falls.append(now)
        if len(self._falls) > _EXECUTOR_FALLS:
            raise RunError(
                f"the executor ended {len(self._falls)} times within {_FALL_WINDOW_S:.0f} s "
                f"(exit code {child.exit_code}); see {child.log}"
            )
        child.start()


def answer_is_out(words: str) -> bool:
    """Say by a SuperNode's log whether the message that it took last was answered, or given up."""
    _, taken, since = words.rpartition("Receiving:")
    return not taken or any(
        end in since for end in ("Sent successfully", "Failed to send", "Ignoring")
    )


def private_folder(path: Path) -> None:
    """Make the folder `path`, or make one that is there this account's alone (mode 0700).

    Raises:
        RunError: it belongs to somebody else, or is no folder.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise RunError(
            f"{path} is not a folder of this account (its owner has the number {found.st_uid}); "
            "its owner could come between the two processes of this site. Nothing was started. "
            "Remove it, or run as its owner"
        )
    path.chmod(0o700)


def _node_table(home: SiteHome) -> NodeTable:
    table = home.settings.node
    if table is None:
        raise RunError(
            f"{home.path / 'site.toml'} has no table [node]; this site has no coordinator. "
            "`fedethics site join` writes it"
        )
    for name in (table.ca, table.key):
        if not (home.path / name).is_file():
            raise RunError(f"{home.path / name} is missing; [node] of site.toml names it")
    return table


def _supernode(home: SiteHome, table: NodeTable, folder: Path, secret: Path) -> Child:
    host, _, port = table.superlink.rpartition(":")
    proxy = proxy_for(host, int(port))
    if proxy is not None and proxy.fault:
        raise RunError(
            f"{proxy.fault}. The coordinator {table.superlink} was not contacted, and nothing was "
            "started. Set HTTPS_PROXY to an HTTP proxy, or NO_PROXY to the coordinator's host"
        )
    command = python(
        "fedethics.flower.supernode",
        *("--superlink", table.superlink),
        *("--root-certificates", str(home.path / table.ca)),
        *("--auth-supernode-private-key", str(home.path / table.key)),
        *("--isolation", "process", "--superexec-auth-secret-file", str(secret)),
    )
    own = {
        "FLWR_HOME": str(folder / "flwr"),
        "FEDETHICS_CONTACT": str(folder / "contact"),
        "FEDETHICS_RUNTIME_SOCKET": _SOCKET,
    }
    way_out = partial(only_for, host, int(port))
    return Child("supernode", command, folder / "supernode.log", folder, own, way_out)


def _executor(home: SiteHome, folder: Path, secret: Path, preload: bool) -> Child:
    command = python(
        "fedethics.flower.executor",
        *("--home", str(home.path.resolve()), "--supernode", f"unix:{_SOCKET}"),
        *("--secret-file", str(secret)),
        *(() if preload else ("--no-preload",)),
    )
    own = {"FLWR_HOME": str(folder / "flwr")}
    return Child("executor", command, folder / "executor.log", folder, own)


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
