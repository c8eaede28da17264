"""Data frames of any library become the federation that their CSV files would, or one error."""

from __future__ import annotations

import datetime
import decimal
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest

import fedethics
from fedethics.charter import document
from fedethics.data.reading import read_records
from fedethics.data.records import row_hash
from fedethics.drafting.frames import drafted, of_frames
from fedethics.drafting.source import file_rows
from fedethics.errors import DataError, ModelError, RunError
from fedethics.simulation.scenario import load
from tests.drafting.test_new import patients, staged
from tests.training.tiny_models import save_tiny

ROOT = Path(__file__).resolve().parents[2]
SITES = ("north", "south", "west")


def pandas_frames():
    """One table by its column, as a researcher would cut it; numbers as numbers, gaps as NaN."""
    table = pandas.DataFrame(list(patients()))
    for name in ("age", "pressure", "outcome"):
        table[name] = pandas.to_numeric(table[name])
    return {SITES[n]: part for n, part in table.groupby(np.arange(len(table)) % 3)}


def draft(frames, out, **options):
    given = {
        "label": "outcome", "sensitive": ["sex"], "text": "notes", "model": None,
        "drop_unlabelled": False, "name": "own", "run_id": "r", "resumed": False,
    }  # fmt: skip
    return drafted(frames, out=out, **(given | options))


def test_frames_become_the_federation_that_their_csv_files_would(tmp_path):
    frames = pandas_frames()
    scenario, run = draft(frames, tmp_path)
    assert run == "r" and scenario == tmp_path / "drafts" / "r" / "scenario.toml"
    setup, stage = staged(scenario.parent, tmp_path / "run")
    assert [site.name for site in setup.sites] == list(SITES)
    assert stage.charter.data.label.positive in (("0",), ("1",))
    for site, frame in frames.items():
        # pandas' own CSV writer is the reference: the same records, by their identity.
        plain = tmp_path / f"{site}.csv"
        frame.to_csv(plain, index=False)
        theirs = sorted(map(row_hash, file_rows(plain, ["outcome"])))
        ours = read_records(scenario.parent / "sites" / f"{site}.csv", stage.charter.data)
        assert sorted(ours.row_hashes) == theirs and len(ours) == 100


class ColumnOf:
    """A column as polars has it."""

    def __init__(self, values):
        self._values = values

    def to_list(self):
        return self._values


class PolarsLike:
    def __init__(self, table):
        self.columns, self._table = list(table), table

    def __getitem__(self, name):
        return ColumnOf(self._table[name])


class ArrowLike(PolarsLike):
    """A pyarrow table: its `columns` are the values, and scalars come from `to_pylist`."""

    def __init__(self, table):
        super().__init__(table)
        self.column_names, self.columns = list(table), list(table.values())

    def __getitem__(self, name):
        column = ColumnOf(self._table[name])
        column.to_pylist = column.to_list
        return column


TABLE = {
    "n": [1, 2.0, None], "x": [0.5, math.nan, -3], "b": [True, False, None],
    "t": [" a ", "", "é"], "d": [datetime.date(2020, 1, 2)] * 3,
    "l": [[1, {"k": "v"}], [], [0.1]], "m": [decimal.Decimal("1.50"), np.int64(7), np.float64(2)],
}  # fmt: skip
CELLS = {
    "n": ["1", "2", ""], "x": ["0.5", "", "-3"], "b": ["true", "false", ""], "t": ["a", "", "é"],
    "d": ["2020-01-02"] * 3, "m": ["1.50", "7", "2"],
    "l": ['[{"number":"1e0"},{"k":"v"}]', "[]", '[{"number":"1e-1"}]'],
}  # fmt: skip


@pytest.mark.parametrize(
    "frame",
    [
        TABLE,
        [dict(zip(TABLE, row, strict=True)) for row in zip(*TABLE.values(), strict=True)],
        pandas.DataFrame(TABLE, dtype=object),
        PolarsLike(TABLE),
        ArrowLike(TABLE),
        {"n": pandas.Series([1, 2, None], dtype="Int64")} | {k: TABLE[k] for k in TABLE if k > "n"}
        | {k: TABLE[k] for k in "bdlm"},
    ],
    ids=["columns", "records", "pandas", "polars", "pyarrow", "pandas NA"],
)  # fmt: skip
def test_a_value_becomes_what_a_file_would_hold_whatever_the_library(frame):
    (rows,) = of_frames({"a": frame}, ["n"]).rows.values()
    assert {name: [row[name] for row in rows] for name in TABLE} == CELLS


