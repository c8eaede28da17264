"""Sites check slices of the sum: a wrong coordinate is caught, and its author is on record."""

import numpy as np
import pytest

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from tests.secagg.disturbances import signed
from tests.secagg.federation import Federation, random_vectors, run_round, spec_of
from tests.secagg.summed import LEAF_WORDS, SPEC, Summed, bump


@pytest.mark.parametrize("count", range(1, 10))
def test_every_leaf_and_its_path_lead_to_the_tree_hash(count):
    body = np.arange((count - 1) * LEAF_WORDS + 5, dtype="<u4").tobytes()
    hashes = framing.leaf_hashes(body)
    assert framing.leaf_count(len(body)) == len(hashes) == count
    for index in range(count):
        leaf = body[index * framing.LEAF_BYTES : (index + 1) * framing.LEAF_BYTES]
        path = framing.inclusion_path(hashes, index)
        assert len(path) == framing.path_bytes(index, count)
        root = framing.root_above(leaf, path, index=index, count=count)
        assert root == framing.tree_hash(body)
        assert framing.root_above(leaf[:-1] + b"x", path, index=index, count=count) != root
        for other in range(count):
            if other != index and len(path) == framing.path_bytes(other, count):
                assert framing.root_above(leaf, path, index=other, count=count) != root


@pytest.mark.parametrize("mode", ["strict", "fast"])
def test_the_slices_of_all_survivors_prove_every_coordinate_of_an_honest_sum(tmp_path, mode):
    summed = Summed(tmp_path, mode=mode)
    proven = {leaf for name in summed.checkers for leaf in summed.leaves(name)}
    assert proven == {0, 1, 2}
    counts = [LEAF_WORDS, LEAF_WORDS, 100]
    for name in summed.checkers:
        assert summed.verify(name) == sum(counts[leaf] for leaf in summed.leaves(name))
        assert summed.federation.stores[name].proven_lies() == ()


