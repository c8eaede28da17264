"""`python -m fedethics.flower.supernode ...`: Flower's own SuperNode, asking at a better pace.

Everything is Flower's `flower-supernode` with its own options; only the two fixed pauses of its
loop (3 s between questions, 0.5 s for the reply) follow `Pace`, what ends it is in `endurance`,
what it waits for in `answers`, how it dials its coordinator in `transport`, and it answers its
executor on a Unix socket in the place of a port of this machine. The process ends with its parent.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import uvicorn
from flwr.supernode import start_client_internal
from flwr.supernode.cli import flower_supernode

from fedethics import memory
from fedethics.flower import answers, endurance, transport
from fedethics.flower.pace import Pace
from fedethics.flower.pin import end_with_parent, require_flower
from fedethics.flower.pulls import quicken_pulls

CONTACT_FILE = "FEDETHICS_CONTACT"
RUNTIME_SOCKET = "FEDETHICS_RUNTIME_SOCKET"
FLOWER_IDLE_S = 3
_REPLY_PAUSE_S = 0.05


class PacedTime:
    """Stands for the module `time` inside Flower's loop, which only uses `sleep`."""

    def __init__(self, pace: Pace, *, contact: Path | None = None) -> None:
        """Follow `pace`, and touch the file `contact` whenever the SuperLink has answered."""
        self._pace = pace
        self._contact = contact

    def sleep(self, seconds: float) -> None:
        """Pause for as long as the pace says instead of `seconds`."""
        if seconds >= FLOWER_IDLE_S:
            # Flower comes here only after the SuperLink said that it has no message.
            if self._contact is not None:
                with suppress(OSError):  # for watchers only
                    self._contact.touch(mode=0o600)
            time.sleep(self._pace.pause_s())
            return
        # Shorter pauses are only made while a message is being answered.
        self._pace.busy()
        time.sleep(_REPLY_PAUSE_S)


def install(paced: PacedTime) -> None:
    """Put `paced` in the place of the clock that Flower's loop sleeps by."""
    start_client_internal.time = paced  # type: ignore[attr-defined,assignment]


def listen_on(path: Path) -> socket.socket:
    """Return a Unix socket that listens at `path`, for this account alone (mode 0600).

    What an earlier SuperNode left there is replaced; the site's lock keeps a second one away.
    """
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
    finally:
        os.umask(before)
    return listening


def serve_executor_on(listening: socket.socket) -> None:
    """Let Flower's SuperNode answer its executor on `listening`, and on no port at all."""

    class OnSocket(uvicorn.Server):
        def run(self, sockets: list[socket.socket] | None = None) -> None:
            super().run(sockets=[listening])

    command = importlib.import_module("flwr.supernode.cli.flower_supernode")
    command.uvicorn = SimpleNamespace(  # type: ignore[attr-defined]
        Config=uvicorn.Config, Server=OnSocket
    )


def main() -> None:
    """Run the SuperNode with the options of this command line."""
    require_flower()
    memory.keep_private()
    end_with_parent()
    quicken_pulls()
    contact = os.environ.get(CONTACT_FILE)
    pace = Pace(fastest_s=0.1, slowest_s=FLOWER_IDLE_S)
    install(PacedTime(pace, contact=Path(contact) if contact else None))
    endurance.install()
    answers.install()
    transport.install(proxied=True)
    listening = listen_on(Path(os.environ[RUNTIME_SOCKET]))
    serve_executor_on(listening)
    try:
        flower_supernode()
    except Exception:  # whatever it was, the thread that serves the executor would go on without it
        traceback.print_exc()
    # Flower's loop has ended; it would leave a process without a connection.
    signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
