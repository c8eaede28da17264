"""The reader of pickled frames: whatever the bytes are, rows or one error, and nothing is run."""

from __future__ import annotations

import inspect
import lzma
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics.errors import SetupError
from simulations.datasets import frame_pickle
from simulations.datasets.frame_pickle import read_frame
from tests.data.test_public_data_sets import _frame

GOOD = _frame(
    ["n", "s"],
    [(np.arange(3, dtype="i8").reshape(1, 3), slice(0, 1, 1)),
     (np.array([["a", None, "c"]], dtype=object), slice(1, 2, 1))],
    length=3,
)  # fmt: skip
ROWS = [{"n": "0", "s": "a"}, {"n": "1", "s": ""}, {"n": "2", "s": "c"}]


def _read(pickled):
    """Return the rows, or None where the bytes are refused."""
    try:
        return read_frame(lzma.compress(pickled, preset=0))
    except SetupError:
        return None


def test_a_whole_frame_is_read():
    assert _read(GOOD) == ROWS


@settings(max_examples=200)
@given(data=st.data())
def test_changed_bytes_are_refused_or_still_spell_plain_rows(data):
    spoiled = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(spoiled) - 1))
        cut = data.draw(st.integers(0, 2))
        spoiled[place : place + cut] = data.draw(st.binary(max_size=3))
    found = _read(bytes(spoiled))
    assert found is None or all(type(cell) is str for row in found for cell in row.values())


def test_every_single_byte_may_be_any_opcode_and_nothing_else_than_an_error_comes_of_it():
    opcodes = [ord(opcode.code) for opcode in frame_pickle.pickletools.opcodes]
    for place in range(0, len(GOOD), 5):
        for code in opcodes[place % 5 :: 5]:
            _read(GOOD[:place] + bytes([code]) + GOOD[place + 1 :])


def test_bytes_are_never_taken_for_objects():
    """An array of objects whose state is memory, as a pickle can say it of any array."""
    for chosen in (0x4141414141414141, id(ROWS), 8):
        address = struct.pack("<Q", chosen)
        for kind in (b"O8", b"O", b"|O", b"V8", b"M8", b"S8", b"U2", b"i8,O"):
            label = b"X" + struct.pack("<I", len(kind)) + kind
            spoiled = GOOD.replace(b"X\x02\x00\x00\x00i8", label)
            assert spoiled != GOOD
            spoiled = spoiled.replace((0).to_bytes(8, "little"), address)
            assert _read(spoiled) is None


@pytest.mark.parametrize(
    "value",
    [
        [1], {"a": 1}, (1, 2), b"bytes", 1 + 2j, range(3), print, frozenset({1}),
    ],
)  # fmt: skip
def test_a_cell_that_is_no_number_and_no_text_is_refused(value):
    cells = np.empty((1, 1), dtype=object)
    cells[0, 0] = value
    assert _read(_frame(["x"], [(cells, slice(0, 1, 1))], length=1)) is None


def test_a_small_member_that_unfolds_into_much_is_refused(monkeypatch):
    with pytest.raises(SetupError, match="at most"):
        read_frame(lzma.compress(bytes(frame_pickle._MOST_BYTES + 1), preset=0))
    monkeypatch.setattr(frame_pickle, "_MOST_OPCODES", 10)
    assert _read(GOOD) is None


@pytest.mark.parametrize("limit", ["_MOST_CELLS", "_MOST_TEXT"])
def test_one_list_named_many_times_is_no_way_round_the_limits(monkeypatch, limit):
    monkeypatch.setattr(frame_pickle, limit, 3)
    assert _read(GOOD.replace(b"a", b"aaaa" if limit == "_MOST_TEXT" else b"a")) is None


def test_the_reader_looks_no_name_up_and_calls_nothing_that_a_pickle_names():
    source = inspect.getsource(frame_pickle)
    for word in ("import pickle\n", "Unpickler", "getattr", "importlib", "eval(", "__new__"):
        assert word not in source
