"""Requests and replies as Flower messages, and back.

Flower sends, stores and fetches every record, array and chunk of a message by itself, at a request
each. So a message of up to `WHOLE_BYTES` is one config record that holds scalars and payloads; a
larger one carries its payloads separately as arrays of bytes (uint8), which Flower sends in chunks.
A message of another protocol number, or whose payloads are not plain bytes, is refused; names that
nobody knows are left unread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.common.constant import ErrorCode

from fedethics.errors import SecaggReject
from fedethics.protocol import PROTOCOL, Action, Refusal, Reply, Request, refusal_of
from fedethics.terms import NAME

_LOST = (ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE)
_HEADER = "fedethics"
_PAYLOADS = "payloads"  # the record of a large message's arrays
_PAYLOAD = "payload:"  # begins the name of a payload that stands in the header
WHOLE_BYTES = 2**20
MAX_PAYLOAD_BYTES = 2**31
_NPY_START = 10  # magic, version 1.0, and two bytes that say how long the header is
_NPY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(?s:..)\{'descr': '\|u1', 'fortran_order': (?:True|False), "
    rb"'shape': \((\d{1,19}),\), \} *\n"
)


def request_message(request: Request, *, node_id: int, ttl_s: float, group: str) -> Message:
    """Return `request` as a Flower message for `node_id`, valid for `ttl_s` seconds."""
    fields: dict[str, int | str] = {
        "protocol": request.protocol,
        "charter-hash": request.charter_hash,
        "run": request.run,
    }
    return Message(
        content=_content(fields, request.payloads),
        dst_node_id=node_id,
        message_type=str(request.action),
        ttl=ttl_s,
        group_id=group,
    )


def parse_request(message: Message) -> Request:
    """Return the request that `message` carries.

    Raises:
        SecaggReject: not a request of this protocol number; nothing was done.
    """
    header = _header(message)
    protocol = header.get("protocol")
    if type(protocol) is not int or protocol != PROTOCOL:  # True and 1.0 are equal to 1
        raise SecaggReject(
            f"request speaks protocol {protocol!r}, this site speaks {PROTOCOL}; nothing was done"
        )
    kind = message.metadata.message_type
    action = kind if "." in kind else f"{kind}.default"
    if action not in set(Action):
        raise SecaggReject(f"unknown action {action!r}; nothing was done")
    charter_hash, run = header.get("charter-hash"), header.get("run")
    if not isinstance(charter_hash, str) or not isinstance(run, str):
        raise SecaggReject("request lacks charter-hash or run; nothing was done")
    if re.fullmatch(NAME, run) is None:
        raise SecaggReject("the run of the request is not the name of a run; nothing was done")
    return Request(
        action=Action(action), charter_hash=charter_hash, run=run, payloads=_payloads(message)
    )


def reply_message(reply: Reply, *, to: Message) -> Message:
    """Return `reply` as the Flower message that answers `to`."""
    fields: dict[str, int | str] = {"protocol": PROTOCOL}
    if reply.refusal is not None:
        refusal = reply.refusal
        fields |= {"refusal-code": refusal.code, "refusal": refusal.sentence}
        fields |= {"refusal-site": refusal.site}
    return Message(_content(fields, reply.payloads), reply_to=to)


def parse_reply(message: Message) -> Reply:
    """Return the reply that `message` carries; Flower's own errors become refusals."""
    if message.has_error():
        return Reply(
            refusal=Refusal(code=f"flower-{message.error.code}", sentence="the node did not answer")
        )
    header = _header(message)
    if type(header.get("protocol")) is not int or header["protocol"] != PROTOCOL:
        raise SecaggReject(f"the reply does not speak protocol {PROTOCOL}")
    code = header.get("refusal-code")
    if code is not None:
        return Reply(refusal=_refusal(code, header.get("refusal-site")))
    return Reply(payloads=_payloads(message))


def is_lost(message: Message) -> bool:
    """Say whether a reply came and is not to be had: its parts never did, or went astray."""
    return message.has_error() and message.error.code in _LOST


def _refusal(code: object, site: object) -> Refusal:
    """Return a site's no in our own words: its text would reach logs, reports and a terminal."""
    refusal = refusal_of(code) if isinstance(code, str) else None
    if refusal is None:
        raise SecaggReject("the reply refuses with a code that no site gives")
    named = isinstance(site, str) and re.fullmatch(NAME, site)
    return replace(refusal, site=str(site) if named else "")


def _header(message: Message) -> ConfigRecord:
    record = message.content.get(_HEADER)
    if not isinstance(record, ConfigRecord):
        raise SecaggReject("message has no fedethics header; nothing was done")
    return record


def _content(fields: Mapping[str, int | str], payloads: Mapping[str, bytes]) -> RecordDict:
    if sum(map(len, payloads.values())) > WHOLE_BYTES:
        arrays = {
            name: Array(np.frombuffer(data, dtype=np.uint8)) for name, data in payloads.items()
        }
        return RecordDict({_HEADER: ConfigRecord({**fields}), _PAYLOADS: ArrayRecord(arrays)})
    whole = {_PAYLOAD + name: bytes(data) for name, data in payloads.items()}
    return RecordDict({_HEADER: ConfigRecord({**fields, **whole})})


def _payloads(message: Message) -> dict[str, bytes]:
    payloads: dict[str, bytes] = {}
    for name, data in _header(message).items():
        if not name.startswith(_PAYLOAD):
            continue
        if not isinstance(data, bytes):
            raise SecaggReject(f"payload {name.removeprefix(_PAYLOAD)!r} is not bytes")
        payloads[name.removeprefix(_PAYLOAD)] = data
    record = message.content.get(_PAYLOADS, ArrayRecord())
    if not isinstance(record, ArrayRecord) or set(record) & set(payloads):
        raise SecaggReject("the payloads are not arrays, or there twice; nothing was done")
    for name, array in record.items():
        if array.dtype != "uint8" or len(array.data) > MAX_PAYLOAD_BYTES:
            raise SecaggReject(f"payload {name!r} is not a byte array of allowed size")
        payloads[name] = _unpacked(name, array.data)
    return payloads


def _unpacked(name: str, data: bytes) -> bytes:
    """Return the bytes of a one-dimensional uint8 array in numpy's file format, version 1.

    numpy's own reader would evaluate the header, and first make room for as much as it claims.
    """
    end = _NPY_START + int.from_bytes(data[_NPY_START - 2 : _NPY_START], "little")
    header = _NPY_HEADER.fullmatch(data[:end])
    body = data[end:]
    if header is None or int(header[1]) != len(body):
        raise SecaggReject(f"payload {name!r} is not the byte array it claims; nothing was done")
    return body
