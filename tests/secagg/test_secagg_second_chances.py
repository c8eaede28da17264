"""A lying server: replays, restarts, second reveals, and cohorts too near to each other."""

import numpy as np
import pytest

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from tests.secagg.federation import Federation, random_vectors
from tests.secagg.lie_checks import (
    SPEC,
    assert_caught,
    assert_learned_nothing,
    assert_next_round_works,
    opened_round,
)
from tests.secagg.lying_server import LyingServer


def test_a_second_reveal_is_refused_and_a_repeated_one_is_the_same_bytes(
    server, federation, vectors
):
    _, proof = opened_round(server, vectors)
    first = server.heard[-7]
    assert server.ask("site-00", "reveal", proof["site-00"]) == first
    body = framing.decode(proof["site-00"], kind=Kind.PROOF, max_body_bytes=1 << 20).body
    votes = framing.unpack(body)
    other = server.forge(proof["site-00"], kind=Kind.PROOF, body=framing.pack(votes[::-1]))
    with pytest.raises(SecaggAbort, match="two different PROOF"):
        server.ask("site-00", "reveal", other)
    assert_caught(server, "site-00")
    assert server.knowledge().smallest_exposed_group() == 7


def test_a_finished_session_cannot_be_replayed(server, federation, vectors):
    session, proof = opened_round(server, vectors)
    result = session.result().message
    for name in federation.names:
        server.ask(name, "finish", result)
    forward = session.forward()["site-00"]
    for action, message in (
        ("mask", forward),
        ("confirm", session.survivors()["site-00"]),
        ("reveal", proof["site-00"]),
    ):
        with pytest.raises(SecaggReject, match="finished"):
            server.ask("site-00", action, message)
    with pytest.raises(SecaggReject, match="replay"):
        server.ask("site-00", "share", session.open_message, vector=vectors["site-00"], spec=SPEC)
    # The result itself may be read again, by a caller that crashed before it applied it.
    assert np.array_equal(server.ask("site-00", "finish", result).total, session.result().total)
    assert server.knowledge().smallest_exposed_group() == 7


def test_an_opened_round_is_never_opened_again_under_another_session(server, federation, vectors):
    opened_round(server, vectors)
    again = federation.open(SPEC)
    for name in federation.names:
        with pytest.raises(SecaggAbort, match="already opened"):
            server.ask(name, "share", again.open_message, vector=vectors[name], spec=SPEC)
        assert_caught(server, name)
    assert server.knowledge().smallest_exposed_group() == 7


def test_an_opening_that_comes_after_its_round_was_opened_under_a_newer_one_is_nobodys_lie(
    server, federation, vectors
):
    late = federation.open(SPEC)  # given up before it reached the site
    opened_round(server, vectors)
    with pytest.raises(SecaggReject, match="counter 0"):
        server.ask("site-00", "share", late.open_message, vector=vectors["site-00"], spec=SPEC)
    assert federation.stores["site-00"].proven_lies() == ()


def test_a_restart_after_a_partial_reveal_finds_the_revealing_sites_closed(
    server, federation, vectors
):
    session = federation.open(SPEC)
    proof = server.confirmed(session, SPEC, vectors)
    for name in federation.names[:4]:
        server.ask(name, "reveal", proof[name])
    again = federation.open(SPEC)
    for name in federation.names[:4]:
        with pytest.raises(SecaggAbort, match="already opened"):
            server.ask(name, "share", again.open_message, vector=vectors[name], spec=SPEC)
    for name in federation.names[4:]:
        again.add_share(
            server.ask(name, "share", again.open_message, vector=vectors[name], spec=SPEC)
        )
    with pytest.raises(SecaggAbort, match="3 of 7"):
        again.forward()
    # The rest gave the first session up when they answered the second.
    for name in federation.names[4:]:
        with pytest.raises(SecaggReject, match="abandoned"):
            server.ask(name, "reveal", proof[name])
    assert_learned_nothing(server)


