"""The coordinator's processes for one job: SuperLink, launcher, and the submission that follows it.

The SuperLink keeps its state in one SQLite file a job, so that exactly this job's roster is
admitted. It runs with TLS, node authentication, process isolation and a secret for its launcher;
when it dies it is started again at once, and a run survives an absence of less than a minute.

Guarantee: what is admitted, started and stopped is so at this home's own SuperLink. This process
binds the port, and the socket in superlink/ (mode 0700) over which alone runs are started and
stopped; it holds both while the SuperLink is started again, so nobody else can stand in its place.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.commands import suggested
from fedethics.deployment import processes
from fedethics.deployment.chain import ending, judge
from fedethics.deployment.locking import locked, write_secret
from fedethics.deployment.ports import bound, bound_path
from fedethics.deployment.processes import Child, python, shortage
from fedethics.deployment.settings import FederationHome
from fedethics.errors import RunError, SetupError
from fedethics.installation import app_folder
from fedethics.privacy.search import is_search
from fedethics.storage.lines import Tail

_STARTED_BY = "FEDETHICS_STARTED_BY"  # fedethics.flower.pin, which this room does not import
_GRACE_S = 20.0
_DAY_S = 86_400.0
# Relative to superlink/, where all three work: a socket's path has at most 107 bytes.
CONTROL_SOCKET = "control.sock"
# It would wait for the sites' open connections; its state is in SQLite and needs no good-bye.
_LINK_GRACE_S = 4.0
_FALLS, _FALL_WINDOW_S = 6, 120.0
_APP_FOLDERS, _APP_FILES = ("server", "clients"), ("pyproject.toml", "LICENSE", "README.md")


@dataclass
class Coordinator:
    """One job's processes.

    Attributes:
        home: the coordinator's home.
        resume: continue the job after its last committed round.
        until_census: pause it before anything is trained.
        phase: of a charter with a search: which of its runs this is; the job's id ends with it.
    """

    home: FederationHome
    resume: bool = False
    until_census: bool = False
    phase: str = ""
    _superlink: Child | None = None
    _superexec: Child | None = None
    _submission: Child | None = None
    _said: Tail | None = None
    _short: bool = False
    _falls: dict[str, list[float]] = field(default_factory=dict)
    _shown: tuple[int, ...] = ()
    _told_ending: float = float("-inf")

    @contextmanager
    def running(self) -> Iterator[Coordinator]:
        """Start everything; stop the run and everything at the end, whatever happens.

        Raises:
            RunError: a file is missing, the job exists (or does not, to resume), or this home is
                in use already; nothing was started.
        """
        charter = self.check()
        folder = self.home.state_dir
        folder.mkdir(mode=0o700, exist_ok=True)
        with locked(folder / "lock"), self._listening() as (fleet, control):
            secret = folder / "superexec.secret"
            write_secret(secret)
            self._superlink = _superlink(self.home, secret, fleet=fleet, control=control)
            self._superexec = _superexec(self.home, secret)
            self._submission = _submission(self.home, charter, self._config())
            children = (self._submission, self._superexec, self._superlink)
            self._said = Tail(self._submission.log, from_end=True)
            self._shown = self._certificates()
            try:
                for child in reversed(children):
                    child.start()
                yield self
            finally:
                for child in children:
                    child.stop(grace_s=_LINK_GRACE_S if child is self._superlink else _GRACE_S)
                secret.unlink(missing_ok=True)

    @contextmanager
    def _listening(self) -> Iterator[tuple[tuple[int, ...], int]]:
        """Take the port for sites and the socket for our own processes, or say who has the port."""
        path = self.home.state_dir / CONTROL_SOCKET
        with ExitStack() as stack:
            fleet = bound(self.home.settings.superlink.listens)
            for one in fleet:
                stack.callback(one.close)
            control = stack.enter_context(bound_path(path))
            stack.callback(path.unlink, missing_ok=True)
            yield tuple(one.fileno() for one in fleet), control.fileno()

    def tend(self) -> list[dict[str, Any]]:
        """Look after the processes and return what the submission said since the last call.

        Raises:
            RunError: one of them cannot stay up, though the disk has room.
        """
        for child in (self._superlink, self._superexec):
            if child is not None and not child.alive:
                self._restart(child)
        said = self._said.new() if self._said else []
        return [*self._disk(), *self._renewed(), *self._ending(), *said]

    def _renewed(self) -> list[dict[str, Any]]:
        """Let the SuperLink show the next certificate, once it was put in the place of its own."""
        now = self._certificates()
        if now == self._shown or self._superlink is None:
            return []
        self._shown = now
        found = judge(self.home.server_files, names=self.home.settings.superlink.names_dialled)
        if found.problems:
            return [{"event": "certificate-not-taken", "why": "; ".join(found.problems)}]
        self._told_ending = float("-inf")
        self._superlink.stop(grace_s=_LINK_GRACE_S)
        self._superlink.start()
        until = found.end.date().isoformat() if found.end else ""
        return [{"event": "certificate-renewed", "until": until}]

    def _ending(self) -> list[dict[str, Any]]:
        """Tell once a day that a certificate is near its end."""
        now = time.monotonic()
        if now - self._told_ending < _DAY_S:
            return []
        self._told_ending = now
        end = self.home.first_end()
        why = ending(end) if end else ""
        return [{"event": "certificate-ends", "why": why}] if why else []

    def _certificates(self) -> tuple[int, ...]:
        """Return when the files that the SuperLink shows were written."""
        found = self.home.server_files
        paths = (found.certificate, found.key)
        return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)

    def _restart(self, child: Child) -> None:
        now = time.monotonic()
        falls = [at for at in self._falls.get(child.name, ()) if now - at < _FALL_WINDOW_S]
        if child.exit_code != -signal.SIGKILL:  # it ended by itself: a port, a damaged database
            falls.append(now)
        if shortage(self.home.path):  # that is why, and it is told; nothing of it counts later
            falls.clear()
        self._falls[child.name] = falls
        if len(falls) > _FALLS:
            raise RunError(
                f"the {child.name} ended {len(falls)} times within {_FALL_WINDOW_S:.0f} s "
                f"(exit code {child.exit_code}); see {child.log}. Committed rounds are kept: mend "
                f"it, then: {suggested('federation', 'resume', '--home', self.home.path)}"
            )
        child.start()

    def _disk(self) -> list[dict[str, Any]]:
        """Tell once that the disk is nearly full, and once that it no longer is."""
        why = shortage(self.home.path)
        if bool(why) == self._short:
            return []
        self._short = bool(why)
        return [{"event": "disk-full", "why": why} if why else {"event": "disk-has-room"}]

    @property
    def exit_code(self) -> int | None:
        """None while the run goes on; 0 when it completed."""
        return self._submission.exit_code if self._submission else None

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the children, by name."""
        children = (self._superlink, self._superexec, self._submission)
        return {child.name: child.pid for child in children if child is not None}

    def check(self) -> Charter:
        """Return the charter, if the job can be begun, or resumed, from this home.

        Raises:
            RunError: a file is missing, the job exists (or does not, to resume).
            SetupError: no site would connect to this server's certificate.
        """
        home = self.home
        charter = document.load(home.path / "charter.json")
        missing = [
            str(path)
            for path in (
                home.path / "identity.key",
                *(home.tls(name) for name in ("certificate", "key", "ca")),
                *(home.path / "nodes" / f"{site}.pub" for site in charter.site_names),
            )
            if not path.is_file()
        ]
        if missing:
            raise RunError(f"missing: {', '.join(missing)}; nothing was started")
        if is_search(charter) != bool(self.phase):
            raise RunError(
                "the charter asks for a search: say which run with --phase trial-1, and so on"
                if not self.phase
                else f"--phase {self.phase}: the charter asks for no search; nothing was started"
            )
        if self.until_census and charter.census is None:
            raise RunError("the charter asks for no census; nothing was started")
        found = judge(home.server_files, names=home.settings.superlink.names_dialled)
        if found.problems:
            listed = "\n".join(f"  - {one}" for one in found.problems)
            again = suggested("federation", "renew-certificate", "--home", home.path)
            raise SetupError(
                f"no site would connect; nothing was started:\n{listed}\n"
                f"With the certificate that is right: {again}"
            )
        begun = (home.job_dir / "state.json").exists()
        if begun and not self.resume:
            raise RunError(
                f"job {home.settings.job.id} was already started; nothing was overwritten. "
                f"Continue it with {suggested('federation', 'resume', '--home', home.path)}, or "
                "give [job] another id"
            )
        if self.resume and not begun:
            raise RunError(
                f"job {home.settings.job.id} was never started; there is nothing to resume"
            )
        return charter

    def _config(self) -> dict[str, bool | float | str]:
        job = self.home.settings.job
        model = str(self.home.path / job.model_dir) if job.model_dir else ""
        start = str(self.home.path / job.start_dir) if job.start_dir else ""
        return {
            "coordinator-home": str(self.home.path),
            "job-dir": str(self.home.job_dir),
            "job-id": job.id,
            "leg-timeout-s": job.leg_timeout_s,
            "model-dir": model,
            "phase": self.phase,
            "resume": self.resume,
            "start-dir": start,
            "until-census": self.until_census,
        }


