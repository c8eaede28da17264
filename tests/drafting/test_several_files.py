"""Files as hospitals export them become one federation, and what only a person knows is asked."""

from __future__ import annotations

import codecs
import csv
import io
import os
import random
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from fedethics.charter import document
from fedethics.data.file_terms import DataFile
from fedethics.data.reading import read_records
from fedethics.drafting.file_reading import seen
from fedethics.errors import DataError
from tests.drafting.test_new import new, patients, staged, written

ROOT = Path(__file__).resolve().parents[2]
__all__ = ["new"]
SITES = ("north", "south", "west", "east")
NAMES = ("patient_id", "admitted", "sex", "city", "pressure", "notes", "outcome")


def stays(site, records=90):
    """Records of one hospital in plain form; several of one person, and two without a label."""
    drawn = random.Random(site)
    for number in range(records):
        yield {
            "patient_id": f"{site[0].upper()}{drawn.randrange(60):03}",
            "admitted": f"20{drawn.randint(19, 22)}-{drawn.randint(1, 12):02}-{1 + number % 28:02}",
            "sex": "FM"[number // 2 % 2],
            "city": drawn.choice(["Zürich", "Málaga", "Aarhus"]),
            "pressure": f"{drawn.gauss(1200, 150):.1f}" if number % 9 else "",
            "notes": drawn.choice(['said "fine", then left', "pain; oedema", "no complaints"]),
            "outcome": "" if number in (5, 50) else str(number % 2),
        }


def spoilt(row, number, *, comma=False, day="%d", spelled=str):
    """The record as somebody's program and somebody's hand write it."""
    year, month, of_month = row["admitted"].split("-")
    pressure = row["pressure"]
    if pressure and number % 2:
        whole, _, rest = pressure.rpartition(".")
        pressure = f"{int(whole):,}.{rest}"
    if comma:
        pressure = pressure.translate(str.maketrans(",.", ".,"))
    sex = {"F": ("F", "F", "f", "Female "), "M": ("M", "M", "male", "m")}[row["sex"]][
        number // 3 % 4
    ]
    return row | {
        "admitted": day.format(y=year, m=month, d=of_month), "sex": sex, "pressure": pressure,
        "outcome": spelled(row["outcome"]),
    }  # fmt: skip


def text_of(rows, names=NAMES, *, delimiter=",", end="\n"):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerow(names)
    writer.writerows([row.get(name, "") for name in names] for row in rows)
    return text.getvalue()


def exported(folder):
    """Write four exports with the faults that real ones have; return the records in plain form."""
    plain = {site: list(stays(site)) for site in SITES}
    rows = {
        site: [spoilt(row, number, **ways) for number, row in enumerate(plain[site])]
        for site, ways in {
            "north": {"day": "{d}/{m}/{y}"},
            "south": {"day": "{d}.{m}.{y}", "comma": True},
            "west": {"day": "{y}-{m}-{d}"},
            "east": {"day": "{y}-{m}-{d}", "spelled": lambda cell: cell and f"{cell}.0"},
        }.items()
    }
    for number, row in enumerate(rows["east"]):
        if number % 3 == 0:
            row["city"] = unicodedata.normalize("NFD", row["city"])
            row["outcome"] = row["outcome"].removesuffix(".0")
        if number % 5 == 0:
            row["notes"] += "\u200b"
    contents = {
        "north": codecs.BOM_UTF8 + text_of(rows["north"], end="\r\n").encode(),
        "south": ("sep=;\r\n" + text_of(rows["south"], (*NAMES, "", ""), delimiter=";",
                                        end="\r\n")).encode("windows-1252"),
        "west": text_of(rows["west"], delimiter="\t").encode("utf-16"),
        "east": text_of(rows["east"], (*NAMES[:-1], "outcome\u200b")).replace(
            '"outcome\u200b"', "outcome\u200b").encode(),
    }  # fmt: skip
    for row in rows["east"]:
        row["outcome\u200b"] = row["outcome"]
    contents["east"] = text_of(rows["east"], (*NAMES[:-1], "outcome\u200b")).encode()
    folder.mkdir()
    for site, content in contents.items():
        (folder / f"{site}.csv").write_bytes(content)
    return plain


def at_a_terminal(monkeypatch, answers):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Terminal("".join(f"{answer}\n" for answer in answers)))


def test_each_export_is_seen_for_what_it_is(tmp_path):
    exported(tmp_path / "files")
    said = {site: seen(DataFile(tmp_path / "files" / f"{site}.csv")).said for site in SITES}
    assert said == {
        "north": "thousands-mark comma, date-format %d/%m/%Y",
        "south": "encoding windows-1252, delimiter semicolon, decimal-mark comma, thousands-mark "
        "point, date-format %d.%m.%Y",
        "west": "encoding utf-16, delimiter tab, thousands-mark comma",
        "east": "thousands-mark comma, remove-invisible true",
    }


