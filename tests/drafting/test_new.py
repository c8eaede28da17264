"""A file of one's own becomes a federation that stages as it is, or one clear error."""

from __future__ import annotations

import csv
import json
import random
import re

import numpy as np
import pytest

from fedethics.charter import document
from fedethics.charter.signing import load_signatures, sign, signatures_path
from fedethics.cli import main
from fedethics.data.reading import read_records
from fedethics.drafting.columns import LeftOut, found_column, outwards
from fedethics.drafting.groups import SMALL, found_feature
from fedethics.errors import CharterError, DataError
from fedethics.identity import Identity
from fedethics.simulation import staging
from fedethics.simulation.scenario import data_folder, load

RECORDS = 300


def patients(records=RECORDS):
    drawn = random.Random(5)
    for number in range(records):
        age = drawn.randint(20, 88)
        yield {
            "patient_id": f"P{number:04}",
            "age": str(age),
            "sex": drawn.choice("FMM"),
            "clinic": drawn.choice(["North", "South", "St. Mary"]),
            "pressure": drawn.choice(["", *[f"{drawn.gauss(120, 15):.1f}"] * 5]),
            "pain type": drawn.choice(["sharp", "dull", "<=none"]),
            "notes": f'said "fine", walked {number} m',
            "outcome": str(int(drawn.random() < age / 100)),
        }


