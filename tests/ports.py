"""Ports for servers that tests start: free now, and nobody's by the time they are bound."""

from __future__ import annotations

import itertools
import os
import socket

# Below 32768, where Linux begins to give ports to outgoing connections: one that is free there now
# may be the source of a connection a moment later.
_FIRST, _MANY = 20_000, 12_000
_turns = itertools.count(os.getpid() * 97)


def quiet_port() -> int:
    """Return a loopback port that is free now, and another one each time."""
    for turn in itertools.islice(_turns, _MANY):
        port = _FIRST + turn % _MANY
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no port from {_FIRST} to {_FIRST + _MANY} is free")
