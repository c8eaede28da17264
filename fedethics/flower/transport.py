"""The HTTP client of our processes for Flower: bounded in size and time; no proxy by itself.

Flower's own client (httpx with its defaults) follows redirects and takes a proxy from the
environment, for loopback too; with a SOCKS proxy it does not start. It reads a reply of any size
into memory, and it waits without a limit on a slow reply. Here one reply has at most `LIMIT_BYTES`
and one call ends by its deadline. A redirect is an answer like any other that is not 200. A client
uses a proxy only if it asks for one (`fedethics.proxies`).

An address is host:port, or `unix:` and the path of a socket.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from fedethics.errors import RunError
from fedethics.proxies import Proxy, proxy_for

UNIX = "unix:"
# Flower's parts have at most 5 MiB and its bundles 10 MB.
LIMIT_BYTES = 64 << 20
# On this machine, and for a part of 5 MiB over a slow line.
NEAR_DEADLINE_S = 60.0
FAR_DEADLINE_S = 600.0
SILENCE_S = 30.0
_ends: ContextVar[float] = ContextVar("ends", default=float("inf"))


class BoundedTransport(httpx.BaseTransport):
    """HTTP whose replies are bounded in size and time, over TCP or a Unix socket."""

    def __init__(
        self,
        *,
        context: ssl.SSLContext | None = None,
        socket_path: str = "",
        proxy: Proxy | None = None,
        deadline_s: float = NEAR_DEADLINE_S,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        """Open nothing yet.

        Args:
            context: what certificates to believe; None where nothing is encrypted.
            socket_path: the Unix socket to speak over, whatever a request's host is.
            proxy: the proxy to take; None for none, whatever the environment says.
            deadline_s: the longest time from the start of a call to the last byte of its reply.
            limit_bytes: the largest body of a reply.
        """
        self._deadline_s, self._limit_bytes = deadline_s, limit_bytes
        self._pool = _pool(context, socket_path, proxy)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and read its whole reply.

        Raises:
            httpx.TransportError: no connection, not in time, or a reply that is too large.
        """
        token = _ends.set(time.monotonic() + self._deadline_s)
        try:
            with _as_httpx(request):
                return self._exchange(request)
        finally:
            _ends.reset(token)

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def _exchange(self, request: httpx.Request) -> httpx.Response:
        answer = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        try:
            body = self._body(answer.stream)
        finally:
            answer.close()
        headers = [
            (name, value)
            for name, value in answer.headers
            if name.lower() not in (b"content-length", b"transfer-encoding")
        ]
        if any(name.lower() == b"content-encoding" for name, _ in headers):
            # None was asked for; unpacking one could grow without bound.
            raise httpcore.RemoteProtocolError("the reply is compressed, which was not asked for")
        return httpx.Response(answer.status, headers=headers, content=body, request=request)

    def _body(self, stream: object) -> bytes:
        if not isinstance(stream, Iterable):
            raise httpcore.RemoteProtocolError("the reply has no body to read")
        body = bytearray()
        for chunk in stream:
            body += chunk
            if len(body) > self._limit_bytes:
                raise httpcore.RemoteProtocolError(
                    f"the reply has more than {self._limit_bytes} bytes; the rest was not read"
                )
        return bytes(body)


class _ByDeadline(httpcore.NetworkStream):
    """A connection whose every wait ends with the call that it is made for."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _ByDeadline(self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)


class _Dialling(httpcore.NetworkBackend):
    """Opens connections; all by the deadline of the call that needs them."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _ByDeadline(self._inner.connect_tcp(host, port, left, local_address, socket_options))

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _ByDeadline(self._inner.connect_unix_socket(path, left, socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


def _left(timeout: float | None, late: type[httpcore.TimeoutException]) -> float | None:
    left = _ends.get() - time.monotonic()
    if left <= 0:
        raise late("the reply was not whole by the deadline of the call")
    if left == float("inf"):
        return timeout
    return left if timeout is None else min(timeout, left)


def _pool(
    context: ssl.SSLContext | None, socket_path: str, proxy: Proxy | None
) -> httpcore.ConnectionPool:
    if proxy is None:
        return httpcore.ConnectionPool(
            ssl_context=context, uds=socket_path or None, network_backend=_Dialling()
        )
    parts = httpx.URL(proxy.url)
    user = (parts.username, parts.password) if parts.username else None
    return httpcore.HTTPProxy(
        f"{proxy.scheme}://{proxy.shown}",
        proxy_auth=user,
        ssl_context=context,
        network_backend=_Dialling(),
    )


@contextmanager
def _as_httpx(request: httpx.Request) -> Iterator[None]:
    """Raise what httpx would, by the same names; Flower and this room look for those."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        httpcore.UnsupportedProtocol,
    ) as error:
        kind = getattr(httpx, type(error).__name__, httpx.TransportError)
        raise kind(str(error), request=request) from error


def client(
    base_url: str,
    *,
    verify: ssl.SSLContext | bool | str = True,
    proxied: bool = False,
    timeout_s: float = SILENCE_S,
) -> httpx.Client:
    """Return an HTTP client for the one server at `base_url`.

    Args:
        base_url: scheme://host:port, or scheme://unix:PATH.
        verify: as httpx takes it: which certificates to believe.
        proxied: take the proxy of the environment, as the way to a coordinator does.
        timeout_s: the longest silence.

    Raises:
        RunError: the proxy of the environment cannot be used; nothing was sent.
    """
    parts = urlsplit(base_url)
    path = base_url.partition(f"://{UNIX}")[2]
    found = None
    if proxied and not path:
        found = proxy_for(parts.hostname or "", parts.port or 0)
    if found is not None and found.fault:
        raise RunError(f"{found.fault}. Nothing was sent")
    transport = BoundedTransport(
        context=_context(verify) if parts.scheme == "https" else None,
        socket_path=path,
        proxy=found,
        deadline_s=FAR_DEADLINE_S if proxied else NEAR_DEADLINE_S,
    )
    return httpx.Client(
        transport=transport,
        timeout=timeout_s,
        follow_redirects=False,
        trust_env=False,
        headers={"accept-encoding": "identity"},
    )


def _context(verify: ssl.SSLContext | bool | str) -> ssl.SSLContext:
    if isinstance(verify, ssl.SSLContext):
        return verify
    context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
