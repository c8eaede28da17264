"""`fedethics data check` lists each distinct bad value; its patch has the charter admit them."""

from __future__ import annotations

import csv
import dataclasses
import json
import subprocess
from collections import Counter

import pytest
from typer.testing import CliRunner

from fedethics import terms
from fedethics.charter import document
from fedethics.charter.amended import Change, amended, fragment
from fedethics.charter.data_terms import NOT_RECORDED, LabelColumn, SensitiveColumn
from fedethics.cli.data import app
from fedethics.data.admitted import bad_values, left_out, merged
from fedethics.data.reading import read_records
from fedethics.errors import CharterError, DataError
from tests.data.test_data_check import HEART
from tests.data.test_reading import GOOD, row

SEXES = ["F"] * 30 + ["M"] * 30 + ["f"] * 4 + ["unknown"] * 3 + ["X"] * 2
AGES = [str(30 + n % 40) for n in range(60)] + ["NA"] * 5 + ["130"] * 3 + ["64,5"]
CHARTER_DATA = """\
[data]
source = "made up"
holdout-fraction = 0.5
split-salt = "s"

[data.label]
column = "ill" # what is asked
positive = ["yes"]
negative = [
  "no", # agreed in May
]
positive-name = "ill"
negative-name = "well"

[[data.columns]]
name = "age"
kind = "number"
phrase = "{value} years"
minimum = 0
maximum = 120 # nobody is older

[[data.columns]]
name = "sex"
kind = "category"
phrase = "{value}"
values = ["F=woman", "M=man"] # as agreed

[[data.sensitive]]
name = "sex"
column = "sex"
groups = ["F", "M"]

[[data.sensitive]]
name = "age_band"
column = "age"
groups = ["young", "old"]
edges = [50]
"""


def rows():
    return [
        {"age": age, "sex": sex, "ill": "" if n % 11 == 7 else ("yes", "No", "0", "no")[n % 4]}
        for n, (age, sex) in enumerate(zip(AGES, SEXES, strict=True))
    ]


@pytest.fixture
def charter(tmp_path):
    """A charter with small data terms and the rest of the heart preset's."""
    heart = HEART.read_text(encoding="utf-8").replace('swap = ["sex"]', "swap = []")
    start = heart.index("[data]")
    after = heart[start:]
    ends = [at for part in ("[model]", "[training]", "[privacy]", "[adapter]", "[secagg]")
            if (at := after.find(f"\n{part}")) >= 0]  # fmt: skip
    rest = heart[:start] + after[min(ends) + 1 :]
    text = rest.rstrip() + "\n\n" + CHARTER_DATA
    path = tmp_path / "charter.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["age", "sex", "ill"])
        writer.writeheader()
        writer.writerows(rows())
    return path


def check(*words):
    return CliRunner().invoke(app, ["check", *map(str, words)])


def test_each_distinct_value_is_counted_as_a_loop_counts_it(charter):
    data = document.load(charter).data
    found = {
        (bad.column, bad.value): bad.count
        for bad in bad_values(rows(), data, task="classification")
    }
    labels = Counter(one["ill"] for one in rows() if one["ill"] not in ("yes", "no"))
    assert found == {("ill", value): count for value, count in labels.items()} | {
        ("age", "NA"): 5, ("age", "130"): 3, ("age", "64,5"): 1,
        ("sex", "f"): 4, ("sex", "unknown"): 3, ("sex", "X"): 2,
    }  # fmt: skip


def test_the_patch_applies_cleanly_and_the_file_is_read_by_the_patched_charter(
    charter, own, tmp_path
):
    before = charter.read_text()
    done = check(own, "-c", charter, "--patch", tmp_path / "own.patch")
    # It holds values of records.
    assert (tmp_path / "own.patch").stat().st_mode & 0o077 == 0
    assert done.exit_code == 2 and "look at each line before anybody else" in " ".join(
        done.output.split()
    )
    subprocess.run(["git", "apply", "own.patch"], cwd=tmp_path, check=True)
    text = charter.read_text()
    assert "# nobody is older" in text and "# as agreed" in text and "# what is asked" in text
    data = document.load(charter).data
    assert data.label.negative == ("no", "No", "0") and data.label.on_empty == "drop-row"
    ages, sexes = data.columns
    assert ages.not_recorded == ("NA",) and 130 < ages.maximum <= 200
    assert dict(sexes.choices) == {"F": "woman", "M": "man", "f": "woman", "X": "X"}
    assert sexes.not_recorded == ("unknown",)
    by_sex, by_age = data.sensitive
    assert by_sex.groups == ("F", "M", "X", NOT_RECORDED) and by_sex.merge == ("f=F",)
    assert by_age.groups == ("young", "old", NOT_RECORDED)
    # What is left is the number with a comma: no charter admits it, so the file must be mended.
    with pytest.raises(DataError, match="decimal comma") as caught:
        read_records(own, data)
    assert str(caught.value).count("\n  - ") == 1
    own.write_text(own.read_text().replace('"64,5"', "64.5"))
    read = read_records(own, data)
    assert len(read) + sum(read.dropped.values()) == len(rows())
    assert read.dropped == {"ill is empty": sum(not one["ill"] for one in rows())}
    assert before != text


