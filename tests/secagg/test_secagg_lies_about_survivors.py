"""A lying server: who survived, who agreed to it, and what was summed."""

import numpy as np
import pytest

from fedethics.errors import SecaggAbort
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from fedethics.secagg.honest_sites import fewest_honest_sites
from tests.secagg.federation import Federation, random_vectors
from tests.secagg.lie_checks import (
    SPEC,
    assert_caught,
    assert_learned_nothing,
    assert_next_round_works,
    opened_round,
)
from tests.secagg.lying_server import LyingServer


@pytest.mark.parametrize(
    ("survivors", "reason"),
    [
        ([f"site-0{k}" for k in range(4)], "4 of 7 sites are left"),
        (["site-00"], "1 of 7"),
        ([f"site-0{k}" for k in range(1, 7)], "does not list it"),
        ([f"site-0{k}" for k in range(6)] + ["site-99"], "were not there: site-99"),
    ],
)
def test_a_wrong_survivor_set_is_never_confirmed(server, federation, vectors, survivors, reason):
    session = federation.open(SPEC)
    honest = server.masked(session, SPEC, vectors)["site-00"]
    lie = server.forge(
        honest, kind=Kind.SURVIVORS, survivors=survivors, roots=["00" * 32] * len(survivors)
    )
    with pytest.raises(SecaggAbort, match=reason):
        server.ask("site-00", "confirm", lie)
    assert_caught(server, "site-00")
    assert_learned_nothing(server)
    # This round stays closed at the site, under any session; the next one works.
    again = federation.open(SPEC)
    with pytest.raises(SecaggAbort, match="already refused"):
        server.ask("site-00", "share", again.open_message, vector=vectors["site-00"], spec=SPEC)
    assert_next_round_works(server)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shared_hash": "00" * 32}, "other sharing sites"),
        ({"roots": ["00" * 32] * 7}, "another root"),
    ],
)
def test_survivors_that_contradict_what_the_site_saw_are_never_confirmed(
    server, federation, vectors, changes, reason
):
    session = federation.open(SPEC)
    honest = server.masked(session, SPEC, vectors)["site-00"]
    with pytest.raises(SecaggAbort, match=reason):
        server.ask("site-00", "confirm", server.forge(honest, kind=Kind.SURVIVORS, **changes))
    assert_caught(server, "site-00")
    assert_learned_nothing(server)


def test_a_server_that_lists_a_site_dead_and_alive_learns_nothing(server, federation, vectors):
    session = federation.open(SPEC)
    alive = server.masked(session, SPEC, vectors)["site-00"]
    dead = server.survivors_without(alive, "site-03")
    votes = {
        name: server.ask(name, "confirm", dead if name in federation.names[4:] else alive)
        for name in federation.names
    }
    # Four votes for "alive" (the victim's included), three for "dead": neither reaches five.
    header = framing.decode(votes["site-00"], kind=Kind.CONFIRM, max_body_bytes=0).header
    proof = framing.encode(
        Kind.PROOF,
        header | {"sender": "coordinator"},
        framing.pack(votes[name] for name in federation.names[:4]),
        identity=federation.key,
    )
    with pytest.raises(SecaggAbort, match="4 survivors confirmed, 5 are needed"):
        server.ask("site-00", "reveal", proof)
    mixed = server.forge(proof, kind=Kind.PROOF, body=framing.pack(votes.values()))
    with pytest.raises(SecaggAbort, match="was shown other survivors"):
        server.ask("site-01", "reveal", mixed)
    assert_caught(server, "site-00")
    assert_caught(server, "site-01")
    assert_learned_nothing(server)
    assert_next_round_works(server)


