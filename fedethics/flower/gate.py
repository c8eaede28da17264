"""The coordinator's gate: it checks each network request to the SuperLink before Flower sees it.

Flower's open-source SuperLink serves sites, control and its launcher on one port, reads bodies of
any size before it looks at who sends them, and waits without a limit on a silent connection. Here
sites reach the fleet path and nothing else; runs are started, watched and stopped, and its own
launcher served, over a Unix socket in the coordinator's home, which only its account can reach. A
body is taken only from a key on the roster, and only of the size that such a call has. Private
parts of flwr and of uvicorn 0.49.
"""

from __future__ import annotations

import asyncio
import re
import resource
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fedethics.errors import SetupError
from fedethics.flower.node_keys import node_key

_FLEET = re.compile(r"/v1/fleet/[a-z-]+\Z")
_HEALTH = "/health"
# A part of an array has 5 MiB at most; every other call of a node is a message's head.
LIMIT_BYTES = {"/v1/fleet/push-object": 8 << 20}
OTHER_LIMIT_BYTES = 2 << 20
HEAD_LIMIT_BYTES = 32 << 10
# Seconds for a handshake, for the head of a request, for its body, and of silence after an answer.
HANDSHAKE_S, HEAD_S, BODY_S, KEEP_ALIVE_S = 20.0, 30.0, 300.0, 75
_MOST_CONNECTIONS = 1024
_SPARE_FILES = 256
# Calls of one node that are answered at once (a SuperNode makes 4 or 5), and that wait or are.
_MOST_AT_ONCE, _MOST_WAITING = 8, 32
_HEADER = FLEET_HTTP_PUBLIC_KEY_HEADER.lower().encode("ascii")

Scope = dict[str, Any]


class Roster:
    """The node keys that a coordinator admits, as a call's head names them; read when changed."""

    def __init__(self, folder: Path) -> None:
        """Look into `folder`, which holds NAME.pub for each site."""
        self._folder = folder
        self._seen: tuple[tuple[str, int], ...] = ()
        self._keys: frozenset[bytes] = frozenset()

    def __contains__(self, header: bytes) -> bool:
        """Say whether a head names a key of the roster; who holds it is Flower's to check."""
        if header not in self._keys:
            self._read()
        return header in self._keys

    def _read(self) -> None:
        files = sorted(self._folder.glob("*.pub"))
        seen = tuple((path.name, path.stat().st_mtime_ns) for path in files if path.exists())
        if seen == self._seen:
            return
        found = set()
        for path in files:
            try:
                found.add(b64encode(node_key(path)))
            except SetupError:  # the submission names it
                continue
        self._seen, self._keys = seen, frozenset(found)


class Gate:
    """An ASGI app before Flower's: answers 401, 404, 411 or 413, or passes the request on."""

    def __init__(self, app: Any, *, roster: Roster | None) -> None:  # noqa: ANN401  ASGI
        """Let in who is on `roster`, or every node where there is none."""
        self._app = app
        self._roster = roster
        self._turns: dict[bytes, _Turn] = {}

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI
        """Answer one request."""
        if scope["type"] == "lifespan" or _is_near(scope):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal:
            await _refuse(scope, send, refusal)
            return
        # One key's calls are answered a few at a time: who floods waits for itself.
        turn = self._turns.setdefault(dict(scope["headers"]).get(_HEADER, b""), _Turn())
        if turn.waiting >= _MOST_WAITING and self._roster is not None:
            await _refuse(scope, send, 503)
            return
        async with turn.taken(bounded=self._roster is not None):
            await self._app(scope, _Body(receive), send)

    def _refusal(self, scope: Scope) -> int:
        """Return the status by which a request is refused, or 0."""
        path, method = str(scope.get("path", "")), scope.get("method")
        if scope["type"] != "http":
            return 404
        if path == _HEALTH and method in ("GET", "HEAD"):
            return 0
        if method != "POST" or not _FLEET.match(path):
            return 404
        heads = dict(scope["headers"])
        length = heads.get(b"content-length", b"")
        if not length.isdigit():
            return 411
        if self._roster is not None and heads.get(_HEADER, b"") not in self._roster:
            return 401
        return 413 if int(length[:20]) > LIMIT_BYTES.get(path, OTHER_LIMIT_BYTES) else 0


