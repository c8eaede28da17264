"""A lying server between EPOCH_ACK and OPEN: the JOINED message of suite 3."""

import pytest

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from tests.secagg.disturbances import signed
from tests.secagg.federation import Federation, random_vectors, run_round, spec_of
from tests.secagg.stages import memory_of

SPEC = spec_of()
RECORD = 2 * (1088 + 32)


@pytest.fixture
def federation(tmp_path):
    """Five sites of suite 3 that acknowledged the roster and wait for JOINED."""
    federation = Federation(tmp_path, 5, minimum_cohort=4, colluders=1, suite=3)
    sites, coordinator = federation.sites, federation.coordinator
    for name in federation.names:
        coordinator.add_announcement(sites[name].announce(epoch="run/0"))
    for name in federation.names:
        coordinator.add_acknowledgement(sites[name].join(coordinator.roster_message()))
    return federation


def body_of(message):
    return bytes(framing.decode(message, kind=Kind.JOINED, max_body_bytes=1 << 20).body)


def flipped(federation, joined):
    body = bytearray(body_of(joined["site-03"]))
    body[RECORD + 5] ^= 1
    return {"body": bytes(body)}


def swapped_between_peers(federation, joined):
    body = body_of(joined["site-03"])
    return {"body": body[RECORD : 2 * RECORD] + body[:RECORD] + body[2 * RECORD :]}


def meant_for_another_site(federation, joined):
    body = body_of(joined["site-04"])
    return {"body": body[: 3 * RECORD]}


def without_me(federation, joined):
    kept = [name for name in federation.names if name != "site-03"]
    return {"joined": kept}


def with_a_stranger(federation, joined):
    return {"joined": [*federation.names, "site-99"]}


def too_few(federation, joined):
    return {"joined": federation.names[1:4], "body": body_of(joined["site-03"])[RECORD:]}


def of_another_roster(federation, joined):
    return {"epoch_hash": "12" * 32}


@pytest.mark.parametrize(
    "lie",
    [
        flipped,
        swapped_between_peers,
        meant_for_another_site,
        without_me,
        with_a_stranger,
        too_few,
        of_another_roster,
    ],
)
def test_a_lying_joined_burns_the_epoch_and_is_kept_as_evidence(federation, lie):
    joined = federation.coordinator.joined_messages()
    forged = signed(federation, joined["site-03"], Kind.JOINED, **lie(federation, joined))
    with pytest.raises(SecaggAbort):
        federation.sites["site-03"].complete(forged)
    (evidence,) = federation.stores["site-03"].proven_lies()
    assert (evidence.signer, evidence.message) == ("coordinator", forged)
    with pytest.raises(SecaggReject, match="was not joined"):
        federation.sites["site-03"].complete(joined["site-03"])
    with pytest.raises(SecaggReject, match="use 1"):
        federation.sites["site-03"].announce(epoch="run/0")


def test_a_second_different_joined_is_a_lie(federation):
    joined = federation.coordinator.joined_messages()
    federation.sites["site-03"].complete(joined["site-03"])
    federation.sites["site-03"].complete(joined["site-03"])  # a repetition is none
    fewer = signed(
        federation,
        joined["site-03"],
        Kind.JOINED,
        joined=federation.names[:4],
    )
    with pytest.raises(SecaggAbort, match="two different JOINED"):
        federation.sites["site-03"].complete(fewer)
    assert len(federation.stores["site-03"].proven_lies()) == 1


@pytest.mark.parametrize(
    "disturb",
    [
        lambda message: message[:-1] + bytes([message[-1] ^ 1]),
        lambda message: message[:200],
        lambda message: message + b"\x00",
    ],
)
def test_a_joined_that_anyone_may_have_written_changes_nothing(federation, disturb):
    message = federation.coordinator.joined_messages()["site-03"]
    before = memory_of(federation, "site-03")
    with pytest.raises(SecaggReject):
        federation.sites["site-03"].complete(disturb(message))
    assert memory_of(federation, "site-03") == before


@pytest.mark.parametrize(
    ("site", "changes", "reason"),
    [
        ("site-03", {"body": b""}, "0 bytes where 3 records"),
        ("site-02", {}, "JOINED is for site-03"),
        ("site-03", {"epoch": "run/7"}, "was not joined"),
        ("site-03", {"extra": 1}, "unknown or missing"),
        ("site-03", {"joined": []}, "joined is malformed"),
    ],
)
def test_a_joined_out_of_place_is_rejected_without_a_trace(federation, site, changes, reason):
    message = federation.coordinator.joined_messages()["site-03"]
    before = memory_of(federation, site)
    with pytest.raises(SecaggReject, match=reason):
        federation.sites[site].complete(signed(federation, message, Kind.JOINED, **changes))
    assert memory_of(federation, site) == before


def test_an_open_before_joined_is_rejected_and_works_afterwards(federation):
    joined = federation.coordinator.joined_messages()
    session = federation.open(SPEC)
    vectors = random_vectors(federation.names, SPEC)
    with pytest.raises(SecaggReject, match="has not come"):
        federation.sites["site-03"].check_open(session.open_message, specs={SPEC.name: SPEC})
    for name, message in joined.items():
        federation.restarted(name).complete(message)
    opened, _ = run_round(federation, session, vectors, SPEC)
    assert opened.total.tolist() == sum(vectors.values()).tolist()


def test_a_site_that_never_acknowledged_is_left_out_and_the_others_go_on(tmp_path):
    federation = Federation(tmp_path, 5, minimum_cohort=4, colluders=1, suite=3)
    sites, coordinator, there = federation.sites, federation.coordinator, federation.names[1:]
    for name in federation.names:
        coordinator.add_announcement(sites[name].announce(epoch="run/0"))
    roster = coordinator.roster_message()
    late = sites["site-00"].join(roster)
    for name in there:
        coordinator.add_acknowledgement(sites[name].join(roster))
    with pytest.raises(SecaggReject, match="JOINED was not relayed"):
        federation.open(SPEC, cohort=there)
    for name, message in coordinator.joined_messages().items():
        sites[name].complete(message)
    with pytest.raises(SecaggReject, match="came after JOINED"):
        coordinator.add_acknowledgement(late)
    vectors = random_vectors(there, SPEC)
    opened, _ = run_round(federation, federation.open(SPEC, cohort=there), vectors, SPEC)
    assert opened.total.tolist() == sum(vectors.values()).tolist()


def test_too_few_acknowledgements_are_no_epoch(tmp_path):
    federation = Federation(tmp_path, 5, minimum_cohort=4, colluders=1, suite=3)
    for name in federation.names:
        federation.coordinator.add_announcement(federation.sites[name].announce(epoch="run/0"))
    roster = federation.coordinator.roster_message()
    for name in federation.names[:3]:
        federation.coordinator.add_acknowledgement(federation.sites[name].join(roster))
    with pytest.raises(SecaggAbort, match="3 sites acknowledged"):
        federation.coordinator.joined_messages()


def test_suite_1_needs_no_joined_and_accepts_none(tmp_path):
    plain = Federation(tmp_path, 5, minimum_cohort=4, colluders=1)
    plain.join()
    assert plain.coordinator.joined_messages() == {}
    forged = framing.encode(
        Kind.JOINED,
        {
            "charter": plain.terms.charter_hash,
            "sender": "coordinator",
            "epoch": "run/0",
            "epoch_hash": "12" * 32,
            "recipient": "site-00",
            "joined": plain.names,
        },
        identity=plain.key,
    )
    with pytest.raises(SecaggReject, match="awaits none"):
        plain.sites["site-00"].complete(forged)