def _superlink(home: FederationHome, secret: Path, *, fleet: Sequence[int], control: int) -> Child:
    folder, listens = home.state_dir, home.settings.superlink.listens
    command = python(
        "fedethics.flower.superlink",
        *("--fleet-sockets", ",".join(map(str, fleet)), "--control-socket", str(control)),
        *("--keys", str(home.path / "nodes")),
        *("--host", listens.host, "--port", str(listens.port)),
        *("--ssl-certfile", str(home.tls("certificate"))),
        *("--ssl-keyfile", str(home.tls("key"))),
        *("--ssl-ca-certfile", str(home.tls("ca"))),
        "--enable-supernode-auth",
        *("--database", str(folder / f"{home.settings.job.id}.db")),
        *("--isolation", "process", "--superexec-auth-secret-file", str(secret)),
        "--disable-runtime-dependency-installation",
    )
    own, keeps = _flower_home(home), (*fleet, control)
    return Child("superlink", command, folder / "superlink.log", folder, own, keeps=keeps)


def _superexec(home: FederationHome, secret: Path) -> Child:
    folder = home.state_dir
    command = python(
        "fedethics.flower.superexec",
        *("--runtime-api-address", f"unix:{CONTROL_SOCKET}", "--insecure"),
        *("--superexec-auth-secret-file", str(secret)),
        *("--parent-pid", str(os.getpid())),
    )
    # The launcher hands its environment on to the ServerApp, which ends with this process.
    own = _flower_home(home) | {_STARTED_BY: processes.mark(os.getpid())}
    return Child("superexec", command, folder / "serverapp.log", folder, own)


