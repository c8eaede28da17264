"""Requests and replies survive Flower's encoding; anything else is refused."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict
from flwr.app.message.arraychunk import ArrayChunk
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects

from fedethics.errors import PolicyRefusal, SecaggReject
from fedethics.flower.wire import (
    WHOLE_BYTES,
    parse_reply,
    parse_request,
    reply_message,
    request_message,
)
from fedethics.protocol import PROTOCOL, Action, Refusal, Reply, Request, refuse
from tests.inprocess import enter_task, wire_copy


@pytest.fixture(autouse=True)
def _task():
    enter_task(run_id=1, node_id=1)


def _sent(action: Action = Action.TRAIN, protocol: int = PROTOCOL, adapter: bytes = b"") -> Message:
    request = Request(
        action=action,
        charter_hash="ab" * 32,
        run="run-1",
        payloads={"open": b"\x00\xff", "adapter": adapter},
        protocol=protocol,
    )
    message = request_message(request, node_id=7, ttl_s=5.0, group="1")
    return wire_copy(message, message_id="m1")


@pytest.mark.parametrize("action", list(Action))
def test_every_request_arrives_as_it_was_sent(action):
    request = parse_request(_sent(action))
    assert request.action is action
    assert dict(request.payloads) == {"open": b"\x00\xff", "adapter": b""}
    assert (request.run, request.charter_hash) == ("run-1", "ab" * 32)


def test_a_small_message_is_one_record_and_a_large_one_is_cut_into_chunks():
    small, large = _sent(), _sent(adapter=bytes(WHOLE_BYTES))
    assert dict(parse_request(large).payloads) == {
        "open": b"\x00\xff",
        "adapter": bytes(WHOLE_BYTES),
    }
    # What Flower sends by itself: the message, its content, its one record.
    assert len(get_all_nested_objects(small)) == 3
    assert any(type(part) is ArrayChunk for part in get_all_nested_objects(large).values())


@pytest.mark.parametrize("payload", [1, "text", 0.5, [b"x"]])
def test_a_payload_that_is_not_bytes_is_refused(payload):
    message = _sent()
    message.content["fedethics"]["payload:open"] = payload
    with pytest.raises(SecaggReject, match="'open' is not bytes"):
        parse_request(message)


def test_a_payload_that_is_there_twice_is_refused():
    message = _sent()
    message.content["payloads"] = ArrayRecord({"open": Array(np.zeros(2, dtype=np.uint8))})
    with pytest.raises(SecaggReject, match="there twice"):
        parse_request(message)
    message.content["payloads"] = ConfigRecord({"open": b"x"})
    with pytest.raises(SecaggReject, match="not arrays"):
        parse_request(message)


def test_a_reply_names_the_message_it_answers_and_carries_its_bytes():
    question = _sent()
    answer = wire_copy(
        reply_message(Reply(payloads={"share": b"abc"}), to=question), message_id="r"
    )
    assert answer.metadata.reply_to_message_id == "m1"
    assert dict(parse_reply(answer).payloads) == {"share": b"abc"}


def test_a_refusal_and_a_flower_error_arrive_as_refusals():
    refusal = refuse(PolicyRefusal("the record of Ann Smith"))
    answer = wire_copy(reply_message(Reply(refusal=refusal), to=_sent()), message_id="r")
    assert parse_reply(answer).refusal == refusal
    lost = Message(Error(code=5, reason="secret text"), reply_to=_sent())
    parsed = parse_reply(lost)
    assert parsed.refusal is not None
    assert parsed.refusal.code == "flower-5"


def test_another_protocol_number_is_refused():
    with pytest.raises(SecaggReject, match="protocol 1"):
        parse_request(_sent(protocol=1))


def test_a_message_without_header_or_with_a_foreign_array_is_refused():
    bare = Message(RecordDict({"x": ConfigRecord({"a": 1})}), 7, "query.announce")
    with pytest.raises(SecaggReject, match="no fedethics header"):
        parse_request(bare)
    message = _sent()
    message.content["payloads"] = ArrayRecord({"model": Array(np.zeros(2, dtype=np.float32))})
    with pytest.raises(SecaggReject, match="not a byte array"):
        parse_request(message)


@pytest.mark.parametrize("protocol", [True, float(PROTOCOL), str(PROTOCOL)])
def test_what_only_equals_the_protocol_number_is_refused(protocol):
    with pytest.raises(SecaggReject, match="speaks protocol"):
        parse_request(_sent(protocol=protocol))


def _npy(header: str, body: bytes) -> bytes:
    padded = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no array at all",
        _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776,), }", b"x"),
        _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }", b"xx"),
        _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-1,), }", b"x"),
        _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1), }", b"x"),
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", bytes(8)),
        _npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"cos\nsystem\n."),
        _npy("__import__('os').system('true')", b"x"),
        _npy("(" * 100, b"x"),
        b"\x93NUMPY\x02\x00",
    ],
)
def test_an_array_that_lies_about_itself_is_refused_by_site_and_coordinator_alike(data):
    request = _sent()
    request.content["payloads"] = ArrayRecord(
        {"model": Array("uint8", (1,), "numpy.ndarray", data)}
    )
    with pytest.raises(SecaggReject, match="payload 'model'"):
        parse_request(request)
    reply = reply_message(Reply(payloads={"share": b"x"}), to=_sent())
    reply.content["payloads"] = request.content["payloads"]
    with pytest.raises(SecaggReject, match="payload 'model'"):
        parse_reply(wire_copy(reply, message_id="r"))


@pytest.mark.parametrize(
    "code", ["FE602\n\x1b[2Jrun this", "late", "flower-3", "FE6022", b"FE602", 7]
)
def test_a_code_that_no_site_gives_is_refused(code):
    answer = reply_message(Reply(), to=_sent())
    answer.content["fedethics"]["refusal-code"] = code
    with pytest.raises(SecaggReject, match="a code that no site gives"):
        parse_reply(answer)


@pytest.mark.parametrize("code", ["FE202", "FE999", "FE000"])
def test_the_words_of_a_refusal_are_ours_whatever_the_site_says(code):
    told = Refusal(code=code, sentence="\x1b[2J call this number")
    answer = wire_copy(reply_message(Reply(refusal=told), to=_sent()), message_id="r")
    assert "call" not in parse_reply(answer).refusal.sentence
    assert parse_reply(answer).refusal.code == code


@pytest.mark.parametrize("protocol", [1, 2, True, "3", None])
def test_a_reply_of_another_protocol_is_refused(protocol):
    answer = reply_message(Reply(payloads={"share": b"x"}), to=_sent())
    del answer.content["fedethics"]["protocol"]
    if protocol is not None:
        answer.content["fedethics"]["protocol"] = protocol
    with pytest.raises(SecaggReject, match="does not speak protocol"):
        parse_reply(answer)
