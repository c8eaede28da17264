"""The SuperNode's own loop: how long it pauses, and where it answers its executor.

Flower pauses for 3 s between questions and for 0.5 s before a reply, and serves the executor on a
port of this machine. Here the pauses follow `Polling`, and the executor is answered on a Unix
socket.
"""

from __future__ import annotations

import importlib
import socket
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import uvicorn
from flwr.supernode import start_client_internal

from fedethics.flower.polling import Polling

FLOWER_IDLE_S = 3
_REPLY_PAUSE_S = 0.05


class PacedTime:
    """Stands for the module `time` inside Flower's loop, which only uses `sleep`."""

    def __init__(self, polling: Polling, *, contact: Path | None = None) -> None:
        """Follow `polling`, and touch the file `contact` whenever the SuperLink has answered."""
        self._polling = polling
        self._contact = contact

    def sleep(self, seconds: float) -> None:
        """Pause for as long as the polling says instead of `seconds`."""
        if seconds >= FLOWER_IDLE_S:
            # Flower comes here only after the SuperLink said that it has no message.
            if self._contact is not None:
                with suppress(OSError):  # for watchers only
                    self._contact.touch(mode=0o600)
            time.sleep(self._polling.pause_s())
            return
        # Shorter pauses are only made while a message is being answered.
        self._polling.busy()
        time.sleep(_REPLY_PAUSE_S)


def install(paced: PacedTime) -> None:
    """Put `paced` in the place of the clock that Flower's loop sleeps by."""
    start_client_internal.time = paced  # type: ignore[attr-defined,assignment]


def serve_executor_on(listening: socket.socket) -> None:
    """Let Flower's SuperNode answer its executor on `listening`, and on no port at all."""

    class OnSocket(uvicorn.Server):
        def run(self, sockets: list[socket.socket] | None = None) -> None:
            super().run(sockets=[listening])

    command = importlib.import_module("flwr.supernode.cli.flower_supernode")
    command.uvicorn = SimpleNamespace(  # type: ignore[attr-defined]
        Config=uvicorn.Config, Server=OnSocket
    )
