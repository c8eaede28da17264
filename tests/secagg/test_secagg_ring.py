"""Sums on the ring: exact, cheaper, and closed to a server that lies about ring or survivors."""

import math

import numpy as np
import pytest

from fedethics.errors import CharterError, SecaggAbort, SecaggReject
from fedethics.secagg import framing, graph
from fedethics.secagg.framing import Kind
from fedethics.secagg.graph import graph_of
from tests.secagg.disturbances import signed
from tests.secagg.federation import Federation, random_vectors, run_round, spec_of
from tests.secagg.lying_server import LyingServer

SPEC = spec_of()


def ring_federation(folder, sites=16, **changes):
    terms = {"complete_up_to": 8, "ring_dropout_rate": 0.2, "colluders": 0} | changes
    return Federation(folder, sites, **terms)


def order_of(federation):
    with federation.stores["site-00"].transaction() as step:
        return step.epoch(federation.terms.charter_hash, "run/0").ring


def graph_here(federation):
    return graph_of(federation.names, ring=order_of(federation), terms=federation.terms)


@pytest.fixture
def federation(tmp_path):
    """Sixteen sites on a ring; three may drop out."""
    federation = ring_federation(tmp_path)
    federation.join()
    return federation


def apart(federation, count):
    """Some sites, evenly spaced on the ring."""
    order = order_of(federation)
    return [order[k * len(order) // count] for k in range(count)]


@pytest.mark.parametrize("suite", [1, 3])
@pytest.mark.parametrize("stage", ["none", "share", "masked", "confirm", "reveal"])
def test_the_sum_on_the_ring_is_exact_with_drops_at_any_stage(tmp_path, suite, stage):
    federation = ring_federation(tmp_path, suite=suite)
    federation.join()
    federation.sites = {name: federation.restarted(name) for name in federation.names}
    vectors = random_vectors(federation.names, SPEC)
    gone = apart(federation, 3)
    drops = {stage: gone}
    session = federation.open(SPEC)
    opened, results = run_round(federation, session, vectors, SPEC, drops=drops)
    in_sum = [n for n in federation.names if n not in gone or stage not in {"share", "masked"}]
    assert opened.survivors == tuple(in_sum)
    assert opened.total.tolist() == np.sum([vectors[n] for n in in_sum], axis=0).tolist()
    assert all(np.array_equal(result.total, opened.total) for result in results.values())
    assert opened.suspects == ()


def test_drops_at_every_stage_of_one_round_and_the_next_round_works(federation):
    first, second, third = apart(federation, 3)
    drops = {"share": [first], "masked": [second], "reveal": [third]}
    for round_number in range(2):
        vectors = random_vectors(federation.names, SPEC, seed=round_number)
        session = federation.open(SPEC, round_number)
        opened, _ = run_round(federation, session, vectors, SPEC, drops=drops)
        alive = [name for name in federation.names if name not in {first, second}]
        assert opened.total.tolist() == np.sum([vectors[n] for n in alive], axis=0).tolist()
        assert opened.dropped == {first: "share", second: "masked", third: "reveal"}


def test_a_share_is_as_large_as_the_neighbourhood_not_as_the_cohort(federation, tmp_path):
    everyone = Federation(tmp_path / "complete", 16, colluders=0)
    everyone.join()
    sizes = {}
    for kind, there in (("ring", federation), ("complete", everyone)):
        vector = random_vectors(there.names, SPEC)["site-00"]
        share = there.sites["site-00"].share(there.open(SPEC).open_message, vector, spec=SPEC)
        sizes[kind] = len(framing.decode(share, kind=Kind.SHARE, max_body_bytes=1 << 20).body)
    degree = len(graph_here(federation).peers("site-00"))
    assert (sizes["ring"] - 16) * 15 == (sizes["complete"] - 16) * degree
    assert degree < 15


def test_a_judge_of_the_whole_transcript_finds_the_sum_and_nothing_smaller(federation):
    server = LyingServer(federation)
    vectors = random_vectors(federation.names, SPEC)
    graph = graph_here(federation)
    dropped = order_of(federation)[5]
    session = federation.open(SPEC)
    server.told.append(session.open_message)
    forward = server.shared(session, SPEC, vectors)
    for name in federation.names:
        if name != dropped:
            session.add_masked(server.ask(name, "mask", forward[name]))
    alive = [name for name in federation.names if name != dropped]
    survivors = session.survivors()
    for name in alive:
        session.add_confirm(server.ask(name, "confirm", survivors[name]))
    assert server.knowledge(graph=graph).smallest_exposed_group() == 0
    proof = session.proof()
    for name in alive:
        session.add_reveal(server.ask(name, "reveal", proof[name]))
    knowledge = server.knowledge(graph=graph)
    assert knowledge.both_kinds_known() == set()
    rows = knowledge.computable()
    assert np.linalg.matrix_rank(rows) == 1
    assert np.all(np.abs(rows[0]) > 1e-9)  # every survivor's vector is in it
    assert rows.shape[1] == len(alive)


def test_survivors_that_cut_a_site_off_from_its_neighbours_are_a_lie(federation):
    server, graph = LyingServer(federation), graph_here(federation)
    vectors = random_vectors(federation.names, SPEC)
    survivors = server.masked(federation.open(SPEC), SPEC, vectors)["site-07"]
    cut = graph.peers("site-07")[: len(graph.peers("site-07")) - graph.threshold + 1]
    assert len(federation.names) - len(cut) >= federation.terms.smallest_sum(16)
    for name in cut:
        survivors = server.survivors_without(survivors, name)
    with pytest.raises(SecaggAbort, match="neighbours are left"):
        server.ask("site-07", "confirm", survivors)
    assert len(federation.stores["site-07"].proven_lies()) == 1


def test_the_coordinator_needs_a_signed_quorum_of_all_sites_not_of_neighbours(federation):
    server = LyingServer(federation)
    vectors = random_vectors(federation.names, SPEC)
    session = federation.open(SPEC)
    survivors = server.masked(session, SPEC, vectors)
    quorum = federation.terms.threshold(16)
    assert quorum > graph_here(federation).threshold
    for name in federation.names[: quorum - 1]:
        session.add_confirm(server.ask(name, "confirm", survivors[name]))
    with pytest.raises(SecaggAbort, match=f"{quorum} are needed"):
        session.proof()
    session.add_confirm(server.ask("site-15", "confirm", survivors["site-15"]))
    proof = session.proof()["site-15"]
    parts = framing.unpack(framing.decode(proof, kind=Kind.PROOF, max_body_bytes=1 << 20).body)
    fewer = server.forge(proof, kind=Kind.PROOF, body=framing.pack(parts[:-1]))
    with pytest.raises(SecaggAbort, match="no share was revealed"):
        server.ask("site-15", "reveal", fewer)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"graph": "complete"}, "graph 'complete' is not 'harary'"),
        ({"threshold": 2}, "threshold 2"),
        ({"cohort": [f"site-{k:02d}" for k in range(15)]}, "it is the whole epoch"),
    ],
)
def test_an_open_that_bends_the_ring_is_a_lie(federation, changes, reason):
    message = signed(federation, federation.open(SPEC).open_message, Kind.OPEN, **changes)
    with pytest.raises(SecaggAbort, match=reason):
        federation.sites["site-00"].check_open(message, specs={SPEC.name: SPEC})


