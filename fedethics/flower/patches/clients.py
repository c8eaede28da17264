"""Flower's HTTP clients, each over a bounded connection of ours (`fedethics.flower.transport`)."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from functools import partialmethod

from flwr.supercore import control, runtime
from flwr.supercore.protobuf.client import ProtobufClient, ProtobufClientInterceptor
from flwr.supercore.retry import RetryInvoker

from fedethics.flower.transport import SILENCE_S, UNIX, client


class _Bounded(ProtobufClient):
    """Stands before Flower's clients and gives them our connection in the place of theirs."""

    def __init__(
        self,
        base_url: str,
        *,
        interceptors: Sequence[ProtobufClientInterceptor] = (),
        verify: ssl.SSLContext | bool | str = True,
        timeout: float = SILENCE_S,
        retry_invoker: RetryInvoker | None = None,
        proxied: bool = False,
    ) -> None:
        self._client = client(base_url, verify=verify, proxied=proxied, timeout_s=timeout)
        # httpx wants a host; over a socket it is not looked up.
        scheme, _, path = base_url.partition(f"://{UNIX}")
        self._base_url = f"{scheme}://localhost" if path else base_url.rstrip("/")
        self._interceptors = tuple(interceptors)
        self._retry_invoker = retry_invoker


class RuntimeHttpClient(_Bounded, runtime.RuntimeHttpClient):
    """Flower's Runtime API over a bounded connection that takes no proxy."""


class ControlHttpClient(_Bounded, control.ControlHttpClient):
    """Flower's Control API over a bounded connection that takes no proxy."""


def install(*, proxied: bool) -> None:
    """Let every connection that Flower opens in this process be bounded.

    Args:
        proxied: take the proxy of the environment: for a SuperNode, which connects to its
            coordinator.
    """
    ProtobufClient.__init__ = partialmethod(  # type: ignore[assignment,method-assign]
        _Bounded.__init__, proxied=proxied
    )
