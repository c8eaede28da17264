"""A lying server: keys, bundles and members."""

import pytest

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from tests.secagg.federation import fixed_identity
from tests.secagg.lie_checks import (
    SPEC,
    assert_caught,
    assert_learned_nothing,
    assert_next_round_works,
)


def bundles_of(federation, epoch="evil/0"):
    return {name: site.announce(epoch=epoch) for name, site in federation.sites.items()}


def roster_of(federation, bundles, epoch="evil/0"):
    header = {"charter": federation.terms.charter_hash, "sender": "coordinator", "epoch": epoch}
    body = framing.pack(bundles[name] for name in sorted(bundles))
    return framing.encode(Kind.ROSTER, header, body, identity=federation.key)


def bundle_by(identity, federation, name, *, mask_key, channel_key, epoch="evil/0"):
    header = {
        "charter": federation.terms.charter_hash,
        "sender": name,
        "epoch": epoch,
        "suite": 1,
        "mask_key": mask_key,
        "channel_key": channel_key,
        "expires_s": 4_000_000_000,
    }
    return framing.encode(Kind.EPOCH, header, identity=identity)


def swapped(federation, bundles):
    evil = fixed_identity("evil")
    forged = bundle_by(evil, federation, "site-01", mask_key="11" * 32, channel_key="12" * 32)
    return {**bundles, "site-01": forged}


def unsigned(federation, bundles):
    return {**bundles, "site-01": bundles["site-01"][:-64] + bytes(64)}


def invented(federation, bundles):
    evil = fixed_identity("evil")
    forged = bundle_by(evil, federation, "site-99", mask_key="11" * 32, channel_key="12" * 32)
    return {**bundles, "site-99": forged}


def repeated_key(federation, bundles):
    bundle = framing.decode(bundles["site-02"], kind=Kind.EPOCH, max_body_bytes=0).header
    copied = bundle_by(
        federation.identities["site-01"],
        federation,
        "site-01",
        mask_key=bundle["mask_key"],
        channel_key="12" * 32,
    )
    return {**bundles, "site-01": copied}


def low_order_key(federation, bundles):
    weak = bundle_by(
        federation.identities["site-01"],
        federation,
        "site-01",
        mask_key="00" * 32,
        channel_key="12" * 32,
    )
    return {**bundles, "site-01": weak}


def another_epoch(federation, bundles):
    return {**bundles, "site-01": federation.sites["site-01"].announce(epoch="other/0")}


def own_key_replaced(federation, bundles):
    replaced = bundle_by(
        federation.identities["site-00"],
        federation,
        "site-00",
        mask_key="11" * 32,
        channel_key="12" * 32,
    )
    return {**bundles, "site-00": replaced}


def without_me(federation, bundles):
    return {name: bundle for name, bundle in bundles.items() if name != "site-00"}


def too_few(federation, bundles):
    return {name: bundles[name] for name in federation.names[:3]}


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (swapped, "the signature is not that of site-01"),
        (unsigned, "the signature is not that of site-01"),
        (invented, "'site-99' is not in the roster"),
        (repeated_key, "a key occurs twice"),
        (low_order_key, "site-01 announced a key that is malformed or of low order"),
        (another_epoch, "site-01 is for another epoch"),
        (own_key_replaced, "does not hold the bundle that site-00 announced"),
        (without_me, "does not hold the bundle that site-00 announced"),
        (too_few, "has 3 sites, minimum 4"),
    ],
)
def test_a_roster_with_a_lie_in_it_is_never_joined(server, federation, lie, reason):
    bundles = lie(federation, bundles_of(federation))
    with pytest.raises(SecaggAbort, match=reason):
        server.ask("site-00", "join", roster_of(federation, bundles))
    assert_learned_nothing(server)
    assert_caught(server, "site-00")
    # The epoch is burnt: even the true roster comes too late, and so does its attempt.
    with pytest.raises(SecaggReject):
        server.ask("site-00", "join", roster_of(federation, bundles_of_others(federation)))
    with pytest.raises(SecaggReject, match="use 1"):
        federation.sites["site-00"].announce(epoch="evil/0")
    assert_next_round_works(server)  # the epoch that was joined before is untouched


def bundles_of_others(federation):
    return {name: federation.sites[name].announce(epoch="evil/0") for name in federation.names[1:]}


def test_a_roster_that_lists_a_site_twice_is_never_joined(server, federation):
    bundles = bundles_of(federation)
    body = framing.pack([*sorted(bundles.values()), bundles["site-01"]])
    honest = roster_of(federation, bundles)
    with pytest.raises(SecaggAbort, match="twice"):
        server.ask("site-00", "join", server.forge(honest, kind=Kind.ROSTER, body=body))
    assert_caught(server, "site-00")
    assert_learned_nothing(server)


def test_a_second_roster_for_one_epoch_is_a_lie(server, federation):
    bundles = bundles_of(federation)
    server.ask("site-00", "join", roster_of(federation, bundles))
    fewer = {name: bundles[name] for name in federation.names[:6]}
    with pytest.raises(SecaggAbort, match="two different ROSTERs"):
        server.ask("site-00", "join", roster_of(federation, fewer))
    assert_caught(server, "site-00")
    assert_learned_nothing(server)


def test_sites_shown_different_rosters_never_answer_the_same_open(server, federation):
    bundles = bundles_of(federation)
    fewer = {name: bundles[name] for name in federation.names[:6]}
    acknowledged = {}
    for name in federation.names[:6]:
        shown = fewer if name == "site-00" else bundles
        acknowledged[name] = server.ask(name, "join", roster_of(federation, shown))
    roots = {
        framing.decode(ack, kind=Kind.EPOCH_ACK, max_body_bytes=0).header["epoch_hash"]
        for ack in acknowledged.values()
    }
    assert len(roots) == 2
    session = federation.open(SPEC)
    lie = server.forge(
        session.open_message,
        kind=Kind.OPEN,
        epoch="evil/0",
        run="evil",
        cohort=federation.names[:6],
        threshold=federation.terms.threshold(6),
        epoch_hash=framing.decode(
            acknowledged["site-01"], kind=Kind.EPOCH_ACK, max_body_bytes=0
        ).header["epoch_hash"],
    )
    with pytest.raises(SecaggAbort, match="another ROSTER"):
        server.ask("site-00", "check_open", lie, specs={SPEC.name: SPEC})
    assert_caught(server, "site-00")
    assert_learned_nothing(server)
    assert_next_round_works(server)
