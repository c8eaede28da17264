"""What every test of a lie asserts afterwards."""

from __future__ import annotations

import numpy as np

from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from tests.secagg.federation import random_vectors, spec_of

SPEC = spec_of()


def assert_caught(server, name, *, lies=1):
    """The site recorded the lie with a message that proves who signed it."""
    evidence = server.federation.stores[name].proven_lies()
    assert len(evidence) == lies
    assert evidence[-1].signer == "coordinator"
    kind = Kind(evidence[-1].message[4])
    frame = framing.decode(evidence[-1].message, kind=kind, max_body_bytes=1 << 30)
    assert frame.is_signed_by(server.federation.key.public_key)


def assert_learned_nothing(server, *, static=False):
    knowledge = server.knowledge(static=static)
    assert knowledge.both_kinds_known() == set()
    assert knowledge.smallest_exposed_group() == 0


def assert_next_round_works(server, *, round_number=1):
    federation = server.federation
    vectors = random_vectors(federation.names, SPEC, seed=round_number)
    session = federation.open(SPEC, round_number)
    proof = server.confirmed(session, SPEC, vectors)
    for name in federation.names:
        session.add_reveal(server.ask(name, "reveal", proof[name]))
    assert np.array_equal(session.result().total, np.sum(list(vectors.values()), axis=0))


def opened_round(server, vectors, round_number=0):
    session = server.federation.open(SPEC, round_number)
    proof = server.confirmed(session, SPEC, vectors)
    for name in server.federation.names:
        session.add_reveal(server.ask(name, "reveal", proof[name]))
    return session, proof