def _submission(home: FederationHome, charter: Charter, config: dict[str, Any]) -> Child:
    folder, settings = home.state_dir, home.settings
    command = python(
        "fedethics.flower.submission",
        *("--address", f"unix:{CONTROL_SOCKET}"),
        *("--keys", str(home.path / "nodes"), "--sites", ",".join(charter.site_names)),
        *("--minimum", str(charter.secagg.minimum_cohort)),
        *("--wait-s", str(settings.job.wait_s)),
        *("--app", str(_staged_app(home)), "--config", json.dumps(config)),
    )
    return Child("submission", command, folder / "submission.log", folder, _flower_home(home))


def _flower_home(home: FederationHome) -> dict[str, str]:
    return {"FLWR_HOME": str(home.state_dir / "flwr")}


def _staged_app(home: FederationHome) -> Path:
    """Copy the files of the bundle, and no others, into the coordinator's home.

    Raises:
        RunError: the app's folder does not hold it.
    """
    named = home.settings.job.app
    source = home.path / named if named else app_folder()
    lacking = [name for name in (*_APP_FOLDERS, "pyproject.toml") if not (source / name).exists()]
    if lacking:
        raise RunError(
            f"{source} lacks {', '.join(lacking)}; [job] app of federation.toml must name a "
            "checkout of fedethics, which holds the Flower app, or be empty. Nothing was started"
        )
    target = home.state_dir / "app"
    shutil.rmtree(target, ignore_errors=True)
    for name in _APP_FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source / name, target / name, ignore=ignored)
    for name in _APP_FILES:
        if (source / name).exists():
            shutil.copy(source / name, target / name)
    return target
