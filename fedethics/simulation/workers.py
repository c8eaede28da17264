"""Sites of a simulation in processes of their own, spread over the cores.

A site keeps nothing in memory that its files do not hold, so any process can answer for it. Each
worker answers for the same sites throughout, one request after the other, on one thread: so a site
computes the same bytes whatever the number of workers. Requests and replies cross a pipe as bytes
with a canonical header; nothing is pickled.

Each worker holds its own copy of the model and of the libraries.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from fedethics import canonical
from fedethics.canonical import Json
from fedethics.coordinator.transport import FIRST_NODE, UNAVAILABLE, Arrival, Fault, no_fault
from fedethics.errors import RunError
from fedethics.protocol import Action, Refusal, Reply, Request

MOST = 256
_SECONDS_TO_END = 10.0
_HEAD_BYTES = 4
# More threads would round sums otherwise on another number of cores, and workers share the cores.
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}


def write_frame(pipe: BinaryIO, header: Mapping[str, Json], payloads: Mapping[str, bytes]) -> None:
    """Write a header and named bytes to a pipe."""
    sizes: dict[str, Json] = {name: len(data) for name, data in payloads.items()}
    head = canonical.encode({**header, "payloads": sizes})
    pipe.write(len(head).to_bytes(_HEAD_BYTES, "big") + head)
    for name in sorted(payloads):
        pipe.write(payloads[name])
    pipe.flush()


def read_frame(pipe: BinaryIO) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read what `write_frame` wrote.

    Raises:
        EOFError: the other end is closed.
    """
    head: Any = canonical.parse(_read(pipe, int.from_bytes(_read(pipe, _HEAD_BYTES), "big")))
    sizes = head.pop("payloads")
    return head, {name: _read(pipe, sizes[name]) for name in sorted(sizes)}


def _read(pipe: BinaryIO, size: int) -> bytes:
    data = pipe.read(size)
    if len(data) != size:
        raise EOFError
    return data


def request_header(site: str, request: Request) -> dict[str, Json]:
    """Return what of a request is not its payloads."""
    return {
        "site": site,
        "action": str(request.action),
        "charter": request.charter_hash,
        "run": request.run,
        "protocol": request.protocol,
    }


def read_request(header: Mapping[str, Any], payloads: Mapping[str, bytes]) -> Request:
    """Return the request of a frame."""
    return Request(
        action=Action(header["action"]),
        charter_hash=header["charter"],
        run=header["run"],
        payloads=payloads,
        protocol=header["protocol"],
    )


def reply_header(reply: Reply) -> dict[str, Json]:
    """Return what of a reply is not its payloads."""
    said = reply.refusal
    if said is None:
        return {"refusal": None}
    return {"refusal": {"code": said.code, "sentence": said.sentence, "site": said.site}}


def _reply(header: Mapping[str, Any], payloads: Mapping[str, bytes]) -> Reply:
    said = header["refusal"]
    return Reply(payloads=payloads, refusal=None if said is None else Refusal(**said))


class Worker:
    """One process that answers for some sites; used by one thread at a time."""

    def __init__(self, command: Sequence[str], number: int) -> None:
        self.number = number
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_ONE_THREAD, "HF_HUB_OFFLINE": "1"},
        )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def ask(self, site: str, request: Request) -> Reply:
        """Return what a site answers.

        Raises:
            RunError: the process is gone.
        """
        pipes = self._process.stdin, self._process.stdout
        try:
            if pipes[0] is None or pipes[1] is None:
                raise EOFError
            write_frame(pipes[0], request_header(site, request), request.payloads)  # type: ignore[arg-type]
            return _reply(*read_frame(pipes[1]))  # type: ignore[arg-type]
        except (EOFError, OSError, ValueError) as error:
            raise RunError(
                f"worker {self.number} (process {self.pid}) ended while it answered for {site}"
                f"{self._why()}. Committed rounds are kept; what the unfinished round had reserved "
                "stays charged in the sites' ledgers. Continue the run with --resume, with fewer "
                "--workers if memory ran out"
            ) from error

    def end(self) -> None:
        """End the process; it ends by itself where its input ends."""
        if self._process.stdin is not None:
            with suppress(OSError):  # what was written last may find no reader
                self._process.stdin.close()
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _why(self) -> str:
        try:
            code = self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            return ""
        return f", by signal {-code}" if code < 0 else f", with exit code {code}"


@contextmanager
def workers_of(run_dir: Path, count: int) -> Iterator[tuple[Worker, ...]]:
    """Start so many workers for the sites of a run, and end them.

    Raises:
        RunError: fewer than one, or more than `MOST`.
    """
    if not 1 <= count <= MOST:
        raise RunError(f"--workers {count}: from 1 to {MOST}; nothing was started")
    command = [sys.executable, "-P", "-m", "fedethics.simulation.worker", str(run_dir)]
    found = []
    try:
        for number in range(1, count + 1):
            found.append(Worker(command, number))
        yield tuple(found)
    finally:
        for worker in found:
            worker.end()


@dataclass
class InWorkers:
    """A transport to sites that workers answer for: the sites of a leg answer side by side.

    Attributes:
        sites: their names; one node for each, in sorted order.
        workers: they take turns in the sites, so each answers for the same ones throughout.
        lost, late: as in `InProcess`.
    """

    sites: Sequence[str]
    workers: Sequence[Worker]
    lost: Fault = no_fault
    late: Fault = no_fault
    _waiting: dict[str, Arrival] = field(default_factory=dict)
    _count: int = 0

    def nodes(self) -> tuple[int, ...]:
        """Return every node."""
        return tuple(range(FIRST_NODE, FIRST_NODE + len(self.sites)))

    def send(self, requests: Mapping[int, Request], *, ttl_s: float) -> dict[str, int]:
        """Have each node answer its request now, and keep the answers; `ttl_s` never passes.

        Raises:
            RunError: a worker is gone.
        """
        names, sent = sorted(self.sites), {}
        work: list[list[tuple[str, str, Request]]] = [[] for _ in self.workers]
        for node, request in requests.items():
            self._count += 1
            message_id, place = f"message-{self._count}", node - FIRST_NODE
            sent[message_id] = node
            if self.lost(names[place], request):
                self._waiting[message_id] = _nothing(message_id)
            else:
                work[place % len(self.workers)].append((message_id, names[place], request))
        with ThreadPoolExecutor(len(self.workers)) as threads:
            for arrivals in threads.map(self._answered, self.workers, work):
                self._waiting |= {one.message_id: one for one in arrivals}
        return sent

    def receive(self, message_ids: Collection[str]) -> Iterator[Arrival]:
        """Yield the answers to these messages, each once."""
        for message_id in message_ids:
            if message_id in self._waiting:
                yield self._waiting.pop(message_id)

    def _answered(self, worker: Worker, work: list[tuple[str, str, Request]]) -> list[Arrival]:
        found = []
        for message_id, site, request in work:
            reply = worker.ask(site, request)
            is_late = self.late(site, request)
            found.append(_nothing(message_id) if is_late else Arrival(message_id, reply))
        return found


def _nothing(message_id: str) -> Arrival:
    return Arrival(message_id, Reply(refusal=UNAVAILABLE), from_node=False)
