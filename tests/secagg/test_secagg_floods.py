"""Floods of mutated messages at every door, of all sixteen kinds: no crash, and nothing changes."""

import copy
import json
import random
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from fedethics import canonical
from fedethics.errors import SecaggReject
from fedethics.secagg import (
    CheckedSum,
    SiteSecagg,
    framing,
    pack_missed,
    revocation_notice,
    unpack_missed,
)
from fedethics.secagg.framing import Kind
from tests.secagg.disturbances import mutations, signed
from tests.secagg.federation import MODEL, Federation, random_vectors, spec_of
from tests.secagg.stages import memory_of

SPEC = spec_of(length=300)
FIRST = "site-00"


def play(federation, flood):
    """A whole epoch and session, slices too; `flood(kind, message, door, state)` at each door."""
    sites, coordinator, names = federation.sites, federation.coordinator, federation.names
    site = sites[FIRST]

    def at_site():
        return memory_of(federation)

    def of(thing):
        return lambda: fingerprint(thing)

    for name in names:
        announced = sites[name].announce(epoch="run/0")
        flood(Kind.EPOCH, announced, coordinator.add_announcement, of(coordinator))
        coordinator.add_announcement(announced)
    roster = coordinator.roster_message()
    flood(Kind.ROSTER, roster, site.join, at_site)
    for name in names:
        acknowledged = sites[name].join(roster)
        flood(Kind.EPOCH_ACK, acknowledged, coordinator.add_acknowledgement, of(coordinator))
        coordinator.add_acknowledgement(acknowledged)
    joined = coordinator.joined_messages()
    flood(Kind.JOINED, joined[FIRST], site.complete, at_site)
    for name in names:
        sites[name].complete(joined[name])
    session = coordinator.open(
        spec=SPEC, round_number=0, model_hash=MODEL, cohort=names, keep=federation.folder / "kept"
    )
    vectors = random_vectors(names, SPEC)
    opened = session.open_message
    flood(Kind.OPEN, opened, lambda bad: site.share(bad, vectors[FIRST], spec=SPEC), at_site)
    told = dict.fromkeys(names, opened)
    actions = (
        (Kind.SHARE, None, session.add_share, session.forward, "share"),
        (Kind.MASKED, Kind.FORWARD, session.add_masked, session.survivors, "mask"),
        (Kind.CONFIRM, Kind.SURVIVORS, session.add_confirm, session.proof, "confirm"),
        (Kind.REVEAL, Kind.PROOF, session.add_reveal, session.result, "reveal"),
    )
    for kind, asked, add, relay, action in actions:
        for name in names:
            arguments = (vectors[name],) if action == "share" else ()
            keywords = {"spec": SPEC} if action == "share" else {}
            if asked is not None and name == FIRST:
                flood(asked, told[name], getattr(site, action), at_site)
            answer = getattr(sites[name], action)(told[name], *arguments, **keywords)
            flood(kind, answer, add, of(session))
            add(answer)
        told = relay()
    flood(Kind.RESULT, told.message, site.finish, at_site)
    assert np.array_equal(told.total, np.sum(list(vectors.values()), axis=0))
    for name in names:
        sites[name].finish(told.message)
    asked = site.slice_request(session._sid)
    flood(Kind.SLICE_REQUEST, asked, session.slice, of(session))
    answer = session.slice(asked)
    flood(Kind.SLICE, answer, site.verify_slice, at_site)
    assert site.verify_slice(answer) > 0
    vouch(federation, session, told, flood)


def vouch(federation, session, told, flood):
    """The members say CHECKED: to the coordinator, and through it to a site that was away."""
    names, sites, site = federation.names, federation.sites, federation.sites[FIRST]
    checked = [sites[name].checked(session.session_id) for name in names]
    for name, said in zip(names, checked, strict=True):
        flood(Kind.CHECKED, said, session.add_checked, lambda: fingerprint(session))
        assert session.add_checked(said) == name
    # Three of four members are needed: without the disturbed one there are two.
    bundle = Bundle(site, session.open_message, told.message, checked[2:])
    flood(Kind.CHECKED, checked[1], bundle.believed_with, lambda: memory_of(federation))
    _, believed = bundle.believed_with(checked[1])
    assert np.array_equal(believed.total, told.total)


@dataclass
class Bundle:
    """A sum on its way to a site that was away, short of one member's CHECKED."""

    site: SiteSecagg
    opened: bytes
    result: bytes
    others: list[bytes]

    def believed_with(self, statement):
        missed = CheckedSum(
            opened=self.opened, result=self.result, statements=(statement, *self.others)
        )
        (sent,) = unpack_missed(pack_missed([missed]))
        return self.site.believe(sent, spec=SPEC)


