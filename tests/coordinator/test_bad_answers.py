"""What one site answers, however wrong, costs that site its part and the job nothing."""

from __future__ import annotations

import itertools
import json

import pytest

from fedethics import canonical, charter_sums
from fedethics.coordinator.enrolment import Enrolment
from fedethics.errors import RunError, SecaggAbort
from fedethics.flower.wire import parse_reply, reply_message
from fedethics.identity import Identity
from fedethics.privacy.ledger.entries import RECEIPT_PURPOSE
from fedethics.protocol import Reply
from fedethics.release import evidence
from fedethics.release.run_log import read_events
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from tests.coordinator.conftest import SITES, charged, opened
from tests.inprocess import wire_copy
from tests.loopback import LoopbackGrid

CHEAT = "hungary"
OTHERS = set(SITES) - {CHEAT}
DEEP = b'{"a":' * 60_000 + b"0" + b"}" * 60_000


class Spoilt(LoopbackGrid):
    """Puts `spoil(payloads)` in the place of what one site answers to one kind of message."""

    kind = ""
    times = 10**9

    def __post_init__(self) -> None:
        super().__post_init__()
        self.spoilt = itertools.count()

    def spoil(self, payloads: dict[str, bytes]) -> dict[str, bytes]:
        raise NotImplementedError

    def _deliver(self, message):
        message_id = super()._deliver(message)
        mine = self._site_of[message.metadata.dst_node_id] == CHEAT
        if mine and message.metadata.message_type == self.kind and next(self.spoilt) < self.times:
            said = dict(parse_reply(self._replies[message_id]).payloads)
            arrived = wire_copy(message, message_id=message_id)
            reply = reply_message(Reply(payloads=self.spoil(said)), to=arrived)
            self._replies[message_id] = wire_copy(reply, message_id=f"spoilt-{message_id}")
        return message_id


def _rejected(stage) -> list[dict[str, object]]:
    return [entry for entry in read_events(stage.run_dir) if entry["event"] == "rejected"]


@pytest.fixture
def ending(quick):
    """A job whose sums are all committed: what is left are receipts and countersignatures."""
    return quick.before("query.receipt")


@pytest.mark.parametrize(
    ("kind", "name"), [("query.receipt", "receipt"), ("query.witness", "countersignature")]
)
@pytest.mark.parametrize(
    "bytes_said",
    [b"", b"x", b"\xff\xfe", b"[]", b'{"site":7}', DEEP, b'{"\\u001b[2Jgo":1}'],
    ids=["nothing", "no-json", "no-text", "list", "wrong", "deep", "escapes"],
)
def test_a_job_is_closed_whatever_one_site_says_at_its_end(quick, ending, kind, name, bytes_said):
    class Grid(Spoilt):
        def spoil(self, _payloads):
            return {name: bytes_said}

    Grid.kind = kind
    stage = ending
    quick.run(stage, resume=True, grid=Grid)
    found = evidence.load(stage.run_dir / "evidence.json")
    given = {one.site for one in found.countersignatures}
    if kind == "query.witness":
        assert given == OTHERS
        assert len(found.receipts) == len(SITES)
    else:
        assert len(found.receipts) == len(OTHERS)
    (entry,) = _rejected(stage)
    assert entry["site"] == CHEAT
    assert str(entry["sentence"]).isprintable()


def _resigned(stage, **changes):
    """Receipts that the cheat's own key signs, with other values in them."""
    identity = Identity.load(stage.homes[CHEAT] / "identity.key")

    def spoil(_self, payloads):
        envelope = json.loads(payloads["receipt"])
        body = {**json.loads(envelope["body"]), **changes}
        spelled = canonical.encode(body)
        envelope["body"] = spelled.decode("utf-8")
        envelope["signature"] = identity.sign(spelled, purpose=RECEIPT_PURPOSE).hex()
        return {"receipt": canonical.encode(envelope)}

    return spoil


