"""A federation halted before each site step, for tests that disturb one step at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from fedethics.secagg.framing import Kind
from tests.secagg.federation import Federation, random_vectors, spec_of

SPEC = spec_of()


@dataclass
class Moment:
    """The message that `site-00` is about to get, and how it takes it."""

    kind: Kind
    message: bytes
    take: Callable[[bytes], object]


def moments(federation: Federation) -> Iterator[Moment]:
    """Play a round in strict mode; halt before each message to site-00, which takes it then."""
    sites, first, rest = federation.sites, federation.names[0], federation.names[1:]

    def site():
        return sites[first]

    for name in federation.names:
        federation.coordinator.add_announcement(sites[name].announce(epoch="run/0"))
    roster = federation.coordinator.roster_message()
    yield Moment(Kind.ROSTER, roster, lambda message: site().join(message))
    for name in federation.names:
        federation.coordinator.add_acknowledgement(sites[name].join(roster))
    vectors = random_vectors(federation.names, SPEC)
    session = federation.open(SPEC)
    yield Moment(
        Kind.OPEN,
        session.open_message,
        lambda message: site().share(message, vectors[first], spec=SPEC),
    )
    for name in federation.names:
        session.add_share(sites[name].share(session.open_message, vectors[name], spec=SPEC))
    forward = session.forward()
    for name in rest:
        session.add_masked(sites[name].mask(forward[name]))
    yield Moment(Kind.FORWARD, forward[first], lambda message: site().mask(message))
    session.add_masked(site().mask(forward[first]))
    survivors = session.survivors()
    for name in rest:
        session.add_confirm(sites[name].confirm(survivors[name]))
    yield Moment(Kind.SURVIVORS, survivors[first], lambda message: site().confirm(message))
    session.add_confirm(site().confirm(survivors[first]))
    proof = session.proof()
    for name in rest:
        session.add_reveal(sites[name].reveal(proof[name]))
    yield Moment(Kind.PROOF, proof[first], lambda message: site().reveal(message))
    session.add_reveal(site().reveal(proof[first]))
    opened = session.result()
    assert opened.total.tolist() == sum(vectors.values()).tolist()
    yield Moment(Kind.RESULT, opened.message, lambda message: site().finish(message))
    assert site().finish(opened.message).total.tolist() == opened.total.tolist()


def memory_of(federation: Federation, name: str = "site-00") -> list[str]:
    """Everything that a site's store holds."""
    with closing(sqlite3.connect(federation.folder / name / "secagg.sqlite")) as connection:
        return list(connection.iterdump())