class _Turn:
    """One key's calls: how many are answered at once, and how many wait for that."""

    def __init__(self) -> None:
        self.waiting = 0
        self._at_once = asyncio.Semaphore(_MOST_AT_ONCE)

    @asynccontextmanager
    async def taken(self, *, bounded: bool) -> AsyncIterator[None]:
        """Wait for a place, and hold it while the call is answered."""
        if not bounded:
            yield
            return
        self.waiting += 1
        try:
            async with self._at_once:
                yield
        finally:
            self.waiting -= 1


class _Body:
    """What Flower's app receives; a body that does not end in time ends as if its sender did."""

    def __init__(self, receive: Any) -> None:  # noqa: ANN401  ASGI
        self._receive = receive
        self._end = asyncio.get_running_loop().time() + BODY_S
        self._whole = False

    async def __call__(self) -> dict[str, Any]:
        if self._whole:  # waits for the sender to go, for as long as the answer takes
            return dict(await self._receive())
        left = self._end - asyncio.get_running_loop().time()
        try:
            message = dict(await asyncio.wait_for(self._receive(), max(left, 0)))
        except TimeoutError:
            return {"type": "http.disconnect"}
        self._whole = not message.get("more_body", False)
        return message


class Connection(HttpToolsProtocol):
    """One connection, which ends if a head is too slow or too large."""

    _timer: asyncio.TimerHandle | None = None
    _head = 0
    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        if _is_near({"server": self.server}):
            self.limit_concurrency = None  # our own calls are answered in a crowd, too
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that has grown too large ends the connection."""
        if self._in_head:
            self._head += len(data)
            self._wait()
        super().data_received(data)
        if self._in_head and self._head > HEAD_LIMIT_BYTES:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        """Take a request."""
        self._stop_waiting()
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Be ready for the next head, which the pause between two requests does not count to."""
        self._in_head, self._head = True, 0
        super().on_message_complete()

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_S, self._too_late)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()


class Server(uvicorn.Server):
    """Serves TLS on the sockets of the port, and the same app without it on the home's socket."""

    def __init__(self, config: uvicorn.Config, *, control: socket.socket | None) -> None:
        """Serve nothing yet."""
        super().__init__(config)
        self._control = control

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            self.should_exit = True
            return
        loop = asyncio.get_running_loop()

        def connection() -> Connection:
            return Connection(
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
                _loop=loop,
            )

        backlog, tls = self.config.backlog, self.config.ssl
        patience = HANDSHAKE_S if tls is not None else None
        self.servers = [
            await loop.create_server(
                connection, sock=one, ssl=tls, backlog=backlog, ssl_handshake_timeout=patience
            )
            for one in sockets or ()
        ]
        if self._control is not None:
            # As for a port: `create_unix_server` would take the path away at its end.
            near = await loop.create_server(connection, sock=self._control, backlog=backlog)
            self.servers.append(near)
        self.started = True


def serve(
    app: Any,  # noqa: ANN401  ASGI
    *,
    fleet: Sequence[socket.socket],
    control: socket.socket | None,
    roster: Roster | None,
    **options: Any,  # noqa: ANN401  uvicorn's
) -> None:
    """Serve `app` behind a gate until this process is told to end.

    Args:
        app: Flower's.
        fleet: listening sockets that sites reach.
        control: listening Unix socket, over which everything may be asked.
        roster: whose calls are accepted; None for every node's.
        options: uvicorn's own.
    """
    # A line for each question of each node would fill the disk: gigabytes in a long job.
    own = {"access_log": False, "proxy_headers": False, "ws": "none", "server_header": False}
    config = uvicorn.Config(
        Gate(app, roster=roster),
        **(options | own),
        limit_concurrency=_most_connections(),
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    Server(config, control=control).run(sockets=list(fleet))


def _most_connections() -> int:
    """Return how many connections this process may hold open, and raise its limit to that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS + _SPARE_FILES
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(allowed - _SPARE_FILES, _SPARE_FILES)


def _is_near(scope: Scope) -> bool:
    server = scope.get("server")
    return server is not None and server[1] is None  # a Unix socket has no port


async def _refuse(scope: Scope, send: Any, status: int) -> None:  # noqa: ANN401  ASGI
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
