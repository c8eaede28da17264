"""Which process a number means: a number alone may belong to another one by now, or elsewhere.

A process is known by its number, the moment of its start, and the running system and container in
which that number counts. Source: proc(5). Where there is no /proc, the number and the host's name.

Child processes: started in a session of their own, watched, and stopped with all they started.

Guarantee: `stop` leaves no process of the child's session behind.

Is there room left on a home's disk? Told on the screen: a full disk can log nothing.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedethics.errors import RunError
from fedethics.proxies import without_proxies

# Flower's own switches: no telemetry, no question for updates, no installing of packages at run
# time. And Python's: nothing is imported from the working directory.
OFFLINE: Mapping[str, str] = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    # Its older servers, on ports of their own and partly without TLS.
    "FLWR_INTERNAL_GRPC_CONTROL_API": "0",
    "FLWR_INTERNAL_GRPC_FLEET_API": "0",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "PYTHONSAFEPATH": "1",
    "PYTHONUNBUFFERED": "1",
}
_LOG_LIMIT_BYTES = 5_000_000
_TAIL_BYTES = 4000


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs an installed module with this interpreter."""
    return (sys.executable, "-P", "-m", module, *arguments)


@dataclass(slots=True)
class Child:
    """One process, with its own log file (mode 0600).

    Attributes:
        name: what people know it by.
        command: program and arguments; no secret among them, since others can list processes.
        log: file that its output goes to; set aside as `.1` when it has grown large.
        folder: its working directory.
        environment: added to this process's own and OFFLINE.
        way_out: returns what is left of this process's own; without a word, no proxy variable is,
            since a child speaks to this machine only.
        keeps: open files and sockets (descriptors) that it is handed.
    """

    name: str
    command: Sequence[str]
    log: Path
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    way_out: Callable[[Mapping[str, str]], Mapping[str, str]] = without_proxies
    keeps: Sequence[int] = ()
    _process: subprocess.Popen[bytes] | None = None
    _offset: int = 0

    def start(self) -> None:
        """Start it; an earlier one must have ended.

        Raises:
            RunError: the program is not installed.
        """
        beside = str(Path(sys.executable).parent)
        path = f"{beside}{os.pathsep}{os.environ.get('PATH', '')}"
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_name(self.log.name + ".1"))
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as output:
            self._offset = os.fstat(output.fileno()).st_size
            try:
                self._process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self.folder,
                    env={**self.way_out(os.environ), **OFFLINE, "PATH": path, **self.environment},
                    start_new_session=True,
                    pass_fds=tuple(self.keeps),
                )
            except OSError as error:
                raise RunError(f"{self.name} cannot be started: {error.strerror}") from error

    @property
    def pid(self) -> int:
        """Its process id; 0 before it was started."""
        return self._process.pid if self._process else 0

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended, or None while it runs."""
        return self._process.poll() if self._process else None

    def output(self) -> str:
        """Return what it has written since it was started, at most the last few kilobytes."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._offset, end - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace")

    def stop(self, *, grace_s: float) -> None:
        """Ask it to end, wait `grace_s`, then end it and whatever it left in its session."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=grace_s)
        self._end_session()
        self._process.wait()

    def _end_session(self) -> None:
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                return


_PROC = Path("/proc")
_STARTED = 21  # field 22 of /proc/PID/stat, counted after the name in brackets


def mark(pid: int) -> str:
    """Return one line that distinguishes this process from every other one; "" when it is gone."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
        started = stat.rpartition(")")[2].split()[_STARTED - 2]
    except (OSError, IndexError):
        return "" if (_PROC / "self" / "stat").exists() else f"{pid} {_here()}"
    return f"{pid} {started} {_here()}"


def is_here(line: str) -> bool:
    """Say whether `line` marks a process of this very system and container."""
    return line.endswith(f" {_here()}")


def runs(line: str) -> bool:
    """Say whether the process that `mark` describes still runs, here."""
    pid = number(line)
    return pid is not None and is_here(line) and mark(pid) == line and _answers(pid)


def number(line: str) -> int | None:
    """Return the number in a mark, or None where there is none."""
    first = line.partition(" ")[0]
    return int(first) if first.isascii() and first.isdigit() else None


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _here() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(_PROC / 'self/ns/pid')}"
    except OSError:
        return platform.node()


# One round's files at a site or coordinator with an adapter of a few megabytes.
_LEAST_BYTES = 16 << 20


def shortage(home: Path) -> str:
    """Return a sentence when the disk of `home` is nearly full, else an empty one."""
    free = shutil.disk_usage(home).free
    if free >= _LEAST_BYTES:
        return ""
    return (
        f"the disk of {home} is nearly full ({free / 2**20:.1f} MiB left): make room. What was "
        "committed or reserved stands"
    )