def test_a_column_that_not_every_site_has_is_left_out_and_named(tmp_path):
    frames = pandas_frames()
    frames["west"] = frames["west"].drop(columns="clinic")
    scenario, _ = draft(frames, tmp_path)
    assert "clinic" not in [column.name for column in load(scenario)[1].data.columns]
    assert "not at every site: west lacks it" in (scenario.parent / "README.md").read_text()


def test_a_model_of_ones_own_is_named_by_its_hash_and_found(tmp_path):
    folder = tmp_path / "tiny-roberta"
    folder.mkdir()
    save_tiny(folder, "roberta")
    scenario, _ = draft(pandas_frames(), tmp_path, model=folder)
    setup, charter = load(scenario)
    assert setup.model_dir == str(folder) and charter.model.name == "tiny-roberta"
    assert charter.adapter.targets == ("query", "value") and charter.adapter.layers == (2,)
    assert charter.model.max_tokens <= 40
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="as a pickle"):
        draft(pandas_frames(), tmp_path, model=folder, run_id="s")


UNEVEN = {"outcome": [], "notes": [], "sex": [], "a": [1]}


def spoilt(**changes):
    return {site: frame.assign(**changes) for site, frame in pandas_frames().items()}


@pytest.mark.parametrize(
    ("frames", "options", "said"),
    [
        (pandas.DataFrame(TABLE), {}, "a DataFrame is neither a scenario's file nor frames by"),
        (pandas_frames(), {"label": ""}, "label: name the column"),
        (pandas_frames(), {"label": "result"}, "frame of north: no column result; it has patient"),
        (pandas_frames(), {"sensitive": "sex"}, r"a list of columns, as \['sex'\]"),
        (pandas_frames(), {"text": "outcome"}, "a column is named twice"),
        (pandas_frames(), {"name": "My run"}, "name 'My run'"),
        (pandas_frames(), {"resumed": True}, "continued from its draft"),
        ({"St. Mary": pandas_frames()["north"]}, {}, "call it 'st-mary'"),
        ({k: v for k, v in pandas_frames().items() if k != "west"}, {}, "2 sites; secure sums"),
        (pandas_frames() | {"east": pandas_frames()["north"][:0]}, {}, "no record at east"),
        (pandas_frames() | {"east": 3}, {}, "frame of east: a int without columns is no data"),
        (pandas_frames() | {"east": [1, 2]}, {}, "entries are no records"),
        (pandas_frames() | {"east": {3: [1]}}, {}, "column name 3 is no text"),
        (pandas_frames() | {"east": UNEVEN}, {}, "its columns differ in length"),
        (spoilt(age=math.inf), {}, "column age: an infinite number"),
        (spoilt(age=b"secret"), {}, "column age: a value of type bytes"),
        (spoilt(outcome=None), {}, "is empty in 300 records"),
    ],
)  # fmt: skip
def test_what_is_no_federation_is_one_error_and_nothing_is_written(frames, options, said, tmp_path):
    with pytest.raises(DataError, match=said) as caught:
        draft(frames, tmp_path, **options)
    assert "secret" not in str(caught.value)
    assert list(tmp_path.rglob("*")) in ([], [tmp_path / "drafts"])


def test_options_of_frames_beside_a_scenario_are_refused(tmp_path):
    with pytest.raises(RunError, match="label, sensitive: options of data frames"):
        fedethics.simulate(tmp_path / "s.toml", label="x", sensitive=["sex"])


@pytest.mark.slow
def test_the_example_ends_with_a_verdict_and_what_each_site_spent(tmp_path):
    done = subprocess.run(
        [sys.executable, "examples/own_frames.py", tmp_path],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (path,) = tmp_path.glob("own-frames-*")
    run, charter = fedethics.Run(path), document.load(path / "charter.json")
    assert f"gate: {run.verdict} - report: {run.report}" in done.stdout and run.report.is_file()
    spent = run.spent()
    assert set(spent) == set(SITES)
    for train, held_out in spent.values():
        assert train.epsilon <= charter.privacy.training.epsilon and train.unit == "record"
        assert held_out.epsilon <= charter.privacy.evaluation.epsilon
    assert done.stdout.count("epsilon at ") == 3 and done.stdout.count("accuracy for ") == 2
