"""What is not on the list does not leave a site: every action, every name, one byte too many."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from fedethics import canonical
from fedethics.charter import document
from fedethics.flower.client_entry import answer, refusal_message
from fedethics.flower.wire import parse_reply, request_message
from fedethics.protocol import OF_RECORDS, Action, Refusal, Request, sayable
from fedethics.secagg import SiteStore, framing
from fedethics.secagg.messages import LISTED_MESSAGE_BYTES, receive
from fedethics.site import egress
from fedethics.site.answering import _handler
from fedethics.site.egress import EGRESS, Document, Message
from fedethics.site.handler import SiteHandler
from fedethics.site.home import SiteHome
from fedethics.site.request_context import RequestContext
from tests.coordinator.conftest import (  # noqa: F401  fixtures
    kept_jobs,
    learned,
    quick,
    staged,
)
from tests.e2e.conftest import encoder, heart_data  # noqa: F401  fixture
from tests.inprocess import enter_task, wire_copy

ROOT = Path(__file__).resolve().parents[2]
SITE, SECRET = "hungary", b"age 63, male, angina"
NAMES = [(action, name) for action, listed in EGRESS.items() for name in listed]


@dataclasses.dataclass
class Asked:
    """A site after a whole run, and what it answered."""

    home: Path
    answers: dict[tuple[Action, str], bytes]
    monkeypatch: pytest.MonkeyPatch

    def context(self) -> RequestContext:
        home = SiteHome.open(self.home)
        digest = document.hash_of(document.load(home.charter_path))
        return RequestContext.open(home, digest, SiteStore(home.opened_sums))

    def says(self, action: Action, payloads: dict[str, bytes]):
        """Return what the coordinator gets where the handler's step for an action says this."""
        handler = _handler(self.home)
        self.monkeypatch.setitem(handler._answers, action, lambda *_: payloads)
        request = Request(action=action, charter_hash=self.context().charter_hash, run="run")
        enter_task(run_id=1, node_id=1)
        sent = request_message(request, node_id=2, ttl_s=9.0, group="x")
        message = wire_copy(sent, message_id="m")
        context = Context(2, 2, {"site-home": str(self.home)}, RecordDict(), {})
        left = answer(message, context)
        assert SECRET not in str(left.content).encode()
        return parse_reply(left)

    def at_its_bound(self, action: Action, name: str, *, over: int) -> bytes:
        """Return a message that this site signed, whose body is so many bytes over its bound."""
        context, kind = self.context(), EGRESS[action][name].kind
        raw = self.answers[action, name]
        read = receive(raw, kind=kind, terms=context.secagg.terms, max_body_bytes=len(raw))
        most = EGRESS[action][name].body(context.secagg, read)
        return framing.encode(
            kind, dict(read.header), bytes(most + over), identity=context.identity
        )


@pytest.fixture
def asked(quick, monkeypatch):  # noqa: F811
    stage, answers, handle = quick.copy(), {}, SiteHandler.handle

    def kept(handler, request):
        reply = handle(handler, request)
        if handler.site == SITE:
            answers.update({(request.action, name): each for name, each in reply.payloads.items()})
        return reply

    with monkeypatch.context() as patched:
        patched.setattr(SiteHandler, "handle", kept)
        quick.run(stage)
    return Asked(stage.homes[SITE], answers, monkeypatch)


def test_the_table_has_every_action_of_the_protocol_and_fits_one_screen():
    assert set(EGRESS) == set(Action)
    source = Path(egress.__file__).read_text(encoding="utf-8")
    table = source[source.index("EGRESS: Final") :].split("\n}\n")[0]
    assert len(table.splitlines()) <= 40


def test_what_a_whole_run_says_is_listed_and_leaves_again(asked):
    assert {action for action, _ in asked.answers} == {action for action, _ in NAMES}
    for (action, name), said in asked.answers.items():
        assert asked.says(action, {name: said}).payloads == {name: said}, (action, name)


