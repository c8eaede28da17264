"""Listen for clients until stopped: address, token and certificate checked before the model loads.

Source of the limits: uvicorn's settings, https://uvicorn.dev/settings/.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from fedethics import ownership
from fedethics.errors import RunError
from fedethics.policy.model import Compute
from fedethics.serving.http import application
from fedethics.serving.service import Service
from fedethics.storage import files

_LEAST_TOKEN = 16
_MOST_CONNECTIONS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Listening:
    """Where and how the server listens.

    Attributes:
        host: address; only this machine reaches 127.0.0.1.
        port: 0 for any free one.
        token_file: with the token that clients send; written where it is missing. None for no
            token, on this machine only.
        certificate, key: for TLS, PEM files; needed beyond this machine, unless `plain`.
        plain: whether clients beyond this machine may speak without TLS, as behind a proxy.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    plain: bool = False


def serve(
    run_dir: Path,
    where: Listening,
    *,
    model_dir: Path | None = None,
    compute: Compute | None = None,
    most_tokens: int = 256,
    ready: Callable[[str], None] = lambda _address: None,
) -> None:
    """Answer until interrupted.

    Args:
        run_dir: the release.
        where: address, token, certificate.
        model_dir: folder of the base model; None for one that comes with a package.
        compute: where it computes.
        most_tokens: of one answer.
        ready: told the address once requests are answered.

    Raises:
        RunError: the address is in use or not this machine's, or the token or certificate is
            missing or not safe.
        ReleaseError: the release may not be used.
        ModelError: the base model is missing or another.
    """
    _require_protection(where)
    token = _token(where.token_file)
    with _bound(where) as listening:
        service = Service(run_dir, model_dir=model_dir, compute=compute)
        scheme = "https" if where.certificate else "http"
        host, port = listening.getsockname()[:2]
        server = _Server(_settings(service, where, token, most_tokens))
        server.told = lambda: ready(f"{scheme}://{host}:{port}")
        try:
            server.run(sockets=[listening])
        finally:
            service.close()


class _Server(uvicorn.Server):
    """Tells when it answers."""

    told: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.told()


def _settings(service: Service, where: Listening, token: str, most_tokens: int) -> uvicorn.Config:
    return uvicorn.Config(
        application(service, token=token, most_tokens=most_tokens),
        # Neither paths nor addresses of clients are written down.
        access_log=False,
        log_level="error",
        server_header=False,
        lifespan="off",
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=10,
        proxy_headers=False,
        ssl_certfile=where.certificate,
        ssl_keyfile=where.key,
    )


def _require_protection(where: Listening) -> None:
    if (where.certificate is None) != (where.key is None):
        raise RunError("--tls-cert and --tls-key belong together; give both or neither")
    try:
        local = ipaddress.ip_address(where.host).is_loopback
    except ValueError:
        raise RunError(
            f"--host {where.host!r} is no address; 127.0.0.1 is this machine alone, 0.0.0.0 every "
            "network that it is in"
        ) from None
    if local:
        return
    if where.token_file is None:
        raise RunError(f"--host {where.host} is reached by others; give --token-file")
    if where.certificate is None and not where.plain:
        raise RunError(
            f"--host {where.host} is reached by others, who could read token and records on the "
            "way; give --tls-cert and --tls-key, or --without-tls behind a proxy that has them"
        )


def _token(path: Path | None) -> str:
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


def _bound(where: Listening) -> socket.socket:
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((where.host, where.port))
    except (OSError, OverflowError) as error:
        listening.close()
        why = getattr(error, "strerror", None) or str(error)
        raise RunError(
            f"{where.host}, port {where.port} cannot be listened on: {why}. Give another --port; "
            "the model was not loaded"
        ) from error
    return listening