@pytest.mark.parametrize("answers", [["y", "y", "y"], []], ids=["at a terminal", "without one"])
def test_a_folder_of_exports_becomes_the_records_that_were_meant(
    answers, new, monkeypatch, tmp_path
):
    plain = exported(tmp_path / "files")
    if answers:
        at_a_terminal(monkeypatch, answers)
    code, out, err = new("--data", "files", "--label", "outcome", "--out", "drafted")
    assert code == 0, err
    assert err.count("[Y/n]") == len(answers) and out.count("nobody was asked") == 3 - len(answers)
    marked = (tmp_path / "drafted" / "charter.toml").read_text()
    assert marked.count("# DECIDE: Read the files so?") == 1
    _, stage = staged(tmp_path / "drafted", tmp_path / "run")
    terms = stage.charter.data
    assert terms.sensitive[0].groups == ("F", "M") and terms.person == "patient_id"
    assert stage.charter.privacy.unit == "person"
    for site, rows in plain.items():
        with (tmp_path / "drafted" / "sites" / f"{site}.csv").open(newline="") as file:
            read = list(csv.DictReader(file))
        assert [row["outcome"].removesuffix(".0") for row in read] == [
            row["outcome"] for row in rows
        ]
        for name in ("patient_id", "admitted", "city", "pressure", "notes"):
            assert [row[name] for row in read] == [row[name] for row in rows], (site, name)
        records = read_records(tmp_path / "drafted" / "sites" / f"{site}.csv", terms)
        assert records.dropped == {"outcome is empty": 2} and len(records) == 88


@pytest.mark.parametrize(
    ("answers", "said"), [(["n"], "--read KEY=VALUE"), (["y", "n"], "empty in 8 records")]
)
def test_a_no_writes_nothing_and_says_what_to_do(answers, said, new, monkeypatch, tmp_path):
    exported(tmp_path / "files")
    at_a_terminal(monkeypatch, answers)
    code, _, err = new("--data", "files", "--label", "outcome", "--out", "drafted")
    assert code == DataError.exit_code and said in err and "Nothing was written" in err
    assert not (tmp_path / "drafted").exists()


def test_ids_that_are_no_persons_leave_the_unit_a_record(new, monkeypatch, tmp_path):
    exported(tmp_path / "files")
    at_a_terminal(monkeypatch, ["y", "y", "n"])
    assert new("--data", "files", "--label", "outcome", "--out", "drafted")[0] == 0
    assert document.load(tmp_path / "drafted" / "charter.toml").privacy.unit == "record"


def test_a_person_is_at_one_simulated_site(new, tmp_path):
    written(tmp_path / "own.csv", [row for site in SITES for row in stays(site)])
    code, _, err = new("--data", "own.csv", "--label", "outcome", "--split", 3)
    assert (code, err) == (0, "")
    held = []
    for path in (tmp_path / "own" / "sites").iterdir():
        with path.open(newline="") as file:
            held.append({row["patient_id"] for row in csv.DictReader(file)})
    assert sum(map(len, held)) == len(set().union(*held)) > 100


def test_parquet_files_are_sites_too(new, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    for number, site in enumerate(SITES[:3]):
        rows = list(patients())[number::3]
        pandas.DataFrame(rows).to_parquet(tmp_path / f"{site}.parquet")
    words = [word for site in SITES[:3] for word in ("--data", f"{site}.parquet")]
    code, _, err = new(*words, "--label", "outcome", "--name", "own", "--json")
    assert (code, err) == (0, "")
    scenario, _ = staged(tmp_path / "own", tmp_path / "run")
    assert [site.name for site in scenario.sites] == list(SITES[:3])


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (("a/north.csv", "b/north.csv", "c.csv"), "two of them would be site 'north'"),
        (("a/north.csv", "a/north.csv", "c.csv"), "a file is named twice"),
        (("a/north.csv", "all.csv", "c.csv"), "100 of the 100 records of c stand in all too"),
        (("a/north.csv", "c.csv"), "2 sites; secure sums need 3"),
        (("empty",), "empty has no file of records"),
    ],
)
def test_files_that_are_no_sites_are_one_error(paths, said, new, tmp_path):
    (tmp_path / "empty").mkdir()
    rows = list(patients())
    parts = {"a/north.csv": rows[:100], "b/north.csv": rows[100:200], "c.csv": rows[200:],
             "all.csv": rows}  # fmt: skip
    for name in set(paths) & set(parts):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        written(tmp_path / name, parts[name])
    before = sorted(tmp_path.rglob("*"))
    words = [word for path in paths for word in ("--data", path)]
    code, _, err = new(*words, "--label", "outcome", "--name", "own")
    assert code == DataError.exit_code and said in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["1,512", "2,400"], ""),  # a decimal comma, or thousands
        (["1,512", "2,4"], "decimal-mark comma"),
        (["1,512,000", "2,400"], "thousands-mark comma"),
        (["1.512,5", "2,4"], "decimal-mark comma, thousands-mark point"),
        (["1'512.5", "900"], "thousands-mark apostrophe"),
        (["12,5", "3.5"], ""),  # no mark reads both
        (["01/02/2020", "03/04/2020"], ""),  # a day that two formats read
        (["01/02/2020", "13/04/2020"], "date-format %d/%m/%Y"),
        (["2020-01-02", "2020-02-03"], ""),
    ],
)
def test_only_what_can_be_read_in_one_way_is_proposed(cells, said, tmp_path):
    path = written(tmp_path / "own.csv", [{"a": cell, "b": "x"} for cell in cells])
    assert seen(DataFile(path)).said == said


@pytest.mark.slow
def test_the_draft_of_a_folder_of_exports_runs_to_its_report_without_an_edit(new, tmp_path):
    """Two commands; the rounds alone are made fewer, to save time."""
    exported(tmp_path / "files")
    assert new("--data", "files", "--label", "outcome", "--out", "patients")[0] == 0
    charter = tmp_path / "patients" / "charter.toml"
    charter.write_text(charter.read_text().replace("rounds = 5", "rounds = 1"))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "fedethics.cli.main", "simulate", "patients",
         "--run-id", "r"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "r" / "report.html").is_file()