def test_a_name_too_many_a_byte_too_many_and_other_bytes_send_nothing(asked):
    nothing = dataclasses.replace(OF_RECORDS, site=SITE)
    for action in Action:
        true = {name: said for (at, name), said in asked.answers.items() if at is action}
        for added in ({"note": b""}, {"records": SECRET}):
            assert asked.says(action, true | added).refusal == nothing, (action, added)
        for name, said in true.items():
            for wrong in (said + b"\0", said[:-1], b"", SECRET, SECRET + said):
                reply = asked.says(action, {name: wrong})
                assert (reply.refusal, dict(reply.payloads)) == (nothing, {}), (action, name)
            if isinstance(EGRESS[action][name], Message):
                fits = asked.at_its_bound(action, name, over=0)
                assert asked.says(action, {name: fits}).payloads == {name: fits}
                grown = asked.at_its_bound(action, name, over=1)
                assert asked.says(action, {name: grown}).refusal == nothing, (action, name)
    assert "not listed to leave a site" in (asked.home / "log.jsonl").read_text()


def test_a_signed_message_of_another_kind_or_with_a_field_more_sends_nothing(asked):
    context, nothing = asked.context(), dataclasses.replace(OF_RECORDS, site=SITE)
    for (action, name), said in asked.answers.items():
        for other in {key for at, key in NAMES if key != name}:
            others = next(each for (_, key), each in asked.answers.items() if key == other)
            assert asked.says(action, {name: others}).refusal == nothing, (name, other)
        if isinstance(EGRESS[action][name], Document):
            added = canonical.encode({**canonical.parse(said), "note": SECRET.decode()})
            assert asked.says(action, {name: added}).refusal == nothing
            continue
        kind = EGRESS[action][name].kind
        read = receive(said, kind=kind, terms=context.secagg.terms, max_body_bytes=len(said))
        header = {**read.header, "note": SECRET.decode()}
        more = framing.encode(kind, header, read.body, identity=context.identity)
        assert asked.says(action, {name: more}).refusal == nothing, (action, name)
        if kind is framing.Kind.SLICE_REQUEST:
            header = {**read.header, "leaves": list(range(LISTED_MESSAGE_BYTES))}
            more = framing.encode(kind, header, identity=context.identity)
            assert asked.says(action, {name: more}).refusal == nothing


def test_a_refusal_leaves_as_a_code_with_our_own_sentence_or_tells_nothing():
    assert sayable(Refusal(code="FE202", sentence=SECRET.decode())) == OF_RECORDS
    assert sayable(Refusal(code="FE999", sentence=OF_RECORDS.sentence)) == OF_RECORDS
    for site, told in ((SITE, SITE), ("", ""), (SECRET.decode(), ""), (f"{SITE}\n", "")):
        assert sayable(dataclasses.replace(OF_RECORDS, site=site)).site == told


def test_a_refusal_that_no_handler_was_asked_for_leaves_by_the_same_entry_point():
    enter_task(run_id=1, node_id=1)
    request = Request(action=Action.READY, charter_hash="ab" * 32, run="run")
    sent = request_message(request, node_id=2, ttl_s=9.0, group="x")
    left = refusal_message(ValueError(SECRET.decode()), to=wire_copy(sent, message_id="m"))
    assert parse_reply(left).refusal == OF_RECORDS


def test_only_the_entry_point_sends_replies_and_only_the_handler_puts_payloads_into_one():
    made, sent = set(), set()
    for path in (ROOT / "fedethics").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id == "Reply" and any(word.arg == "payloads" for word in node.keywords):
                made.add(path.name)
            if node.func.id == "reply_message":
                sent.add(path.name)
    # wire.py reads replies at the coordinator, and workers.py in a simulation; rehearsal_stage.py's
    # stand-ins have no records.
    known = {"handler.py", "rehearsal_stage.py", "wire.py", "workers.py"}
    assert (made, sent) == (known, {"client_entry.py"})