def test_up_to_the_limit_the_graph_is_complete_even_if_the_roster_is_larger(tmp_path):
    federation = ring_federation(tmp_path, 10)
    there = federation.names[:8]
    federation.join(names=there)
    session = federation.open(SPEC, cohort=there)
    header = framing.decode(session.open_message, kind=Kind.OPEN, max_body_bytes=0).header
    assert header["graph"] == "complete"
    vectors = random_vectors(there, SPEC)
    opened, _ = run_round(federation, session, vectors, SPEC)
    assert opened.total.tolist() == sum(vectors.values()).tolist()


# The drawing of the order


def waiting(federation):
    """Everyone acknowledged; nobody has JOINED yet."""
    sites, coordinator = federation.sites, federation.coordinator
    for name in federation.names:
        coordinator.add_announcement(sites[name].announce(epoch="run/0"))
    roster = coordinator.roster_message()
    for name in federation.names:
        coordinator.add_acknowledgement(sites[name].join(roster))
    return coordinator.joined_messages()


def test_every_site_and_the_coordinator_see_one_order_of_all_sites(federation):
    orders = set()
    for name in federation.names:
        with federation.stores[name].transaction() as step:
            orders.add(step.epoch(federation.terms.charter_hash, "run/0").ring)
    (order,) = orders
    assert sorted(order) == federation.names
    assert order != tuple(federation.names)


def test_each_nonce_and_the_roster_move_the_order_and_positions_are_uniform():
    names = [f"site-{k:02d}" for k in range(20)]
    nonces = {name: name.encode().ljust(32) for name in names}
    base = graph.drawn_order(nonces, epoch_hash=bytes(32))
    assert base != graph.drawn_order(nonces, epoch_hash=b"\x01" + bytes(31))
    orders = []
    for number in range(2000):
        changed = nonces | {"site-13": number.to_bytes(32, "big")}
        orders.append(graph.drawn_order(changed, epoch_hash=bytes(32)))
    first = [order.index("site-00") for order in orders]
    observed = np.bincount(first, minlength=20)
    chi_square = float(np.sum((observed - 100) ** 2 / 100))
    assert chi_square < 50  # 19 degrees of freedom: exceeded with probability 1e-4
    next_to = sum(abs(o.index("site-00") - o.index("site-01")) in {1, 19} for o in orders)
    expected = 2000 * 2 / 19
    assert abs(next_to - expected) < 5 * math.sqrt(expected)


