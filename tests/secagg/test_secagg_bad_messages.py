"""Malformed, forged and misplaced messages: a typed refusal, and nothing has changed."""

import random
import shutil

import pytest

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.identity import Identity
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from tests.secagg.disturbances import mutations, signed
from tests.secagg.federation import Federation
from tests.secagg.stages import memory_of, moments

KINDS = [Kind.ROSTER, Kind.OPEN, Kind.FORWARD, Kind.SURVIVORS, Kind.PROOF, Kind.RESULT]
JUNK = [None, True, -1, 2**70, 1.5, "", "x", "\x00", [], ["b", "a"], ["a", "a"], [1], {}, {"a": 1}]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_disturbed_messages_are_rejected_and_change_nothing(tmp_path, kind):
    federation = Federation(tmp_path, 4)
    generator = random.Random(int(kind))
    for moment in moments(federation):
        if moment.kind is not kind:
            continue
        before = memory_of(federation)
        for _ in range(60):
            for bad in mutations(moment.message, generator):
                with pytest.raises(SecaggReject):
                    moment.take(bad)
        assert memory_of(federation) == before


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_unknown_missing_or_mistyped_fields_are_rejected_even_when_signed(tmp_path, kind):
    federation = Federation(tmp_path, 4)
    stranger = Identity.generate()
    for moment in moments(federation):
        if moment.kind is not kind:
            continue
        before = memory_of(federation)
        fields = framing.decode(moment.message, kind=kind, max_body_bytes=1 << 30).header
        bad = [signed(federation, moment.message, kind, extra=1)]
        bad += [signed(federation, moment.message, kind, **{field: "GONE"}) for field in fields]
        bad += [
            signed(federation, moment.message, kind, **{field: junk})
            for field in fields
            for junk in JUNK
            if not (field in {"task", "run", "mode", "graph", "recipient"} and junk == "x")
        ]
        bad.append(signed(federation, moment.message, kind, identity=stranger))
        bad.append(signed(federation, moment.message, kind, charter="ee" * 32))
        bad.append(signed(federation, moment.message, kind, sender="site-01"))
        bad.append(
            signed(
                federation,
                moment.message,
                kind,
                sender="site-01",
                identity=federation.identities["site-01"],
            )
        )
        for message in bad:
            with pytest.raises(SecaggReject):
                moment.take(message)
        assert memory_of(federation) == before


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_signed_nonsense_ends_in_a_typed_refusal_whatever_it_says(tmp_path, kind):
    federation = Federation(tmp_path, 4)
    generator = random.Random(int(kind))
    path = tmp_path / "site-00" / "secagg.sqlite"
    for moment in moments(federation):
        if moment.kind is not kind:
            continue
        shutil.copy2(path, tmp_path / "before.sqlite")
        fields = framing.decode(moment.message, kind=kind, max_body_bytes=1 << 30).header
        for _ in range(40):
            changes = {}
            for field in generator.sample(sorted(fields), k=generator.randrange(3)):
                if field not in {"charter", "sender"}:
                    changes[field] = nonsense(fields[field], generator)
            body = generator.randbytes(generator.randrange(300))
            if generator.random() < 0.5:
                body = next(mutations(bytes(moment.message), generator))[-200:]
            with pytest.raises((SecaggReject, SecaggAbort)):
                moment.take(signed(federation, moment.message, kind, body=body, **changes))
            shutil.copy2(tmp_path / "before.sqlite", path)


def nonsense(value, generator):
    if isinstance(value, list):
        return sorted(generator.sample([*value, "ff" * 32, "site-77"], k=max(1, len(value) - 1)))
    if isinstance(value, int):
        return generator.randrange(2**20)
    return generator.choice(["ab" * 32, "site-02", "run/7", "x"])


def test_deep_nesting_and_huge_numbers_in_a_header_are_rejected(tmp_path):
    federation = Federation(tmp_path, 3)
    for header in (b"[" * 100_000, b'{"a":' * 50_000, b"9" * 10_000, b'{"a":1,"a":1}', b"\xff"):
        prefix = b"FES" + bytes([1, int(Kind.OPEN)]) + len(header).to_bytes(4, "big")
        with pytest.raises(SecaggReject):
            federation.sites["site-00"].check_open(prefix + header + bytes(64), specs={})


def test_a_header_length_that_lies_is_rejected(tmp_path):
    federation = Federation(tmp_path, 3)
    for claimed in (0, 1, 150, 2**20 + 1, 2**32 - 1):
        prefix = b"FES" + bytes([1, int(Kind.OPEN)]) + claimed.to_bytes(4, "big")
        with pytest.raises(SecaggReject):
            federation.sites["site-00"].check_open(prefix + bytes(200), specs={})