@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize("length", [1, framing.LEAF_BYTES // 2 + 1])
def test_slices_of_any_word_size_and_length_verify(tmp_path, bits, length):
    summed = Summed(tmp_path, spec_of(length, bits=bits))
    assert all(summed.verify(name) for name in summed.checkers)


@pytest.mark.parametrize("suite", [1, 3])
def test_slices_verify_on_the_ring_with_a_dropped_site(tmp_path, suite):
    ring = {"complete_up_to": 5, "ring_dropout_rate": 0.17, "colluders": 0, "suite": suite}
    summed = Summed(tmp_path, spec_of(100), **ring)
    header = framing.decode(summed.session.open_message, kind=Kind.OPEN, max_body_bytes=0).header
    assert header["graph"] == "harary"
    assert all(summed.verify(name) == 100 for name in summed.checkers)


@pytest.mark.parametrize("coordinate", [0, LEAF_WORDS - 1, LEAF_WORDS, SPEC.length - 1])
def test_one_wrong_coordinate_is_caught_by_the_owners_of_its_slice(tmp_path, coordinate):
    summed = Summed(tmp_path, lie_at=coordinate)
    owners = [n for n in summed.checkers if coordinate // LEAF_WORDS in summed.leaves(n)]
    assert owners
    for name in summed.checkers:
        if name not in owners:
            assert summed.verify(name)
            continue
        with pytest.raises(SecaggAbort, match=rf"1 coordinates .*the first of them {coordinate},"):
            summed.verify(name)
        (evidence,) = summed.federation.stores[name].proven_lies()
        assert evidence.signer == "coordinator"


def test_the_evidence_of_a_wrong_coordinate_convinces_a_third_party(tmp_path):
    """It holds the coordinator's signature on the false sum and on the proof against it."""
    summed = Summed(tmp_path, lie_at=7)
    name = next(n for n in summed.checkers if 0 in summed.leaves(n))
    with pytest.raises(SecaggAbort):
        summed.verify(name)
    (evidence,) = summed.federation.stores[name].proven_lies()
    key = summed.federation.key.public_key
    frame = framing.decode(evidence.message, kind=Kind.SLICE, max_body_bytes=1 << 30)
    assert frame.is_signed_by(key)
    parts = framing.unpack(frame.body)
    result = framing.decode_detached(parts[0], kind=Kind.RESULT)
    assert result.is_signed_by(key)
    leaf = parts[6][-(framing.LEAF_BYTES + framing.path_bytes(0, 3)) :]
    data, path = leaf[: framing.LEAF_BYTES], leaf[framing.LEAF_BYTES :]
    assert framing.root_above(data, path, index=0, count=3) == result.root
    alive = [summed.vectors[site] for site in summed.checkers]
    assert np.frombuffer(data, "<i4")[7] == np.sum(alive, axis=0)[7] + 1


def test_a_site_asks_for_the_same_leaves_however_often_it_is_made_to_ask(tmp_path):
    summed = Summed(tmp_path)
    first = summed.request("site-00", random_leaves=2)
    assert summed.request("site-00", random_leaves=2) == first
    assert summed.request("site-00", random_leaves=0) == first


def test_random_leaves_reach_slices_that_others_own(tmp_path):
    summed = Summed(tmp_path, spec_of(8 * LEAF_WORDS))
    asked = framing.decode(
        summed.request("site-00", random_leaves=40), kind=Kind.SLICE_REQUEST, max_body_bytes=0
    ).header["leaves"]
    assert len(asked) > 2
    answer = summed.session.slice(summed.request("site-00"))
    assert summed.verify("site-00", answer) == len(asked) * LEAF_WORDS


def test_an_answer_out_of_place_is_rejected_without_a_trace(tmp_path):
    summed = Summed(tmp_path)
    answers = {name: summed.session.slice(summed.request(name)) for name in summed.checkers}
    with pytest.raises(SecaggReject, match="is for site-02"):
        summed.verify("site-00", answers["site-02"])
    leaves = [leaf for leaf in (0, 1, 2) if leaf not in summed.leaves("site-00")][:1]
    other = signed(summed.federation, answers["site-00"], Kind.SLICE, leaves=leaves)
    with pytest.raises(SecaggReject, match="asked for were"):
        summed.verify("site-00", other)
    with pytest.raises(SecaggReject, match="signature"):
        summed.verify("site-00", bump(answers["site-00"], len(answers["site-00"]) - 1))
    assert summed.federation.stores["site-00"].proven_lies() == ()
    assert summed.verify("site-00", answers["site-00"])


def test_a_site_outside_the_sum_asks_for_nothing_and_is_given_nothing(tmp_path):
    summed = Summed(tmp_path)
    with pytest.raises(SecaggReject, match="did not in this session"):
        summed.request("site-01")
    forged = signed(
        summed.federation,
        summed.request("site-00"),
        Kind.SLICE_REQUEST,
        identity=summed.federation.identities["site-01"],
        sender="site-01",
    )
    with pytest.raises(SecaggReject, match="no opened sum with it"):
        summed.session.slice(forged)


def test_the_coordinator_rejects_requests_that_it_cannot_meet(tmp_path):
    summed = Summed(tmp_path)
    identity = summed.federation.identities["site-00"]
    beyond = signed(
        summed.federation,
        summed.request("site-00"),
        Kind.SLICE_REQUEST,
        identity=identity,
        leaves=[0, 3],
    )
    with pytest.raises(SecaggReject, match="leaf 3 of 3"):
        summed.session.slice(beyond)
    for leaves in ([], [1, 0], [0, 0], [-1], ["0"]):
        message = signed(
            summed.federation, beyond, Kind.SLICE_REQUEST, identity=identity, leaves=leaves
        )
        with pytest.raises(SecaggReject, match="leaves is malformed"):
            summed.session.slice(message)


def test_without_a_folder_nothing_is_kept_and_nothing_is_answered(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.join()
    spec = spec_of(10)
    session = federation.open(spec)
    run_round(federation, session, random_vectors(federation.names, spec), spec)
    sid = framing.decode(session.result().message, kind=Kind.RESULT, max_body_bytes=100).header[
        "session"
    ]
    with pytest.raises(SecaggReject, match="was kept"):
        session.slice(federation.sites["site-00"].slice_request(sid))
