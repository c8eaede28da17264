"""What ends a SuperNode's connection, and what must not; and what of flwr this rests on."""

from __future__ import annotations

import inspect
import os
import signal

import httpx
import pytest
from flwr.supernode import fleet_http_connection

from fedethics.flower.patches import retries

REQUEST = httpx.Request("POST", "https://127.0.0.1:9/v1/fleet/pull-messages")


def _status(code: int) -> httpx.HTTPStatusError:
    return httpx.HTTPStatusError("", request=REQUEST, response=httpx.Response(code, text="{}"))


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectTimeout("_ssl.c:989: The handshake operation timed out"),
        httpx.ConnectError("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred (_ssl.c:1006)"),
        httpx.ReadTimeout("The read operation timed out"),
        _status(500),
        _status(502),
    ],
)
def test_a_line_or_server_in_trouble_is_asked_again(error):
    assert not retries.patient_retries().should_giveup(error)


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: expired"),
        _status(412),
        _status(404),
    ],
)
def test_a_refusal_is_final(error):
    assert retries.patient_retries().should_giveup(error)


def test_flower_by_itself_gives_up_on_a_handshake_that_timed_out():
    # When this fails, Flower has mended it and `retries` has less to do.
    flowers = retries.make_simple_http_retry_invoker().should_giveup
    assert flowers(httpx.ConnectTimeout("_ssl.c:989: The handshake operation timed out"))
    assert flowers(_status(500))


def test_a_heartbeat_outlives_a_server_in_trouble_and_a_refusal_ends_the_process(monkeypatch):
    killed = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))

    def beat(error: Exception) -> bool:
        def fails() -> bool:
            raise error

        return retries.PatientHeartbeat(fails).heartbeat_fn()

    assert not beat(_status(500))
    assert not killed
    assert not beat(_status(403))
    assert not beat(RuntimeError("The SuperLink does not recognize this SuperNode."))
    assert killed == [(os.getpid(), signal.SIGINT)] * 2


def test_flowers_connection_takes_retries_and_heartbeat_from_the_names_that_we_replace():
    source = inspect.getsource(fleet_http_connection.http_request_response)
    assert "retry_invoker = make_simple_http_retry_invoker()" in source
    assert "heartbeat_sender = HeartbeatSender(send_node_heartbeat)" in source
    assert hasattr(fleet_http_connection, "make_simple_http_retry_invoker")
    assert hasattr(fleet_http_connection, "HeartbeatSender")


def test_a_refused_node_says_with_which_status_so_that_its_operator_learns_why(monkeypatch, capfd):
    from fedethics.deployment.site_node import Refused, why_it_ended

    monkeypatch.setattr(os, "kill", lambda *_: None)

    def refused() -> bool:
        raise _status(401)

    retries.PatientHeartbeat(refused).heartbeat_fn()
    ended = why_it_ended(capfd.readouterr().err)
    assert ended.kind is Refused.MAYBE
    assert "clocks are more than 5 minutes apart" in ended.sentence
