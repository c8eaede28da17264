"""Each object stands on a line of its own, whatever a crash or a full disk left before it."""

from __future__ import annotations

import json
import stat

import pytest

from fedethics.storage import lines


def test_what_is_appended_is_read_in_its_order(tmp_path):
    path = tmp_path / "log.jsonl"
    for number in range(3):
        lines.append(path, {"number": number, "text": "a\nb\u2028c"})
    assert [each["number"] for each in lines.objects(path.read_bytes())] == [0, 1, 2]
    assert len(path.read_bytes().splitlines()) == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("torn", [b'{"numb', b'{"number": 7}', b"\xff\xfe", b"[1, 2]", b"{" * 9999])
def test_a_torn_line_costs_itself_only(torn, tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"number": 1}\n' + torn)
    lines.append(path, {"number": 2})
    found = [each["number"] for each in lines.objects(path.read_bytes())]
    assert found == [1, *([7] if b"7" in torn else []), 2]
    assert path.read_bytes().endswith(b'\n{"number": 2}\n')


def test_a_tail_yields_each_line_once_and_waits_for_a_half_one(tmp_path):
    path = tmp_path / "log.jsonl"
    tail = lines.Tail(path)
    assert tail.new() == []
    path.write_bytes(b'{"a": 1}\n{"a": ')
    assert tail.new() == [{"a": 1}]
    with path.open("ab") as file:
        file.write(b"2}\n")
    assert tail.new() == [{"a": 2}]
    assert tail.new() == []
    assert lines.Tail(path, from_end=True).new() == []


def test_an_object_that_is_no_json_is_an_error_and_nothing_is_written(tmp_path):
    path = tmp_path / "log.jsonl"
    with pytest.raises(TypeError):
        lines.append(path, {"number": object()})
    assert path.read_bytes() == b"" if path.exists() else True
    lines.append(path, json.loads("{}"))
    assert path.read_bytes() == b"{}\n"