def fingerprint(thing):
    """The data that a coordinator's object holds, sums included."""
    data = (dict, set, list, tuple, str, bytes, int, np.ndarray)
    return {
        key: value.tobytes() if isinstance(value, np.ndarray) else copy.copy(value)
        for key, value in vars(thing).items()
        if isinstance(value, data)
    }


def structured(message, generator):
    """Mutations that keep the frame: other lengths, fields and bodies under the old signature."""
    start = framing._PREFIX.size
    size = int.from_bytes(message[start - 4 : start], "big")
    header, rest = json.loads(message[start : start + size]), message[start + size :]
    field = generator.choice(sorted(header))
    junk = [None, -1, 2**63, "", "x" * 65, [], ["b", "a"], {"a": [{}]}, "\ud7ff", True]
    changed = {**header, field: generator.choice(junk)}
    spelled = canonical.encode(changed)
    prefix = message[: start - 4]
    yield prefix + len(spelled).to_bytes(4, "big") + spelled + rest
    yield prefix + generator.randrange(2**32).to_bytes(4, "big") + message[start:]
    yield message[:5] + message[5:start] + message[start : start + size] + rest[::-1]
    cut = generator.randrange(len(rest) + 1)
    yield message[: start + size] + rest[cut:]
    yield message[:-64] + generator.randbytes(64)
    position = generator.randrange(len(message))
    yield message[:position] + generator.randbytes(4) + message[position + 4 :]


def flooder(per_door, counted):
    generator = random.Random(0)

    def flood(kind, message, door, state):
        before, sent = state(), 0
        while sent < per_door:
            for bad in (*mutations(message, generator), *structured(message, generator)):
                if bad == message:
                    continue
                sent += 1
                with pytest.raises(SecaggReject):
                    door(bad)
        assert state() == before
        counted[kind] += sent

    return flood


@pytest.mark.parametrize("tries", [40, pytest.param(3000, marks=pytest.mark.slow)])
def test_no_door_opens_to_a_flood_of_any_kind_of_message(tmp_path, tries):
    counted = Counter()
    play(Federation(tmp_path, 4, suite=3), flooder(tries, counted))
    assert set(counted) == set(Kind)


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)  # 40 s of CPU; a busy machine may take long
def test_a_million_mutated_messages_change_nothing_anywhere(tmp_path):
    counted = Counter()
    play(Federation(tmp_path, 4, suite=3), flooder(31_000, counted))  # 38 doors
    assert set(counted) == set(Kind)
    assert sum(counted.values()) > 1_000_000


@pytest.mark.parametrize(
    "tries",
    [
        60,
        pytest.param(500, marks=pytest.mark.slow),
        pytest.param(3000, marks=pytest.mark.exhaustive),
    ],
)
def test_nonsense_that_a_member_signed_is_refused_by_type_or_taken_whole(tmp_path, tries):
    """Behind the signature: decoders of bodies, and the checks of what fields mean."""
    federation, generator = Federation(tmp_path, 4, suite=3), random.Random(1)
    outcomes = Counter()

    def flood(kind, message, door, state):
        frame = framing.decode(message, kind=kind, max_body_bytes=1 << 30)
        sender = frame.header["sender"]
        if sender == "coordinator":
            return  # its lies have tests of their own
        owner = door.__self__
        for _ in range(tries):
            bad = signed(
                federation,
                message,
                kind,
                identity=federation.identities[sender],
                body=bent(bytes(frame.body), generator),
            )
            held = {key: copy.copy(value) for key, value in vars(owner).items()}
            before = state()
            try:
                door(bad)
            except SecaggReject:
                assert state() == before
                outcomes["refused"] += 1
            else:
                outcomes["taken"] += 1
            vars(owner).update(held)

    play(federation, flood)
    assert outcomes["refused"] > tries and outcomes["taken"] > tries


def bent(body, generator):
    """A few other bytes, and often another length."""
    changed = bytearray(body)
    for _ in range(generator.randrange(1, 4) if body else 0):
        changed[generator.randrange(len(changed))] = generator.randrange(256)
    kept = generator.choice([len(changed), generator.randrange(len(changed) + 1)])
    return bytes(changed[:kept]) + generator.randbytes(generator.choice([0, 0, 0, 1, 33]))


def test_a_flood_of_revocation_notices_revokes_nothing(tmp_path):
    federation, generator = Federation(tmp_path, 3), random.Random(2)
    key = federation.identities["site-01"].public_key
    notice = revocation_notice(federation.identities[FIRST], key=key, reason="lost")
    before = memory_of(federation)
    for _ in range(300):
        for bad in mutations(notice, generator):
            if bad == notice:
                continue
            with pytest.raises(SecaggReject):
                federation.sites[FIRST].revoke(bad)
    assert memory_of(federation) == before
