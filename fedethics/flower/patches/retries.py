"""What keeps a SuperNode going while its SuperLink cannot be reached.

By default, Flower's SuperNode gives up permanently on every error with "ssl" in its text, even a
handshake that timed out because the line was silent for 30 s. It also gives up on a status such as
500 of a SuperLink whose disk is full. Its loop then ends, but its process stays, without a
connection. Also, one bad status ends the thread that tells the SuperLink that the node is there.
Here only a refusal is final: a certificate that does not hold, or an answer that says no.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import httpx
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.retry.retry_invoker import RetryInvoker, exponential
from flwr.supernode import fleet_http_connection

LONGEST_PAUSE_S = 5
_SERVER_TROUBLE = 500


def install() -> None:
    """Let this process's connection to the SuperLink survive temporary errors."""
    fleet_http_connection.make_simple_http_retry_invoker = patient_retries  # type: ignore[attr-defined]
    fleet_http_connection.HeartbeatSender = PatientHeartbeat  # type: ignore[attr-defined]


def patient_retries() -> RetryInvoker:
    """Return Flower's retries, with trouble on the way or at the server never final."""
    retries = make_simple_http_retry_invoker()
    flowers = retries.should_giveup

    def final(error: Exception) -> bool:
        if _is_trouble(error):
            return False
        _tell(error)
        return flowers is None or flowers(error)

    retries.should_giveup = final
    retries.wait_gen_factory = lambda: exponential(max_delay=LONGEST_PAUSE_S)
    return retries


class PatientHeartbeat(HeartbeatSender):
    """Flower's heartbeat, which a server in trouble does not end; a refusal ends the process."""

    def __init__(self, heartbeat_fn: Callable[[], bool]) -> None:
        """Beat by `heartbeat_fn`."""

        def beat() -> bool:
            try:
                return heartbeat_fn()
            except (httpx.HTTPError, RuntimeError) as error:
                if not _is_trouble(error):
                    _tell(error)
                    os.kill(os.getpid(), signal.SIGINT)
                return False

        super().__init__(beat)


def _tell(error: Exception) -> None:
    """Write the status of a refusal: on 401, Flower's process ends without a word of why."""
    if isinstance(error, httpx.HTTPStatusError):
        sys.stderr.write(f"the SuperLink answered {error.response.status_code}\n")


def _is_trouble(error: Exception) -> bool:
    """Say whether `error` may be over in a moment: no word from the server, or that it failed."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= _SERVER_TROUBLE
    return isinstance(error, httpx.TransportError) and "certificate" not in str(error).lower()