def test_values_are_shown_on_the_sites_screen_and_in_no_error(charter, own):
    done = check(own, "-c", charter, "--json")
    told = json.loads(done.output)
    shown = {(bad["column"], bad["value"]) for bad in told["refused-values"]}
    assert ("sex", "X") in shown and ("age", "64,5") in shown
    assert not any("64,5" in finding["sentence"] for finding in told["findings"])
    assert ["nothing: mend the file" in check(own, "-c", charter).output] == [True]


def test_a_charter_of_canonical_bytes_gets_lines_for_its_toml(charter, own, tmp_path):
    agreed = document.load(charter)
    (tmp_path / "charter.json").write_bytes(document.encode(agreed))
    check(own, "-c", tmp_path / "charter.json", "--patch", tmp_path / "lines.toml")
    lines = (tmp_path / "lines.toml").read_text()
    assert '[[data.columns]] # name = "age"\nnot-recorded = ["NA"]' in lines
    before = (tmp_path / "lines.toml").read_bytes()
    done = check(own, "-c", charter, "--patch", tmp_path / "lines.toml")
    assert done.exit_code != 0 and (tmp_path / "lines.toml").read_bytes() == before


@pytest.mark.parametrize(
    "text",
    ['[data]\nlabel = {column = "x"}\n', '[data]\n[data."label"]\ncolumn = "x"\n', "[data]\n"],
)
def test_a_layout_that_is_not_changed_safely_is_refused(text):
    change = Change(table="data.label", name="", key="on-empty", value="drop-row")
    with pytest.raises(CharterError, match="edit it by hand"):
        amended(text, [change])
    assert fragment([change]) == '[data.label]\non-empty = "drop-row"\n'


def test_rows_without_a_label_are_left_out_where_the_charter_says_so(table, schema):
    listed = [GOOD, row(ill="", age="not read"), row(ill="no")]
    with pytest.raises(DataError, match="unknown label"):
        read_records(table(listed), schema)
    label = dataclasses.replace(schema.label, on_empty="drop-row")
    read = read_records(table(listed), dataclasses.replace(schema, label=label))
    assert len(read) == 2 and read.dropped == {"ill is empty": 1}
    rows_of = [{"ill": "", "age": "1", "sex": "F", "chol": "", "note": ""}]
    rows_of.append(rows_of[0] | {"ill": "yes"})
    counted = left_out(rows_of, dataclasses.replace(schema, label=label))
    assert counted == {"ill is empty": 1, "chol is empty": 1}
    dropping = dataclasses.replace(schema, label=label)
    assert bad_values(rows_of, dropping, task="classification") == ()
    assert [bad.why for bad in bad_values(rows_of, schema, task="classification")] == ["no label"]


def test_charters_without_the_new_terms_are_the_same_bytes(schema):
    assert "on-empty" not in terms.document(schema.label)
    named = dataclasses.replace(schema.label, on_empty="drop-row")
    assert terms.document(named)["on-empty"] == "drop-row"


@pytest.mark.parametrize(("age", "group"), [("39", 0), ("40", 1), ("60", 2), ("", 3), ("NA", 3)])
def test_people_without_a_number_may_be_a_group_beside_the_bands(table, schema, age, group):
    columns = (
        dataclasses.replace(schema.columns[0], on_empty="say", not_recorded=("NA",)),
        *schema.columns[1:],
    )
    bands = SensitiveColumn(
        name="age_band", column="age", groups=("young", "middle", "old", NOT_RECORDED),
        edges=(40, 60),
    )  # fmt: skip
    data = dataclasses.replace(schema, columns=columns, sensitive=(bands,))
    assert bands.problems() == [] and data.problems() == []
    assert read_records(table([row(age=age)]), data).groups.tolist() == [[group]]


def test_a_group_of_nobody_beside_the_bands_is_refused(schema):
    bands = SensitiveColumn(
        name="age_band", column="age", groups=("young", "middle", "old", NOT_RECORDED),
        edges=(40, 60),
    )  # fmt: skip
    (problem,) = dataclasses.replace(schema, sensitive=(bands,)).problems()
    assert "no value of column 'age' can be in the group 'not recorded'" in problem


def test_cells_of_one_class_are_put_together():
    label = LabelColumn(column="ill", classes=("none=0", "mild", "severe"))
    data = dataclasses.replace(document.load(HEART).data, label=label, columns=(), sensitive=())
    found = bad_values(
        [{"ill": cell} for cell in ("0.0", "MILD", "0e0", "severe", "worst")],
        data,
        task="classification",
    )
    (change,) = merged([change for bad in found for change in bad.changes], data)
    assert change.value == ["none=0|0.0|0e0", "mild=mild|MILD", "severe"]