def test_a_restart_before_any_reveal_opens_once_and_only_the_sum(server, federation, vectors):
    first = federation.open(SPEC)
    server.confirmed(first, SPEC, vectors)
    second, _ = opened_round(server, vectors)
    assert np.array_equal(second.result().total, np.sum(list(vectors.values()), axis=0))
    knowledge = server.knowledge()
    assert knowledge.both_kinds_known() == set()
    assert knowledge.smallest_exposed_group() == 7


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_a_cohort_that_differs_by_few_sites_is_refused(server, federation, vectors, gone):
    opened_round(server, vectors)
    rest = federation.names[: 7 - gone]
    session = federation.open(SPEC, 1, rest)
    with pytest.raises(SecaggAbort, match=f"differs from one opened before by {gone} sites"):
        server.ask("site-00", "share", session.open_message, vector=vectors["site-00"], spec=SPEC)
    assert_caught(server, "site-00")
    assert server.knowledge(static=True).smallest_exposed_group() == 7
    assert_next_round_works(server, round_number=2)


def test_sums_over_near_cohorts_are_never_opened_behind_each_others_back(tmp_path):
    # Eight sites, two of which collude. The cohorts differ by site-00 and site-07 only, and t = 5
    # answers for each could come from three honest sites each, none of which opens both.
    federation = Federation(tmp_path, 8, minimum_cohort=4, colluders=2)
    federation.join()
    server = LyingServer(federation)
    names = federation.names
    vectors = random_vectors(names, SPEC)
    first, second = federation.open(SPEC, 0, names[:7]), federation.open(SPEC, 1, names[1:])
    first_proof = server.confirmed(first, SPEC, {name: vectors[name] for name in names[:7]})
    # Whoever answers the second session gives the first up, before either was opened ...
    second_proof = server.confirmed(second, SPEC, {name: vectors[name] for name in names[1:]})
    for name in names[1:7]:
        with pytest.raises(SecaggReject, match="abandoned"):
            server.ask(name, "reveal", first_proof[name])
    server.ask("site-00", "reveal", first_proof["site-00"])
    for name in names[1:]:
        server.ask(name, "reveal", second_proof[name])
    # ... and whoever opened the second takes no part in another one near it.
    third = federation.open(SPEC, 2, names[:7])
    with pytest.raises(SecaggAbort, match="differs from one opened before by 2 sites"):
        server.ask("site-01", "share", third.open_message, vector=vectors["site-01"], spec=SPEC)
    assert server.knowledge(static=True).smallest_exposed_group(colluders=names[5:7]) == 5


def test_a_near_cohort_is_refused_even_after_a_far_one_in_between(tmp_path):
    federation = Federation(tmp_path, 10, minimum_cohort=4, colluders=2)
    federation.join()
    server = LyingServer(federation)
    names = federation.names
    vectors = random_vectors(names, SPEC)
    for number, cohort in enumerate([names[:8], names[4:], names[:8]]):
        session = federation.open(SPEC, number, cohort)
        proof = server.confirmed(session, SPEC, {name: vectors[name] for name in cohort})
        for name in cohort:
            session.add_reveal(server.ask(name, "reveal", proof[name]))
    near = federation.open(SPEC, 3, names[:7])
    with pytest.raises(SecaggAbort, match=r"by 1 sites \(site-07\)"):
        server.ask("site-05", "share", near.open_message, vector=vectors["site-05"], spec=SPEC)


def test_rounds_and_epochs_do_not_go_back(server, federation, vectors):
    opened_round(server, vectors, round_number=3)
    session = federation.open(SPEC, 2)
    with pytest.raises(SecaggReject, match="never go back"):
        server.ask("site-00", "check_open", session.open_message, specs={SPEC.name: SPEC})
    with federation.stores["site-00"].transaction() as step:
        step.wipe_everything()
    with pytest.raises(SecaggReject, match="use 1"):
        federation.sites["site-00"].announce(epoch="run/0")