@pytest.mark.parametrize(
    "changes",
    [
        {"delta": 10**400},
        {"training-rounds": [-(10**400)]},
        {"run-id": "another"},
        {"site": "cleveland"},
        {"charter-hash": "0" * 64},
    ],
    ids=["huge", "huge-and-negative", "another-run", "another-site", "another-charter"],
)
def test_a_receipt_that_is_signed_and_false_is_its_sites_loss(quick, ending, changes):
    stage = ending
    fields = {"kind": "query.receipt", "spoil": _resigned(stage, **changes)}
    quick.run(stage, resume=True, grid=type("Grid", (Spoilt,), fields))
    found = evidence.load(stage.run_dir / "evidence.json")
    assert len(found.receipts) == len(OTHERS)
    assert {one.site for one in found.countersignatures} == set(SITES)
    (entry,) = _rejected(stage)
    assert entry["site"] == CHEAT


def test_signing_it_again_unchanged_makes_a_receipt_that_counts(quick, ending):
    # So that the rejections above are about what was changed.
    stage = ending
    fields = {"kind": "query.receipt", "spoil": _resigned(stage)}
    quick.run(stage, resume=True, grid=type("Grid", (Spoilt,), fields))
    found = evidence.load(stage.run_dir / "evidence.json")
    assert len(found.receipts) == len(SITES)
    assert not _rejected(stage)


def _with_weak_key(stage):
    identity = Identity.load(stage.homes[CHEAT] / "identity.key")

    def spoil(_self, payloads):
        frame = framing.decode(payloads["announcement"], kind=Kind.EPOCH, max_body_bytes=0)
        header = {**frame.header, "mask_key": "00" * 32}
        return {"announcement": framing.encode(Kind.EPOCH, header, identity=identity)}

    return spoil


def test_a_site_that_announces_a_weak_key_is_left_out_until_it_announces_another(quick):
    stage = quick.copy()
    fields = {"kind": "query.announce", "times": 1, "spoil": _with_weak_key(stage)}
    quick.run(stage, grid=type("Grid", (Spoilt,), fields))
    assert "cannot be used" in str(_rejected(stage)[0]["sentence"])
    # It came with the second round's enrolment; the last tables are over everyone.
    assert (charter_sums.FAIRNESS, 2) in opened(stage, CHEAT)
    for site in SITES:
        assert set(charged(stage, site).values()) == {1}


@pytest.mark.parametrize("how", ["the epoch fails", "a member refuses it"])
def test_a_newcomer_whose_coming_fails_costs_those_that_are_there_nothing(quick, monkeypatch, how):
    """Whatever makes an epoch with the newcomer fail, the others stay in one without it.

    The last sum needs the newcomer, so the job stops before it charges anyone; it can be resumed.
    """
    stage, real, failed = quick.copy(), Enrolment._join, []

    def join(self, epoch, found):
        if self.job.state.epochs > 0 and CHEAT in found and not failed:
            failed.append(self)
            if how == "a member refuses it":
                return real(self, epoch, found) - {"cleveland"}
            self.job.begin_epoch()  # its number is used up, as where sites refuse the roster
            raise SecaggAbort("ROSTER: the epoch failed")
        return real(self, epoch, found)

    monkeypatch.setattr(Enrolment, "_join", join)
    fields = {"kind": "query.announce", "times": 1, "spoil": _with_weak_key(stage)}
    with pytest.raises(RunError, match=rf"lacks {CHEAT}.*nothing was charged") as caught:
        quick.run(stage, grid=type("Grid", (Spoilt,), fields))
    said = str(caught.value)
    assert f"The enrolment with {CHEAT} failed" in said and "connected" not in said
    entries = [e for e in read_events(stage.run_dir) if e["event"] == "enrolment-failed"]
    assert [entry["newcomers"] for entry in entries] == [[CHEAT]]
    (enrolment,) = failed
    assert set(enrolment.federation.sites) == OTHERS
    assert all(not charged(stage, site) for site in SITES)
    # Asked again when the job is resumed, it comes.
    quick.run(stage, resume=True)
    for site in SITES:
        assert (charter_sums.FAIRNESS, 2) in opened(stage, site)
        assert set(charged(stage, site).values()) == {1}