def written(path, rows):
    rows = list(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def new(tmp_path, monkeypatch, capsys):
    """Run `fedethics new` in a folder of its own; return its exit code and what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr("sys.argv", ["fedethics", "new", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    monkeypatch.setattr("fedethics.memory.keep_private", lambda: None)
    return run


def staged(folder, run_dir):
    scenario, draft = load(folder / "scenario.toml")
    data = data_folder(scenario, folder / "no-such-root", base=folder)
    return scenario, staging.build(scenario, draft, base=folder, data_dir=data, run_dir=run_dir)


def test_a_csv_becomes_a_federation_that_stages_without_an_edit(new, tmp_path):
    file = written(tmp_path / "patients.csv", patients())
    code, out, err = new("--data", file, "--label", "outcome", "--text", "notes", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["columns"] == {
        "age": "number", "sex": "category", "clinic": "category", "pressure": "number",
        "pain type": "category", "notes": "text",
    }  # fmt: skip
    assert list(told["not-read"]) == ["patient_id"]
    held_out = re.search(r"With (\d+) held-out records", told["verdicts-foreseen"][0])
    assert held_out and 0.2 * RECORDS < int(held_out.group(1)) < 0.5 * RECORDS
    page = (tmp_path / "patients" / "README.md").read_text(encoding="utf-8")
    assert "## What the gate will be able to conclude" in page and held_out.group() in page
    scenario, stage = staged(tmp_path / "patients", tmp_path / "run")
    assert len(scenario.sites) == len(stage.homes) == 4
    # Read by the code of a run, at each site: every record of the file is there, once.
    dealt = [
        read_records(tmp_path / "patients" / "sites" / site.data, stage.charter.data)
        for site in scenario.sites
    ]
    assert sum(map(len, dealt)) == RECORDS
    hashes = [digest for records in dealt for digest in records.row_hashes]
    assert len(set(hashes)) == RECORDS
    policy = (stage.homes["site-1"] / "policy.toml").read_text()
    assert policy == (tmp_path / "patients" / "policy.toml").read_text()
    assert str(tmp_path / "patients" / "sites") in (stage.homes["site-1"] / "site.toml").read_text()


def test_a_column_of_sites_makes_a_site_of_each_value(new, tmp_path):
    rows = list(patients())
    file = written(tmp_path / "own.csv", rows)
    code, _, err = new("--data", file, "--label", "outcome", "--sites", "clinic", "--out", "there")
    assert (code, err) == (0, "")
    scenario, _ = staged(tmp_path / "there", tmp_path / "run")
    assert [site.name for site in scenario.sites] == ["north", "south", "st-mary"]
    with (tmp_path / "there" / "sites" / "st-mary.csv").open(newline="") as held:
        assert list(csv.DictReader(held)) == [row for row in rows if row["clinic"] == "St. Mary"]


def test_json_lines_of_several_classes_stage_too(new, tmp_path):
    file = tmp_path / "own.jsonl"
    grades = ["mild", "severe|worse", "none=0"]
    rows = [row | {"outcome": grades[n % 3], "age": int(row["age"])}
            for n, row in enumerate(patients())]  # fmt: skip
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    code, _, err = new("--data", file, "--label", "outcome", "--split", 3)
    assert (code, err) == (0, "")
    _, stage = staged(tmp_path / "own", tmp_path / "run")
    assert stage.charter.data.label.by_cell == {grades[0]: 0, grades[2]: 1, grades[1]: 2}
    page = (tmp_path / "own" / "README.md").read_text(encoding="utf-8")
    assert "Verdicts are not foreseen" not in page and "the chances of each verdict" in page


def test_spellings_are_put_together_and_records_without_a_label_left_out_if_asked(new, tmp_path):
    yes, no = ("1", "Yes", "yes", "TRUE"), ("0", "no", "No", "N", "FALSE")
    rows = [
        row
        | {
            "outcome": "" if n % 50 == 0 else (yes[n % 4] if row["outcome"] == "1" else no[n % 5]),
            "clinic": row["clinic"].upper() if n % 7 == 0 else row["clinic"],
            "sex": row["sex"].lower() if n % 9 == 0 else row["sex"],
        }
        for n, row in enumerate(patients())
    ]
    file = written(tmp_path / "own.csv", rows)
    words = ("--data", file, "--label", "outcome", "--sensitive", "sex")
    code, out, _ = new(*words)
    assert code == 0 and "6 of 300 records have no label: leave them out? Yes (taken" in out
    text = (tmp_path / "own" / "charter.toml").read_text()
    assert "# DECIDE: 6 of 300 records have no label" in text
    assert new(*words, "--drop-unlabelled", "--out", "asked")[0] == 0
    _, stage = staged(tmp_path / "own", tmp_path / "run")
    terms = stage.charter.data
    assert set(terms.labels.positive) == set(yes) and set(terms.labels.negative) == set(no)
    assert terms.sensitive[0].groups == ("F", "M") and set(terms.sensitive[0].merged) == {"f", "m"}
    clinic = next(column for column in terms.columns if column.name == "clinic")
    assert set(clinic.choices.values()) == {"North", "South", "St. Mary"}
    read = [read_records(path, terms) for path in (tmp_path / "own" / "sites").iterdir()]
    labels = [int(label) for records in read for label in records.labels]
    kept = [row for n, row in enumerate(patients()) if n % 50]
    assert sorted(labels) == sorted(int(row["outcome"]) for row in kept)


def test_annotators_columns_are_counted_and_never_read_by_the_model(new, tmp_path):
    rows = [row | {"first": row["outcome"], "second": str(n % 2) if n % 9 else ""}
            for n, row in enumerate(patients())]  # fmt: skip
    written(tmp_path / "own.csv", rows)
    words = ("--data", "own.csv", "--label", "outcome", "--sensitive", "sex")
    assert new(*words, "--annotators", "first,second")[0] == 0
    _, stage = staged(tmp_path / "own", tmp_path / "run")
    assert not {"first", "second"} & {column.name for column in stage.charter.data.columns}
    asked = stage.charter.annotation
    assert asked.annotators == ("first", "second") and asked.labels == ("0", "1")
    assert any(place.startswith("annotation.guideline") for place in document.unfilled(
        document.load(tmp_path / "own" / "charter.toml")))  # fmt: skip
    assert '"agreement"' in (tmp_path / "own" / "policy.toml").read_text()
    assert "--annotators: 1 columns" in new(*words, "--annotators", "first", "--out", "b")[2]


def test_nobody_can_sign_before_people_have_decided(new, tmp_path):
    file = written(tmp_path / "patients.csv", patients())
    assert new("--data", file, "--label", "outcome")[0] == 0
    folder = tmp_path / "patients"
    text = (folder / "charter.toml").read_text()
    assert "set them from what you know" in text and "# DECIDE" in text
    assert "set ranges and values from\nknowledge" in (folder / "README.md").read_text()
    assert any(place.startswith("ethics.purpose") for place in document.unfilled(
        document.load(folder / "charter.toml")))  # fmt: skip
    _, stage = staged(folder, tmp_path / "run")
    home = stage.homes["site-1"]
    with pytest.raises(CharterError, match="template are left, at ethics"):
        sign(stage.charter, Identity.load(home / "identity.key"), role="site")
    # What the simulation signed says of itself that it is nobody's consent.
    made = load_signatures(signatures_path(home / "charter.json"))
    assert made and all(one.simulated for one in made)


def test_the_folder_is_for_its_owner_and_never_overwritten(new, tmp_path):
    file = written(tmp_path / "patients.csv", patients())
    assert new("--data", file, "--label", "outcome")[0] == 0
    folder = tmp_path / "patients"
    assert folder.stat().st_mode & 0o077 == 0
    assert all(one.stat().st_mode & 0o077 == 0 for one in (folder / "sites").iterdir())
    before = (folder / "charter.toml").read_bytes()
    code, _, err = new("--data", file, "--label", "outcome", "--split", 3)
    assert code == DataError.exit_code and "patients exists" in err
    assert (folder / "charter.toml").read_bytes() == before


def _with(column, value):
    return [row | {column: value(n)} for n, row in enumerate(patients())]


@pytest.mark.parametrize(
    ("rows", "words", "said"),
    [
        (patients(), ["--label", "result"], "no column result"),
        (patients(), ["--label", "OUTCOME"], "no column OUTCOME; OUTCOME is there in other small"),
        (_with("outcome", lambda n: "secretvalue"), [], "outcome has only one value"),
        (_with("outcome", lambda n: ""), [], "empty in 300 records"),
        (_with("sex", lambda n: "ABCDEGHIJKLNO"[n % 13]), [], "no group has 30 records"),
        ([row | {f"c{k}": str(n % (k + 2)) for k in range(200)}
          for n, row in enumerate(patients())], [], " columns for the model to read"),
        (patients(), ["--columns", "age,result"], "no column result"),
        (patients(), ["--task", "sft"], "--label and --task sft"),
        (patients(), ["--task", "regression"], "--task 'regression' is none of"),
        (_with("outcome", lambda n: f"secret{n % 200}"), [], "outcome has 200 values in 300"),
        ([{"sex": "FM"[n % 2], "a": str(n), "outcome": str(n // 3)} for n in range(3006)], [],
         "outcome has 1002 values; a label has 2 to 1,000"),
        (_with("outcome", lambda n: ("2", "2.0", "7")[n % 3]), [], "a number in two ways"),
        (_with("sex", lambda n: f"secret{n % 40}"), [], "sensitive column sex has 40 values"),
        (_with("sex", lambda n: "secretvalue"), [], "sensitive column sex has only one value"),
        (_with("sex", lambda n: "F" if n % 3 else ""), [], "sensitive column sex has only one"),
        (_with("sex", lambda n: "FM"[n % 2] if n % 5 > 2 else ""), [], "sex: empty in 60% of the"),
        (_with("Sex", lambda n: "FM"[n % 2]), ["--sensitive", "sex,Sex"], "two names are the same"),
        (patients(), ["--sensitive", "gender"], "no column gender"),
        (patients(), ["--text", "sex", "--sensitive", "sex"], "a column is named twice"),
        (patients(), ["--split", "2"], "--split: 2 sites; secure sums need 3"),
        (patients(), ["--split", "60"], "a site needs 5 records to train on"),
        (patients(), ["--sites", "patient_id"], "column patient_id has 300 values"),
        (patients(), ["--split", "3", "--sites", "clinic"], "--split or --sites, not both"),
        (patients(), ["--industry", "mining"], "--industry 'mining' is not one of"),
        (patients(), ["--name", "My File"], "--name 'My File'"),
        ([{"a": str(n % 7), "outcome": str(n % 2)} for n in range(60)], [], "--sensitive: name"),
        ([{"sex": "FM"[n % 2], "outcome": str(n % 2)} for n in range(60)], [], "no column is left"),
    ],
)  # fmt: skip
def test_what_cannot_be_drafted_is_one_error_without_a_value_and_nothing_is_written(
    rows, words, said, new, tmp_path
):
    file = written(tmp_path / "own.csv", rows)
    label = [] if "--label" in words else ["--label", "outcome"]
    code, out, err = new("--data", file, *label, *words)
    assert code in (DataError.exit_code, CharterError.exit_code) and out == ""
    assert said in err and "secret" not in err and "Traceback" not in err
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "the file is empty"),
        (b"sex,a,outcome\n", "holds no record"),
        (
            "sex,a,outcome\nF,\xe4,1\n".encode("latin-1") + "F,\xf6,0\n".encode(),
            "in two encodings: line 3 is UTF-8 and line 2 is not",
        ),
        (b"sex,a,outcome\nF,1,5,1\n", "line 2: 4 cells under 3"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_error(content, said, new, tmp_path):
    if content is not None:
        (tmp_path / "own.csv").write_bytes(content)
    code, _, err = new("--data", "own.csv", "--label", "outcome")
    assert code == DataError.exit_code
    assert re.search(said, err, re.IGNORECASE), err
    assert not (tmp_path / "own").exists()


def test_the_page_says_what_chance_alone_leaves_undecided(new, tmp_path):
    rows = [row | {"sex": "FMMM"[n % 4], "outcome": str(n // 4 % 2)}
            for n, row in enumerate(patients(400))]  # fmt: skip
    file = written(tmp_path / "own.csv", rows)
    assert new("--data", file, "--label", "outcome", "--sensitive", "sex")[0] == 0
    page = (tmp_path / "own" / "README.md").read_text()
    drawn = np.random.default_rng(1)
    spread = [1.96 * (drawn.binomial(n, 0.5, 40_000) / n).std() for n in (136, 17, 51)]
    said = [float(one) for one in re.findall(r"± ([0-9.]+)", page)]
    assert said == pytest.approx([spread[0], float(np.hypot(*spread[1:]))], abs=0.01)


@pytest.mark.parametrize(
    ("cells", "ends"),
    [
        (["18", "88"], (10, 90)), (["20", "90"], (10, 100)), (["0", "1"], (0, 2)),
        (["-3", "4"], (-4, 5)), (["0.02", "0.07"], (0.01, 0.08)), (["1000000"] * 2, (0, 2e6)),
    ],
)  # fmt: skip
def test_a_range_is_wider_than_the_records_and_shows_no_end_of_theirs(cells, ends):
    low, high = outwards(list(map(float, cells)))
    assert (low, high) == pytest.approx(ends)
    assert low < min(map(float, cells)) or low == 0
    assert high > max(map(float, cells))


def test_marks_of_nothing_are_told_apart_from_numbers():
    column = found_column("lab", [*map(str, range(50)), "NA", "?", ""])
    assert column.terms.kind == "number" and set(column.terms.not_recorded) == {"NA", "?"}
    assert column.empty == 1 and column.terms.on_empty == "say"
    assert isinstance(found_column("n", list(map(str, range(100)))), LeftOut)


@pytest.mark.parametrize(
    ("name", "cells", "why"),
    [
        ("patient_id", [f"P{n // 2}" for n in range(100)], "values repeat"),
        ("key", [f"k{n:03}x" for n in range(100)], "a different word in every record"),
        ("income", [f"{n},512.30" for n in range(10, 60)] + ["900.1", "NA"], "with a comma"),
        ("ward", ["A"] * 40, "only one value"),
        ("none", [""] * 40, "empty in every record"),
    ],
)
def test_what_says_nothing_or_is_no_plain_number_is_left_out_with_its_reason(name, cells, why):
    found = found_column(name, cells)
    assert isinstance(found, LeftOut) and why in found.why


def test_small_groups_are_put_together_where_there_are_two():
    cells = ["white"] * 90 + ["black"] * 60 + ["asian"] * 12 + ["inuit"] * 3
    feature = found_feature("ethnicity", cells)
    assert dict(feature.sizes) == {"black": 60, "white": 90, "other": 15}
    assert set(feature.terms.merge) == {"asian=other", "inuit=other"}
    assert feature.small == ("other",)
    alone = found_feature("sex", ["F"] * 90 + ["M"] * 60 + ["X"] * 4)
    assert alone.terms.merge == () and alone.small == ("X",) and SMALL > 4


def test_people_whose_group_was_often_not_recorded_are_a_group():
    feature = found_feature("sex", ["F"] * 90 + ["M"] * 60 + [""] * 40)
    assert dict(feature.sizes) == {"F": 90, "M": 60, "not recorded": 40}


def test_a_number_is_cut_into_groups_that_hold_everyone():
    ages = [str(18 + n % 70) for n in range(210)]
    feature = found_feature("Age at visit", ages)
    assert feature.terms.name == "age_at_visit_band"
    edges = feature.terms.edges
    counted = [sum(low <= float(age) < high for age in ages)
               for low, high in zip((-1, *edges), (*edges, 1e9), strict=True)]  # fmt: skip
    assert list(feature.sizes.values()) == counted and min(counted) > 40


@pytest.mark.parametrize(("nothing", "empty"), [("unknown", 0), ("", 0), ("n/a", 5)])
def test_people_whose_number_was_not_recorded_are_a_group_beside_the_bands(nothing, empty):
    feature = found_feature("age", [*map(str, range(20, 90)), *[nothing] * 40, *[""] * empty])
    assert feature.terms.groups[-1] == "not recorded"
    assert sum(feature.sizes.values()) == 70 + 40 + empty
    assert feature.terms.problems() == [] and feature.sizes["not recorded"] == 40 + empty
