"""Messages that no honest coordinator sends; a test puts them beside the hostile ServerApp."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from fedethics.protocol import PROTOCOL, Action

MEGABYTES = 12
Crafted = dict[str, tuple[str, Callable[[], RecordDict]]]


def crafted(charter: str) -> Crafted:
    """Return messages whose form is wrong, or whose form is right and whose meaning is not."""
    odd = {
        "protocol as text": {"protocol": str(PROTOCOL)},
        "protocol as truth": {"protocol": True},
        "protocol as fraction": {"protocol": float(PROTOCOL)},
        "protocol 1": {"protocol": 1},
        "charter as list": {"charter-hash": [charter]},
        "another charter": {"charter-hash": "00" * 32},
        "run as number": {"run": 7},
        "run as path": {"run": "../../etc/passwd"},
        "run with a second line": {"run": "run\nrun"},
        "run without end": {"run": "x" * 100_000},
    }
    found: Crafted = {}
    for name, change in odd.items():
        header = {"protocol": PROTOCOL, "charter-hash": charter, "run": "run"} | change
        found[name] = ("query.announce", lambda header=header: record(header, {"epoch": b"run/0"}))
    for action in ("query.shutdown", "train.evil", "evaluate.__class__", "query"):
        found[f"action {action}"] = (action, lambda: record(None, {}, charter=charter))
    found["an action of 20000 letters"] = (
        f"query.{'a' * 20_000}",
        lambda: record(None, {}, charter=charter),
    )
    found["no header"] = ("train", lambda: RecordDict({"payloads": ArrayRecord({})}))
    found["header of numbers"] = (
        "train",
        lambda: RecordDict({"fedethics": MetricRecord({"protocol": PROTOCOL})}),
    )
    found["terms beside the header"] = (
        "train",
        lambda: with_terms(record(None, {"open": b"", "adapter": b""}, charter=charter)),
    )
    return found


def spoilt(charter: str) -> Crafted:
    """Return messages with bodies that nobody could have meant."""
    noise = os.urandom(1000)
    names = ("open", "adapter", "epoch", "roster", "joined", "forward", "survivors", "proof")
    bodies = dict.fromkeys((*names, "result", "slice", "heads", "steering", "missed"), noise)
    found: Crafted = {}
    for action in Action:
        if action not in (Action.RECEIPT, Action.READY):  # which take no body
            found[f"garbage to {action}"] = (
                str(action),
                lambda: record(None, bodies, charter=charter),
            )
            found[f"nothing to {action}"] = (str(action), lambda: record(None, {}, charter=charter))
    arrays = {
        "an array of objects": Array("uint8", (1,), "numpy.ndarray", pickled()),
        "an array of a strange kind": Array("uint8", (1,), "cpickle", noise),
        "an array that claims a terabyte": Array("uint8", (1,), "numpy.ndarray", claimed()),
        "an array of fractions": Array(np.zeros(3)),
    }
    for name, array in arrays.items():
        found[name] = ("train", lambda array=array: with_array(charter, array))
    for name, body in {"a number": 7, "text": "open", "a list": [noise]}.items():
        found[f"{name} as payload"] = ("train", lambda body=body: with_body(charter, body))
    found["a payload twice"] = ("train", lambda: twice(charter, noise))
    large = os.urandom(MEGABYTES << 20)
    found["megabytes"] = ("train", lambda: record(None, {"open": large}, charter=charter))
    return found


def record(
    header: Mapping[str, Any] | None, payloads: Mapping[str, bytes], *, charter: str = ""
) -> RecordDict:
    """Return a request's content, without the checks of an honest sender and always as arrays."""
    fields = header or {"protocol": PROTOCOL, "charter-hash": charter, "run": "run"}
    arrays = {name: Array(np.frombuffer(data, np.uint8)) for name, data in payloads.items()}
    return RecordDict({"fedethics": ConfigRecord(dict(fields)), "payloads": ArrayRecord(arrays)})


def with_terms(content: RecordDict) -> RecordDict:
    content["settings"] = ConfigRecord(
        {"epsilon": 1e9, "noise-multiplier": 0.0, "site-home": "/", "charter": "/tmp/other.json"}
    )
    return content


def with_array(charter: str, array: Array) -> RecordDict:
    content = record(None, {}, charter=charter)
    content["payloads"] = ArrayRecord({"open": array})
    return content


def with_body(charter: str, body: Any) -> RecordDict:
    content = record(None, {}, charter=charter)
    content["fedethics"]["payload:open"] = body
    return content


def twice(charter: str, noise: bytes) -> RecordDict:
    content = record(None, {"open": noise}, charter=charter)
    content["fedethics"]["payload:open"] = noise
    return content


def pickled() -> bytes:
    """Return an .npy file of Python objects, as numpy would have to unpickle it."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    return npy(header, b"cos\nsystem\n(S'touch /tmp/pickled'\ntR.")


def claimed() -> bytes:
    """Return an .npy file whose header claims far more than follows."""
    return npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776,), }", b"x")


def npy(header: bytes, body: bytes) -> bytes:
    header = header.ljust(118 - 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body
