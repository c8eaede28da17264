"""`fedethics data similar`: what it finds has its lines, is left out by choice, and is logged."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedethics.benchmarks.benchmark import Facts, Item
from fedethics.benchmarks.registry import find_benchmark
from fedethics.cli.data import app
from fedethics.errors import DataError, SetupError

CHARTER = Path(__file__).parents[2] / "configs" / "redditbias.charter.toml"
TARGETS = ("women", "black people", "jewish people", "lgbtq people", "muslims")
ITEM = "I saw a grandson and their grandfather last week outside the Walmart"


def comment(n):
    return " ".join(f"w{n}x{k}" for k in range(12))


@pytest.fixture
def records(tmp_path):
    """Sixty records; line 62 is line 2 but for its case, line 63 holds a benchmark's item."""
    rows = [(comment(n), TARGETS[n % 5], str(n % 2)) for n in range(60)]
    rows += [(f"{comment(0).upper()}!", "women", "0"), (f"they said: {ITEM}.", "women", "1")]
    path = tmp_path / "site.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("comment", "target", "biased"), *rows])
    return path


@pytest.fixture
def bbq(monkeypatch):
    facts = Facts(id="1", slices=(), unit="1")
    items = [Item(facts=facts, prompt=f"{ITEM}. Who?", choices=(" the one", " the other"))]
    monkeypatch.setattr(type(find_benchmark("bbq")), "members", lambda *_: ())
    monkeypatch.setattr(type(find_benchmark("bbq")), "read", lambda *_: items)
    return ["--benchmarks", "data", "--only", "bbq"]


def run(*words):
    return CliRunner().invoke(app, ["similar", *map(str, words), "--charter", str(CHARTER)])


def test_a_copy_and_a_benchmarks_item_are_found_with_their_lines(records, bbq):
    ended = run(records, *bbq, "--json")
    said = json.loads(ended.stdout)
    assert ended.exit_code == 2  # the item stays in the file
    assert [{one["line"], one["other"]} for one in said["near"]] == [{2, 62}]
    assert said["benchmarks"] == [{"benchmark": "bbq", "items": 1, "of": 1, "lines": [63]}]
    assert "w0x0" not in ended.stdout and "grandson" not in ended.stdout


def test_what_is_left_out_is_logged_and_nothing_is_found_again(records, bbq, tmp_path):
    out = tmp_path / "clean.csv"
    ended = run(records, *bbq, "--out", out)
    assert ended.exit_code == 0, ended.output
    assert "wrote" in ended.stdout and "without 2 records" in ended.stdout
    log = out.with_suffix(".decisions.jsonl").read_text().splitlines()
    decisions = [json.loads(line) for line in log]
    assert {one["decision"] for one in decisions} == {"leave out"}
    assert decisions[-1]["line"] == 63 and "bbq" in decisions[-1]["reason"]
    before, after = (path.read_text().splitlines() for path in (records, out))
    gone = {one["line"] for one in decisions}
    assert after == [line for place, line in enumerate(before, 1) if place not in gone]
    again = run(out, *bbq)
    assert again.exit_code == 0 and "0 records say nearly the same" in again.stdout
    assert isinstance(run(records, "--out", out).exception, DataError)  # it exists


def test_absent_benchmark_data_and_too_little_memory_are_one_error(records, tmp_path):
    assert isinstance(run(records, "--benchmarks", tmp_path).exception, SetupError)
    assert isinstance(run(records, "--only", "bbq").exception, DataError)
    with records.open("a") as file:
        file.writelines(f"{comment(n)},women,1\n" for n in range(100, 300))
    refused = run(records, "--memory", "1")
    assert isinstance(refused.exception, DataError) and "--memory" in str(refused.exception)
