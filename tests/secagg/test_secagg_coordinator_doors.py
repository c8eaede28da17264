"""What the coordinator takes from sites, and what it refuses."""

import random

import pytest

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from tests.secagg.disturbances import mutations, signed
from tests.secagg.federation import Federation, random_vectors, run_round, spec_of
from tests.secagg.stages import SPEC


def test_the_coordinator_takes_repetitions_and_refuses_everything_else(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.join()
    vectors = random_vectors(federation.names, SPEC)
    session, other = federation.open(SPEC), federation.open(SPEC, 1)
    key = federation.identities["site-00"]
    share = federation.sites["site-00"].share(session.open_message, vectors["site-00"], spec=SPEC)
    generator = random.Random(1)
    for _ in range(50):
        for bad in mutations(share, generator):
            with pytest.raises(SecaggReject):
                session.add_share(bad)
    short = signed(federation, share, Kind.SHARE, body=b"short", identity=key)
    with pytest.raises(SecaggReject, match="not of this cohort"):
        session.add_share(short)
    with pytest.raises(SecaggReject, match="another session"):
        other.add_share(share)
    assert session.add_share(share) == session.add_share(share) == "site-00"
    different = signed(federation, share, Kind.SHARE, seed_commitment="00" * 32, identity=key)
    with pytest.raises(SecaggReject, match="two different SHARE"):
        session.add_share(different)


def test_answers_that_come_late_early_or_from_outside_are_rejected(tmp_path):
    federation = Federation(tmp_path, 7)
    federation.join()
    cohort = federation.names[:5]
    vectors = random_vectors(cohort, SPEC)
    session = federation.open(SPEC, 0, cohort)
    sites = federation.sites
    shares = {
        name: sites[name].share(session.open_message, vectors[name], spec=SPEC) for name in cohort
    }
    outsider = signed(
        federation,
        shares["site-00"],
        Kind.SHARE,
        sender="site-06",
        identity=federation.identities["site-06"],
    )
    with pytest.raises(SecaggReject, match="not part of this stage"):
        session.add_share(outsider)
    for name in cohort[:4]:
        session.add_share(shares[name])
    forward = session.forward()
    with pytest.raises(SecaggReject, match="came at stage"):
        session.add_share(shares["site-04"])
    assert session.add_share(shares["site-00"]) == "site-00"  # a repetition is still welcome
    masked = {name: sites[name].mask(forward[name]) for name in cohort[:4]}
    wrong = [
        ({"shared_hash": "00" * 32}, None, "other sharing sites"),
        ({}, b"\x00" * 16, "has 16 bytes"),
        ({"session": "77" * 32}, None, "another session"),
    ]
    for changes, body, reason in wrong:
        bad = signed(
            federation,
            masked["site-00"],
            Kind.MASKED,
            body=body,
            identity=federation.identities["site-00"],
            **changes,
        )
        with pytest.raises(SecaggReject, match=reason):
            session.add_masked(bad)
    for name in cohort[:4]:
        assert session.add_masked(masked[name]) == session.add_masked(masked[name]) == name
    survivors = session.survivors()
    confirms = {name: sites[name].confirm(survivors[name]) for name in cohort[:4]}
    other_view = signed(
        federation,
        confirms["site-00"],
        Kind.CONFIRM,
        view="00" * 32,
        identity=federation.identities["site-00"],
    )
    with pytest.raises(SecaggReject, match="another survivor set"):
        session.add_confirm(other_view)
    with pytest.raises(SecaggAbort, match="0 sites confirmed, 4 are needed"):
        session.proof()
    for name in cohort[:4]:
        session.add_confirm(confirms[name])
    proof = session.proof()
    reveal = sites["site-00"].reveal(proof["site-00"])
    not_shares = signed(
        federation,
        reveal,
        Kind.REVEAL,
        body=b"\xff" * 33 * 4,
        identity=federation.identities["site-00"],
    )
    with pytest.raises(SecaggReject, match="not a share"):
        session.add_reveal(not_shares)
    with pytest.raises(SecaggAbort, match="0 sites revealed shares, 4 are needed"):
        session.result()
    session.add_reveal(reveal)
    for name in cohort[1:4]:
        session.add_reveal(sites[name].reveal(proof[name]))
    assert session.result().total.tolist() == sum(vectors[n] for n in cohort[:4]).tolist()
    assert session.result() is session.result()


def test_a_site_that_reveals_false_shares_is_outvoted_and_named(tmp_path):
    federation = Federation(tmp_path, 7)
    federation.join()
    vectors = random_vectors(federation.names, SPEC)
    session = federation.open(SPEC)
    sites = federation.sites
    for name in federation.names:
        session.add_share(sites[name].share(session.open_message, vectors[name], spec=SPEC))
    forward = session.forward()
    for name in federation.names[:6]:
        session.add_masked(sites[name].mask(forward[name]))
    survivors = session.survivors()
    for name in federation.names[:6]:
        session.add_confirm(sites[name].confirm(survivors[name]))
    proof = session.proof()
    for name in federation.names[:6]:
        reveal = sites[name].reveal(proof[name])
        if name == "site-02":
            reveal = signed(
                federation,
                reveal,
                Kind.REVEAL,
                body=b"\x00" * 33 * 7,
                identity=federation.identities[name],
            )
        session.add_reveal(reveal)
    opened = session.result()
    assert opened.suspects == ("site-02",)
    assert opened.total.tolist() == sum(vectors[n] for n in federation.names[:6]).tolist()


def test_sites_that_commit_to_different_masks_are_named_before_anything_is_masked(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.join()
    vectors = random_vectors(federation.names, SPEC)
    session = federation.open(SPEC)
    for name in federation.names:
        share = federation.sites[name].share(session.open_message, vectors[name], spec=SPEC)
        if name == "site-02":
            body = bytearray(framing.decode(share, kind=Kind.SHARE, max_body_bytes=1 << 20).body)
            body[126 + 100] ^= 1  # its commitment to the mask with site-01
            share = signed(
                federation,
                share,
                Kind.SHARE,
                body=bytes(body),
                identity=federation.identities[name],
            )
        session.add_share(share)
    with pytest.raises(SecaggAbort, match="site-01 and site-02 committed to different masks"):
        session.forward()


def test_a_vector_out_of_range_from_a_cheating_site_is_not_a_sum(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.join()
    spec, loose = spec_of(bound=1000), spec_of(bound=10**6)
    vectors = random_vectors(federation.names, spec)
    session = federation.open(spec)
    cheat = federation.sites["site-01"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedethics.secagg.masking.to_words", lambda vector, _: vector.astype("<u4"))
        session.add_share(
            cheat.share(session.open_message, vectors["site-01"] + loose.bound, spec=spec)
        )
    with pytest.raises(SecaggAbort, match="a site sent a vector out of range"):
        run_round(federation, session, vectors, spec)


@pytest.mark.parametrize(
    ("name", "message", "reason"),
    [
        ("announced twice", "other", "two different bundles"),
        ("late", "late", "came after the roster"),
        ("another epoch", "epoch", "is for other/0"),
    ],
)
def test_the_coordinator_keeps_an_epoch_straight(tmp_path, name, message, reason):
    federation = Federation(tmp_path, 4)
    coordinator, sites = federation.coordinator, federation.sites
    for each in federation.names[:3]:
        coordinator.add_announcement(sites[each].announce(epoch="run/0"))
    if message == "other":
        with federation.stores["site-00"].transaction() as step:
            step.wipe_everything()
        late = sites["site-00"].announce(epoch="run/0")
    elif message == "late":
        coordinator.roster_message()
        late = sites["site-03"].announce(epoch="run/0")
    else:
        late = sites["site-03"].announce(epoch="other/0")
    with pytest.raises(SecaggReject, match=reason):
        coordinator.add_announcement(late)
    with pytest.raises(SecaggReject, match="not in this epoch"):
        federation.open(SPEC)
