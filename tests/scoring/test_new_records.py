"""New records are read as a site's are, but for the label that nobody knows yet."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fedethics.charter.document import load
from fedethics.data.reading import read_records
from fedethics.errors import DataError
from fedethics.scoring.new_records import read_new

ROOT = Path(__file__).resolve().parents[2]
HEART = load(ROOT / "configs" / "heart.charter.toml").data
ROW = {
    "age": "63", "sex": "Male", "cp": "asymptomatic", "trestbps": "130", "chol": "233",
    "fbs": "FALSE", "restecg": "normal", "thalch": "150", "exang": "TRUE", "oldpeak": "2.3",
}  # fmt: skip


def _file(path: Path, *rows: dict[str, str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_record_says_the_same_with_its_label_and_without(tmp_path):
    label = {HEART.labels.column: next(iter(HEART.labels.by_cell))}
    others = ROW | {"age": "41", "sex": "Female"}
    with_label = _file(tmp_path / "with.csv", ROW | label, others | label)
    without = _file(tmp_path / "without.csv", ROW, others)
    texts = read_records(with_label, HEART).texts
    assert [one.content for one in read_new(without, HEART)] == list(texts)
    assert [one.content for one in read_new(with_label, HEART)] == list(texts)


def test_lines_and_kept_columns_are_the_files_own(tmp_path):
    path = _file(tmp_path / "new.csv", {"id": " 007 "} | ROW, {"id": "x,y"} | ROW)
    found = list(read_new(path, HEART, keep=["id"]))
    assert [(one.line, one.kept) for one in found] == [(2, {"id": "007"}), (3, {"id": "x,y"})]
    with pytest.raises(DataError, match="no column nr to keep"):
        list(read_new(path, HEART, keep=["nr"]))


def test_what_the_charter_leaves_out_has_its_reason_and_no_content(tmp_path):
    dropping = next(one.name for one in HEART.columns if one.on_empty == "drop-row")
    (found,) = read_new(_file(tmp_path / "new.csv", ROW | {dropping: ""}), HEART)
    assert found.content is None and found.left_out == f"{dropping} is empty"


def test_every_bad_cell_is_told_at_once_and_no_value_is(tmp_path):
    path = _file(tmp_path / "new.csv", ROW, ROW | {"age": "430"}, ROW | {"sex": "Mael"}, ROW)
    with pytest.raises(DataError, match="nothing was written") as told:
        list(read_new(path, HEART))
    assert "line 3, column age" in str(told.value) and "line 4, column sex" in str(told.value)
    assert "430" not in str(told.value) and "Mael" not in str(told.value)


@pytest.mark.parametrize("rows", [[{k: v for k, v in ROW.items() if k != "chol"}]])
def test_a_missing_column_is_named(tmp_path, rows):
    with pytest.raises(DataError, match="no column chol"):
        list(read_new(_file(tmp_path / "new.csv", *rows), HEART))


def test_a_file_without_records_is_refused(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text(",".join(ROW) + "\n")
    with pytest.raises(DataError, match="holds no record"):
        list(read_new(path, HEART))