def test_votes_counted_twice_or_of_the_dead_do_not_make_a_proof(server, federation, vectors):
    session = federation.open(SPEC)
    alive = server.masked(session, SPEC, vectors)["site-00"]
    dead = server.survivors_without(server.survivors_without(alive, "site-05"), "site-06")
    votes = [server.ask(name, "confirm", dead) for name in federation.names[:4]]
    header = framing.decode(votes[0], kind=Kind.CONFIRM, max_body_bytes=0).header
    # A dead site signs as well: its vote is genuine, and does not count.
    ghost = framing.encode(
        Kind.CONFIRM, header | {"sender": "site-05"}, identity=federation.identities["site-05"]
    )
    for name, padded in (("site-00", [*votes, votes[0]]), ("site-01", [*votes, ghost])):
        proof = framing.encode(
            Kind.PROOF,
            header | {"sender": "coordinator"},
            framing.pack(padded),
            identity=federation.key,
        )
        with pytest.raises(SecaggAbort, match="4 survivors confirmed, 5 are needed"):
            server.ask(name, "reveal", proof)
    assert_learned_nothing(server)


def test_forged_and_foreign_votes_do_not_make_a_proof(server, federation, vectors):
    session = federation.open(SPEC)
    proof = server.confirmed(session, SPEC, vectors)["site-00"]
    votes = framing.unpack(framing.decode(proof, kind=Kind.PROOF, max_body_bytes=1 << 20).body)
    forged = votes[0][:-64] + bytes(64)
    header = framing.decode(votes[0], kind=Kind.CONFIRM, max_body_bytes=0).header
    foreign = framing.encode(
        Kind.CONFIRM,
        header | {"session": "77" * 32, "sender": "site-05"},
        identity=federation.identities["site-05"],
    )
    for name, bad in (("site-00", forged), ("site-01", foreign), ("site-02", b"junk")):
        lie = server.forge(proof, kind=Kind.PROOF, body=framing.pack([*votes[1:], bad]))
        with pytest.raises(SecaggAbort):
            server.ask(name, "reveal", lie)
        assert_caught(server, name)
    assert_learned_nothing(server)


def forward_of_some(server, forward, gone):
    """The same FORWARD without some of the sites that shared."""
    frame = framing.decode(forward, kind=Kind.FORWARD, max_body_bytes=1 << 20)
    peers = [name for name in frame.header["shared"] if name != frame.header["recipient"]]
    body, size = bytes(frame.body), len(frame.body) // len(peers)
    records = {name: body[k * size : (k + 1) * size] for k, name in enumerate(peers)}
    return server.forge(
        forward,
        kind=Kind.FORWARD,
        shared=[name for name in frame.header["shared"] if name not in gone],
        body=b"".join(records[name] for name in peers if name not in gone),
    )


def exposed_in_fast_mode(folder, dead_at, absent_at=None):
    """Tell each site its own story of who shared and who is dead; two colluders then tell all."""
    # The threshold of seven sites is five, with one colluder as with two.
    federation = Federation(folder, 7, minimum_cohort=4, colluders=1, mode="fast")
    federation.join()
    server = LyingServer(federation)
    session = federation.open(SPEC)
    forward = server.shared(session, SPEC, random_vectors(federation.names, SPEC))
    masked = {}
    for name in federation.names:
        message = forward[name]
        if absent_at and name in absent_at:
            message = forward_of_some(server, message, absent_at[name])
        masked[name] = server.ask(name, "mask", message)
    roots = {
        name: framing.decode(body, kind=Kind.MASKED, max_body_bytes=1 << 20).root.hex()
        for name, body in masked.items()
    }
    for name in federation.names[:5]:
        shown = framing.decode(masked[name], kind=Kind.MASKED, max_body_bytes=1 << 20).header
        absent = absent_at.get(name, []) if absent_at else []
        alive = [n for n in federation.names if n not in {*absent, *dead_at[name]}]
        story = framing.encode(
            Kind.SURVIVORS,
            {
                "charter": federation.terms.charter_hash,
                "sender": "coordinator",
                "session": shown["session"],
                "shared_hash": shown["shared_hash"],
                "survivors": alive,
                "roots": [roots[n] for n in alive],
            },
            identity=federation.key,
        )
        server.ask(name, "reveal", story)
    knowledge = server.knowledge()
    for colluder in federation.names[5:]:
        for owner in federation.names:
            for use in ("seed", "key"):
                knowledge.give_share(shown["session"], owner, use, colluder)
    assert knowledge.both_kinds_known() == set()
    for colluder in federation.names[5:]:
        for name in federation.names:  # a colluder's own masks
            knowledge.give_share(shown["session"], colluder, "key", name)
    return knowledge.smallest_exposed_group(colluders=federation.names[5:])