def test_a_nonce_swapped_by_the_server_burns_the_epoch(tmp_path):
    federation = ring_federation(tmp_path)
    joined = waiting(federation)["site-05"]
    body = bytearray(framing.decode(joined, kind=Kind.JOINED, max_body_bytes=1 << 20).body)
    body[32 * 3] ^= 1
    forged = signed(federation, joined, Kind.JOINED, body=bytes(body))
    with pytest.raises(SecaggAbort, match="nonce of site-03 is not what it committed to"):
        federation.sites["site-05"].complete(forged)
    assert len(federation.stores["site-05"].proven_lies()) == 1
    with pytest.raises(SecaggReject, match="was not joined"):
        federation.sites["site-05"].complete(joined)


def test_a_server_cannot_choose_whose_nonces_count(tmp_path):
    federation = ring_federation(tmp_path)
    joined = waiting(federation)["site-05"]
    body = bytes(framing.decode(joined, kind=Kind.JOINED, max_body_bytes=1 << 20).body)
    forged = signed(federation, joined, Kind.JOINED, body=body[32:], joined=federation.names[1:])
    with pytest.raises(SecaggAbort, match="leaves out sites"):
        federation.sites["site-05"].complete(forged)


def test_a_silent_site_means_a_new_attempt_without_it(tmp_path):
    federation = ring_federation(tmp_path)
    sites, coordinator = federation.sites, federation.coordinator
    for name in federation.names:
        coordinator.add_announcement(sites[name].announce(epoch="run/0"))
    for name in federation.names[:-1]:
        coordinator.add_acknowledgement(sites[name].join(coordinator.roster_message()))
    with pytest.raises(SecaggAbort, match="without site-15"):
        coordinator.joined_messages()
    federation.coordinator = federation.new_coordinator()
    federation.join("run/1", names=federation.names[:-1])
    vectors = random_vectors(federation.names[:-1], SPEC)
    session = federation.open(SPEC, cohort=federation.names[:-1])
    opened, _ = run_round(federation, session, vectors, SPEC)
    assert opened.total.tolist() == sum(vectors.values()).tolist()


def test_a_site_that_opens_another_nonce_than_it_committed_to_is_rejected(tmp_path):
    federation = ring_federation(tmp_path)
    sites, coordinator = federation.sites, federation.coordinator
    for name in federation.names:
        coordinator.add_announcement(sites[name].announce(epoch="run/0"))
    honest = sites["site-02"].join(coordinator.roster_message())
    lie = signed(
        federation,
        honest,
        Kind.EPOCH_ACK,
        identity=federation.identities["site-02"],
        ring_nonce="12" * 32,
    )
    with pytest.raises(SecaggReject, match="nonce is not what it committed to"):
        coordinator.add_acknowledgement(lie)
    assert coordinator.add_acknowledgement(honest) == "site-02"


def test_a_run_draws_at_most_256_orders(tmp_path):
    federation = ring_federation(tmp_path)
    assert federation.sites["site-00"].announce(epoch="run/255")
    with pytest.raises(SecaggReject, match="at most 256"):
        federation.sites["site-00"].announce(epoch="run/256")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mode": "fast"}, "survivor set must be signed"),
        ({"complete_up_to": 2}, "complete_up_to 2"),
        ({"ring_dropout_rate": 0.5}, "ring_dropout_rate 0.5"),
        ({"ring_dropout_rate": math.nan}, "ring_dropout_rate nan"),
    ],
)
def test_terms_that_no_ring_can_meet_are_no_charter(tmp_path, changes, reason):
    with pytest.raises(CharterError, match=reason):
        ring_federation(tmp_path, **changes)


@pytest.mark.parametrize("stage", ["none", "masked"])
def test_drawn_cohorts_and_whole_sums_take_turns_in_one_epoch_of_the_ring(tmp_path, stage):
    """Cohorts of a draw share masks with all of themselves; the whole epoch uses its ring."""
    federation = ring_federation(tmp_path, draws_cohorts=True)
    federation.join()
    first, second = federation.names[:8], federation.names[8:]
    for round_number, cohort in enumerate([first, second, federation.names, first]):
        vectors = random_vectors(cohort, SPEC, seed=round_number)
        session = federation.open(SPEC, round_number, cohort)
        header = framing.decode(session.open_message, kind=Kind.OPEN, max_body_bytes=0).header
        assert header["graph"] == ("harary" if len(cohort) == 16 else "complete")
        gone = [cohort[3]]
        opened, _ = run_round(federation, session, vectors, SPEC, drops={stage: gone})
        alive = [name for name in cohort if stage == "none" or name not in gone]
        assert opened.survivors == tuple(alive)
        assert opened.total.tolist() == np.sum([vectors[n] for n in alive], axis=0).tolist()


@pytest.mark.parametrize(("draws", "cohort"), [(False, 8), (True, 9), (True, 15)])
def test_a_cohort_that_no_draw_gives_stays_closed_on_a_ring(tmp_path, draws, cohort):
    federation = ring_federation(tmp_path, draws_cohorts=draws)
    federation.join()
    with pytest.raises(SecaggAbort, match="it is the whole epoch"):
        federation.open(SPEC, 0, federation.names[:cohort])
