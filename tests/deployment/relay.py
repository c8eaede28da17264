"""A line between a site and the coordinator that can be cut and mended: a TCP relay on loopback.

Cut in one of two ways. `RESET`: what is open is torn down and new connections are refused at once,
as when a router or firewall says no. `SILENCE`: nothing is torn down and nothing gets through, as
when a cable is pulled; what was sent meanwhile arrives once the line is mended, as TCP would send
it again.
"""

from __future__ import annotations

import contextlib
import enum
import select
import socket
import struct
import threading
from collections.abc import Iterator

_PIECE = 1 << 16
_LOOK_S = 0.05
# Linger 0: closing sends RST instead of FIN.
_RESET = struct.pack("ii", 1, 0)


class Cut(enum.Enum):
    """How a line is cut."""

    RESET = enum.auto()
    SILENCE = enum.auto()


class Relay:
    """Passes bytes between 127.0.0.1:`port` and 127.0.0.1:`to`, unless it is cut."""

    def __init__(self, *, to: int) -> None:
        self._to = to
        self._how: Cut | None = None
        self._open = True
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._server.getsockname()[1]
        self.passed = {"up": 0, "down": 0}
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, how: Cut) -> None:
        self._how = how

    def mend(self) -> None:
        self._how = None

    def close(self) -> None:
        self._open = False
        self._server.close()

    def _accept(self) -> None:
        while self._open:
            with contextlib.suppress(OSError):
                near, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError):
            # A connection that begins in silence is only made once the line is mended.
            while self._how is Cut.SILENCE and self._open:
                threading.Event().wait(_LOOK_S)
            if self._how is Cut.RESET:
                _tear(near)
                return
            with socket.create_connection(("127.0.0.1", self._to), timeout=5) as far:
                far.settimeout(None)
                self._pass(near, far)

    def _pass(self, near: socket.socket, far: socket.socket) -> None:
        ways = {near: (far, "up"), far: (near, "down")}
        while self._open:
            if self._how is Cut.RESET:
                _tear(near)
                _tear(far)
                return
            if self._how is Cut.SILENCE:
                threading.Event().wait(_LOOK_S)
                continue
            for ready in select.select(list(ways), (), (), _LOOK_S)[0]:
                data = ready.recv(_PIECE)
                if not data:
                    return
                other, way = ways[ready]
                other.sendall(data)
                self.passed[way] += len(data)


def _tear(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.close()


@contextlib.contextmanager
def relayed(*, to: int) -> Iterator[Relay]:
    """Lay a line to port `to`, and take it away after."""
    relay = Relay(to=to)
    try:
        yield relay
    finally:
        relay.close()