BOUND = fewest_honest_sites(7, colluders=2, threshold=5, minimum=4, mode="fast")


def test_in_fast_mode_a_lying_coordinator_with_two_of_seven_sites_opens_one_vector_alone(tmp_path):
    # site-00 hears that two never shared; the two that it shares masks with died, hear the others.
    dead_at = {
        "site-00": [],
        "site-01": ["site-03", "site-04"],
        "site-02": ["site-03", "site-04"],
        "site-03": ["site-04"],
        "site-04": ["site-03"],
    }
    absent_at = {"site-00": ["site-01", "site-02"]}
    alone = exposed_in_fast_mode(tmp_path, dead_at, absent_at)
    assert alone == BOUND == 1


def test_in_fast_mode_stories_about_the_dead_alone_reach_two(tmp_path):
    dead_at = {"00": (2, 3), "01": (2, 4), "02": (3, 4), "03": (2, 4), "04": (3,)}
    stories = {f"site-{k}": [f"site-0{d}" for d in dead] for k, dead in dead_at.items()}
    assert exposed_in_fast_mode(tmp_path, stories) == 2


@pytest.mark.parametrize("seed", range(8))
def test_in_fast_mode_no_mix_of_stories_exposes_fewer_than_the_bound(tmp_path, seed):
    generator = np.random.default_rng(seed)
    names = [f"site-0{k}" for k in range(5)]
    dead_at, absent_at = {}, {}
    for name in names:
        gone = generator.choice([n for n in names if n != name], 2, replace=False).tolist()
        cut = int(generator.integers(0, 3))
        absent_at[name], dead_at[name] = gone[:cut], gone[cut:]
    exposed = exposed_in_fast_mode(tmp_path, dead_at, absent_at)
    assert exposed == 0 or exposed >= BOUND


@pytest.mark.parametrize(
    ("body", "changes", "reason"),
    [
        (None, {"survivors": [f"site-0{k}" for k in range(6)]}, "other survivors"),
        (b"\xff\xff\xff\x7f" * 5, {}, "no sum of bounded vectors"),
    ],
)
def test_a_false_result_is_refused(server, federation, vectors, body, changes, reason):
    session, _ = opened_round(server, vectors)
    lie = server.forge(session.result().message, kind=Kind.RESULT, body=body, **changes)
    with pytest.raises(SecaggAbort, match=reason):
        server.ask("site-00", "finish", lie)
    assert_caught(server, "site-00")


def test_a_site_that_sent_no_masked_vector_takes_no_result_that_counts_it(
    server, federation, vectors
):
    session = federation.open(SPEC)
    forward, names = server.shared(session, SPEC, vectors), federation.names
    for name in names[1:]:
        session.add_masked(server.ask(name, "mask", forward[name]))
    survivors = session.survivors()
    for name in names[1:]:
        session.add_confirm(server.ask(name, "confirm", survivors[name]))
    proof = session.proof()
    for name in names[1:]:
        session.add_reveal(server.ask(name, "reveal", proof[name]))
    honest = session.result().message
    lie = server.forge(honest, kind=Kind.RESULT, survivors=list(names))
    with pytest.raises(SecaggAbort, match="it sent no masked vector"):
        server.ask(names[0], "finish", lie)
    assert_caught(server, names[0])


def test_two_different_results_are_a_contradiction(server, federation, vectors):
    session, _ = opened_round(server, vectors)
    honest = session.result().message
    server.ask("site-00", "finish", honest)
    lie = server.forge(honest, kind=Kind.RESULT, body=b"\x01\x00\x00\x00" * 5)
    with pytest.raises(SecaggAbort, match="two different RESULTs"):
        server.ask("site-00", "finish", lie)
    assert_caught(server, "site-00")
