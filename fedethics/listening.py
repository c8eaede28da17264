"""Where a web server of this package listens, and whom it answers: address, token, certificate.

All is checked before anything is loaded or opened. Beyond this machine, a token and TLS are needed.

Source of the limits: uvicorn's settings, https://uvicorn.dev/settings/.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from fedethics import ownership
from fedethics.errors import RunError
from fedethics.storage import files

_LEAST_TOKEN = 16
_MOST_CONNECTIONS = 200
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_EVERY_NETWORK = frozenset({"0.0.0.0", "::"})  # noqa: S104  named, not listened on


@dataclass(frozen=True, kw_only=True, slots=True)
class Listening:
    """Where and how a server listens.

    Attributes:
        host: address; only this machine reaches 127.0.0.1.
        port: 0 for any free one.
        token_file: with the token that clients send; written where it is missing. None for no
            token, on this machine only.
        certificate, key: for TLS, PEM files; needed beyond this machine, unless `plain`.
        plain: whether clients beyond this machine may speak without TLS, as behind a proxy.
        new_token: ask for a token made for this start, where there is no file of one.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    plain: bool = False
    new_token: bool = False

    @contextmanager
    def opened(self) -> Iterator[Listener]:
        """Check everything, take the address, and give it back at the end.

        Raises:
            RunError: the address is in use or not this machine's, or the token or certificate is
                missing or not safe.
        """
        self._require_protection()
        fresh = self.new_token and self.token_file is None
        token = secrets.token_urlsafe(32) if fresh else token_of(self.token_file)
        with _bound(self.host, self.port) as listening:
            yield Listener(where=self, token=token, listening=listening)

    def _require_protection(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise RunError("--tls-cert and --tls-key belong together; give both or neither")
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            raise RunError(
                f"--host {self.host!r} is no address; 127.0.0.1 is this machine alone, 0.0.0.0 "
                "every network that it is in"
            ) from None
        if address.is_loopback:
            if self.host not in _LOOPBACK:
                raise RunError(f"--host {self.host}: give 127.0.0.1 or ::1 for this machine alone")
            return
        if self.token_file is None and not self.new_token:
            raise RunError(f"--host {self.host} is reached by others; give --token-file")
        if self.certificate is None and not self.plain:
            raise RunError(
                f"--host {self.host} is reached by others, who could read token and answers on the "
                "way; give --tls-cert and --tls-key, or --without-tls behind a proxy that has them"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """An address that was taken, and the token that clients must send; empty for none."""

    where: Listening
    token: str
    listening: socket.socket

    @property
    def secure(self) -> bool:
        """Whether browsers speak TLS with it: its own, or that of the proxy before it."""
        return self.where.certificate is not None or self.where.plain

    @property
    def port(self) -> int:
        """The port that was taken."""
        return int(self.listening.getsockname()[1])

    def answer(self, application: Starlette, *, ready: Callable[[str], None]) -> None:
        """Answer until interrupted.

        Args:
            application: what answers.
            ready: told the address once requests are answered.
        """
        scheme = "https" if self.where.certificate else "http"
        host = self.listening.getsockname()[0]
        named = "THIS-MACHINE" if host in _EVERY_NETWORK else host
        shown = f"[{named}]" if ":" in named else named
        server = _Server(self._settings(application))
        server.told = lambda: ready(f"{scheme}://{shown}:{self.port}")
        server.run(sockets=[self.listening])

    def _settings(self, application: Starlette) -> uvicorn.Config:
        return uvicorn.Config(
            application,
            # Neither paths nor addresses of clients are written down.
            access_log=False,
            log_level="error",
            server_header=False,
            lifespan="off",
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=10,
            proxy_headers=False,
            ssl_certfile=self.where.certificate,
            ssl_keyfile=self.where.key,
        )


class _Server(uvicorn.Server):
    """Tells when it answers."""

    told: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.told()


class Admission:
    """Whom a server answers."""

    def __init__(self, token: str) -> None:
        """Remember the digest of the token; an empty token admits this machine's own clients."""
        self._token = hashlib.sha256(token.encode()).digest() if token else b""

    @property
    def asks(self) -> bool:
        """Whether a token is asked for."""
        return bool(self._token)

    def knows(self, given: str) -> bool:
        """Return whether this is the token, in a time that tells nothing of it."""
        digest = hashlib.sha256(given.strip().encode()).digest()
        return self.asks and hmac.compare_digest(digest, self._token)

    def bears(self, authorization: str) -> bool:
        """Return whether the value of the header Authorization is `Bearer` and the token."""
        kind, _, given = authorization.partition(" ")
        return kind.lower() == "bearer" and self.knows(given)

    def is_own_host(self, hostname: str | None) -> bool:
        """Return whether a request may name this host.

        Without a token, a page in a browser could reach this server under a name of its own.
        """
        return self.asks or hostname in _LOOPBACK


def token_of(path: Path | None) -> str:
    """Return the token of a file, which is written where it is missing; empty without a file.

    Raises:
        RunError: the file cannot be read or written, others could read it, or it holds no token.
    """
    if path is None:
        return ""
    if not os.path.lexists(path):
        try:
            files.create(path, (secrets.token_urlsafe(32) + "\n").encode())
        except OSError as error:
            raise RunError(f"--token-file {path} cannot be written: {error.strerror}") from error
    ownership.require_safe(
        path, RunError, what="--token-file", could="read or change the token", secret=True
    )
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise RunError(f"--token-file {path} cannot be read as a line of ASCII") from None
    if len(token) < _LEAST_TOKEN or not token.isprintable() or " " in token:
        raise RunError(
            f"--token-file {path} must hold one token of at least {_LEAST_TOKEN} characters; "
            "remove the file, and a new one is written"
        )
    return token


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        why = getattr(error, "strerror", None) or str(error)
        raise RunError(
            f"{host}, port {port} cannot be listened on: {why}. Give another --port; nothing was "
            "loaded"
        ) from error
    return listening
