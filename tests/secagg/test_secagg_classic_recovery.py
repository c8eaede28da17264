"""The classic variant: masks of a dropped site from a shared key of the session."""

import numpy as np
import pytest

from fedethics.errors import CharterError, SecaggAbort, SecaggReject
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from fedethics.secagg.recovery import RECOVERIES, public_key
from tests.secagg.disturbances import signed
from tests.secagg.federation import Federation, random_vectors, run_round, spec_of
from tests.secagg.lie_checks import assert_caught, assert_learned_nothing
from tests.secagg.lying_server import LyingServer

SPEC = spec_of()


@pytest.fixture
def federation(tmp_path):
    federation = Federation(tmp_path, 7, minimum_cohort=4, colluders=2, recovery="classic")
    federation.join()
    return federation


@pytest.mark.parametrize("recovery", sorted(RECOVERIES))
@pytest.mark.parametrize("mode", ["strict", "fast"])
@pytest.mark.parametrize("stage", ["none", "share", "masked", "confirm", "reveal"])
def test_the_sum_is_exact_with_drops_at_any_stage(tmp_path, stage, mode, recovery):
    # Of 7 sites with 2 colluders, mode "fast" could open one honest vector alone: refused there.
    sites, minimum = {"strict": (7, 4), "fast": (8, 6)}[mode]
    federation = Federation(
        tmp_path, sites, minimum_cohort=minimum, colluders=2, mode=mode, recovery=recovery
    )
    federation.join()
    federation.sites = {name: federation.restarted(name) for name in federation.names}
    vectors = random_vectors(federation.names, SPEC)
    gone = ["site-00", "site-04"]
    opened, _ = run_round(federation, federation.open(SPEC), vectors, SPEC, drops={stage: gone})
    outside = gone if stage in {"share", "masked"} else []
    alive = [name for name in federation.names if name not in outside]
    assert opened.survivors == tuple(alive)
    assert opened.total.tolist() == np.sum([vectors[n] for n in alive], axis=0).tolist()
    assert opened.suspects == ()


def test_the_sum_is_exact_on_the_ring(tmp_path):
    federation = Federation(
        tmp_path, 16, colluders=0, complete_up_to=8, ring_dropout_rate=0.2, recovery="classic"
    )
    federation.join()
    vectors = random_vectors(federation.names, SPEC)
    drops = {"masked": ["site-03"], "reveal": ["site-11"]}
    opened, _ = run_round(federation, federation.open(SPEC), vectors, SPEC, drops=drops)
    alive = [name for name in federation.names if name != "site-03"]
    assert opened.total.tolist() == np.sum([vectors[n] for n in alive], axis=0).tolist()


def test_every_session_has_a_key_of_its_own(federation):
    """So a key revealed for one session opens no other, unlike a key of the epoch."""
    keys = set()
    for round_number in range(3):
        session = federation.open(SPEC, round_number)
        vectors = random_vectors(federation.names, SPEC)
        for name in federation.names:
            message = federation.sites[name].share(session.open_message, vectors[name], spec=SPEC)
            frame = framing.decode(message, kind=Kind.SHARE, max_body_bytes=1 << 16)
            keys.add(frame.header["mask_key"])
    assert len(keys) == 3 * 7


def test_a_server_that_swaps_a_key_in_forward_is_caught(federation):
    server = LyingServer(federation)
    session = federation.open(SPEC)
    forward = server.shared(session, SPEC, random_vectors(federation.names, SPEC))["site-00"]
    frame = framing.decode(forward, kind=Kind.FORWARD, max_body_bytes=1 << 16)
    body = bytearray(frame.body)
    body[94:126] = public_key(b"\x07" * 32)  # the slot of site-01
    lie = server.forge(forward, kind=Kind.FORWARD, body=bytes(body))
    with pytest.raises(SecaggAbort, match="are not site-01's own"):
        server.ask("site-00", "mask", lie)
    assert_caught(server, "site-00")
    assert_learned_nothing(server)


def test_a_judge_finds_nothing_before_reveal_and_only_the_sum_after(federation):
    server = LyingServer(federation)
    session = federation.open(SPEC)
    vectors = random_vectors(federation.names, SPEC)
    forward = server.shared(session, SPEC, vectors)
    alive = [name for name in federation.names if name != "site-05"]
    for name in alive:
        session.add_masked(server.ask(name, "mask", forward[name]))
    survivors = session.survivors()
    for name in alive:
        session.add_confirm(server.ask(name, "confirm", survivors[name]))
    assert_learned_nothing(server)
    proof = session.proof()
    for name in alive:
        session.add_reveal(server.ask(name, "reveal", proof[name]))
    knowledge = server.knowledge()
    assert knowledge.both_kinds_known() == set()
    assert knowledge.smallest_exposed_group() == len(alive)


def test_a_site_that_gives_its_peers_different_keys_is_rejected(federation):
    session = federation.open(SPEC)
    vector = random_vectors(federation.names, SPEC)["site-02"]
    share = federation.sites["site-02"].share(session.open_message, vector, spec=SPEC)
    body = bytearray(framing.decode(share, kind=Kind.SHARE, max_body_bytes=1 << 16).body)
    body[94:126] = public_key(b"\x07" * 32)
    lie = signed(
        federation,
        share,
        Kind.SHARE,
        identity=federation.identities["site-02"],
        body=bytes(body),
    )
    with pytest.raises(SecaggReject, match="different keys"):
        session.add_share(lie)
    assert session.add_share(share) == "site-02"


def test_a_peers_key_of_low_order_is_refused_and_named():
    classic = RECOVERIES["classic"]
    with pytest.raises(SecaggAbort, match="ben dealt ann a key of low order"):
        classic.pair_seed(b"\x01" * 32, bytes(32), pair=("ann", "ben"), session=b"s" * 32)


def test_both_ends_and_the_coordinator_derive_one_mask():
    classic, session = RECOVERIES["classic"], b"s" * 32
    ann, ben = b"\x01" * 32, b"\x02" * 32
    ours = classic.pair_seed(ann, public_key(ben), pair=("ann", "ben"), session=session)
    theirs = classic.pair_seed(ben, public_key(ann), pair=("ben", "ann"), session=session)
    found = classic.recovered(
        ann,
        b"",
        site="ann",
        slots={"ben": public_key(ann), "cid": public_key(ann)},
        survivors={"ben": public_key(ben).hex()},
        session=session,
    )
    assert found == {"ben": ours} == {"ben": theirs}
    other = classic.recovered(
        ben,
        b"",
        site="ann",
        slots={"ben": public_key(ann)},
        survivors={"ben": public_key(ben).hex()},
        session=session,
    )
    assert other is None


@pytest.mark.parametrize("terms", [{"suite": 2}, {"suite": 3}])
def test_classic_recovery_is_for_suite_1(tmp_path, terms):
    with pytest.raises(CharterError, match="classic: suite 1 only"):
        Federation(tmp_path, 4, recovery="classic", **terms)


def test_an_unknown_recovery_is_no_charter(tmp_path):
    with pytest.raises(CharterError, match="neither 'blob' nor 'classic'"):
        Federation(tmp_path, 4, recovery="none")
