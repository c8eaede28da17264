"""A lying server: who shared, and what."""

import pytest

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from tests.secagg.lie_checks import (
    SPEC,
    assert_caught,
    assert_learned_nothing,
    assert_next_round_works,
)


@pytest.mark.parametrize(
    ("shared", "reason"),
    [
        ([f"site-0{k}" for k in range(4)], "4 of 7 sites are left"),
        ([f"site-0{k}" for k in range(1, 7)], "does not list it"),
        ([f"site-0{k}" for k in range(6)] + ["site-99"], "were not there: site-99"),
    ],
)
def test_a_forward_with_the_wrong_sites_ends_the_session(
    server, federation, vectors, shared, reason
):
    session = federation.open(SPEC)
    forward = server.shared(session, SPEC, vectors)["site-00"]
    with pytest.raises(SecaggAbort, match=reason):
        server.ask("site-00", "mask", server.forge(forward, kind=Kind.FORWARD, shared=shared))
    assert_caught(server, "site-00")
    with pytest.raises(SecaggReject, match="aborted"):
        server.ask("site-00", "mask", forward)
    assert_learned_nothing(server)
    assert_next_round_works(server)


@pytest.mark.parametrize("position", [0, 20, 93, 94, 125, 126 * 5])
def test_a_forward_with_one_changed_byte_ends_the_session(server, federation, vectors, position):
    session = federation.open(SPEC)
    forward = server.shared(session, SPEC, vectors)["site-00"]
    body = bytearray(framing.decode(forward, kind=Kind.FORWARD, max_body_bytes=1 << 20).body)
    body[position] ^= 1
    with pytest.raises(SecaggAbort, match=f"site-0{position // 126 + 1}"):
        server.ask("site-00", "mask", server.forge(forward, kind=Kind.FORWARD, body=bytes(body)))
    assert_caught(server, "site-00")
    assert_learned_nothing(server)


def test_shares_handed_to_the_wrong_site_do_not_open(server, federation, vectors):
    session = federation.open(SPEC)
    forward = server.shared(session, SPEC, vectors)
    body = framing.decode(forward["site-01"], kind=Kind.FORWARD, max_body_bytes=1 << 20).body
    with pytest.raises(SecaggAbort, match="are not"):
        server.ask(
            "site-00", "mask", server.forge(forward["site-00"], kind=Kind.FORWARD, body=bytes(body))
        )
    with pytest.raises(SecaggReject, match="is for site-01"):
        server.ask("site-02", "mask", forward["site-01"])
    assert_caught(server, "site-00")
    assert_learned_nothing(server)
    assert_next_round_works(server)


def test_a_second_and_different_forward_is_a_contradiction_kept_with_both_messages(
    server, federation, vectors
):
    session = federation.open(SPEC)
    forward = server.shared(session, SPEC, vectors)["site-00"]
    server.ask("site-00", "mask", forward)
    body = framing.decode(forward, kind=Kind.FORWARD, max_body_bytes=1 << 20).body
    other = server.forge(
        forward, kind=Kind.FORWARD, shared=federation.names[:6], body=bytes(body[:-126])
    )
    with pytest.raises(SecaggAbort, match="two different FORWARD"):
        server.ask("site-00", "mask", other)
    (evidence,) = federation.stores["site-00"].proven_lies()
    assert (evidence.earlier, evidence.message) == (forward, other)
    assert_learned_nothing(server)
