"""The judge of transcripts sees what there is to see, so its silence means something."""

import numpy as np

from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from tests.secagg.lie_checks import SPEC, assert_next_round_works


def test_the_judge_sees_exactly_the_sum_in_an_honest_round(server):
    assert_next_round_works(server)
    knowledge = server.knowledge()
    rows = knowledge.computable()
    assert np.linalg.matrix_rank(rows) == 1
    assert np.allclose(rows / rows[0, 0], 1.0)
    assert knowledge.smallest_exposed_group() == 7


def test_the_judge_sees_a_victim_whose_secrets_are_both_known(server, federation, vectors):
    session = federation.open(SPEC)
    survivors = server.masked(session, SPEC, vectors)
    sid = framing.decode(survivors["site-00"], kind=Kind.SURVIVORS, max_body_bytes=0).header
    knowledge = server.knowledge()
    for holder in federation.names:
        knowledge.give_share(sid["session"], "site-03", "seed", holder)
    assert knowledge.smallest_exposed_group() == 0
    for holder in federation.names[:5]:
        knowledge.give_share(sid["session"], "site-03", "key", holder)
    assert knowledge.both_kinds_known() == {(sid["session"], "site-03")}
    assert knowledge.smallest_exposed_group() == 1


def test_the_judge_sees_the_difference_of_two_sums_over_the_same_data(server, federation, vectors):
    # What the cohort rule forbids: played here with the rule's memory wiped.
    for round_number, cohort in enumerate([federation.names, federation.names[1:]]):
        session = federation.open(SPEC, round_number, cohort)
        present = {name: vectors[name] for name in cohort}
        proof = server.confirmed(session, SPEC, present)
        for name in cohort:
            session.add_reveal(server.ask(name, "reveal", proof[name]))
            with federation.stores[name].transaction() as step:
                step._connection.execute("DELETE FROM rounds")
    assert server.knowledge(static=True).smallest_exposed_group() == 1
    assert server.knowledge(static=False).smallest_exposed_group() == 6
