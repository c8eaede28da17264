"""`fedethics data suspects`: planted errors are found by line, and only decisions change a file."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fedethics.cli.data import app
from fedethics.errors import DataError
from fedethics.quality.suspects import confident_suspects, fitted, out_of_fold, softmax

CHARTER = Path(__file__).parents[2] / "configs" / "redditbias.charter.toml"
TARGETS = ("women", "black people", "jewish people", "lgbtq people", "muslims")
WORDS = (("kind", "calm", "fair"), ("cruel", "harsh", "vile"))
WRONG = {12, 31, 50}  # lines


@pytest.fixture
def site(tmp_path):
    path = tmp_path / "site.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("comment", "target", "biased"))
        for n in range(100):
            said = " ".join((*WORDS[n % 2], f"w{n}"))
            rows.writerow((said, TARGETS[n % 5], n % 2 ^ (n + 2 in WRONG)))
    return path


def run(*words):
    return CliRunner().invoke(app, ["suspects", *map(str, words), "--charter", str(CHARTER)])


def test_planted_errors_are_the_suspects_and_no_text_is_shown(site):
    ended = run(site, "--json")
    assert ended.exit_code == 0, ended.output
    found = json.loads(ended.stdout)["suspects"]
    assert {one["line"] for one in found} == WRONG
    assert all(one["label"] != one["likely"] and one["margin"] < 0 for one in found)
    screen = run(site).stdout
    assert "3 of 100 records" in screen
    assert not any(word in screen for word in (*WORDS[0], *WORDS[1]))


def test_decisions_alone_change_the_new_file_and_are_logged(site, tmp_path):
    found = {one["line"]: one for one in json.loads(run(site, "--json").stdout)["suspects"]}
    out = tmp_path / "decided.csv"
    likely = found[12]["likely"]
    ended = run(
        site, "--out", out, "--decide", f"12=relabel:{likely}", "--decide", "31=leave-out",
        "--decide", "50=keep",
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    before, after = (list(csv.reader(path.open(newline=""))) for path in (site, out))
    expected = [row for line, row in enumerate(before, 1) if line != 31]
    expected[11] = [*before[11][:2], str(1 - int(before[11][2]))]
    assert after == expected
    log = out.with_suffix(".decisions.jsonl").read_text().splitlines()
    assert [(one["line"], one["decision"]) for one in map(json.loads, log)] == [
        (12, f"relabel:{likely}"), (31, "leave-out"), (50, "keep"),
    ]  # fmt: skip


@pytest.mark.parametrize("said", ["12=relabel:sad", "12=drop", "1=keep", "x=keep", "999=keep"])
def test_a_decision_that_means_nothing_is_one_error_and_nothing_is_written(site, tmp_path, said):
    out = tmp_path / "decided.csv"
    ended = run(site, "--out", out, "--decide", said)
    assert isinstance(ended.exception, DataError) and said in str(ended.exception)
    assert not out.exists()
    assert isinstance(run(site, "--decide", "12=keep").exception, DataError)


def test_suspects_are_those_of_the_published_rule_written_as_a_loop():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, 200)
    chances = rng.dirichlet(np.full(4, 0.5), 200)
    mean = [np.mean([p[k] for p, y in zip(chances, labels, strict=True) if y == k])
            for k in range(4)]  # fmt: skip
    expected = {}
    for row, (p, y) in enumerate(zip(chances, labels, strict=True)):
        confident = [k for k in range(4) if p[k] >= mean[k]]
        if confident and (best := max(confident, key=lambda k: p[k])) != y:
            expected[row] = (best, p[y] - max(p[k] for k in range(4) if k != y))
    found = confident_suspects(labels, chances)
    assert {one.record: one.likely for one in found} == {k: v[0] for k, v in expected.items()}
    assert [one.margin for one in found] == pytest.approx(sorted(v[1] for v in expected.values()))


def test_suspects_are_those_of_cleanlab():
    filters = pytest.importorskip("cleanlab.filter")
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, 300)
    chances = 0.6 * np.eye(3)[labels] + 0.4 * rng.dirichlet(np.ones(3), 300)
    labels[:20] = (labels[:20] + 1) % 3
    theirs = filters.find_label_issues(
        labels, chances, filter_by="confident_learning",
        return_indices_ranked_by="normalized_margin",
    )  # fmt: skip
    assert [one.record for one in confident_suspects(labels, chances)] == list(theirs)


def test_the_model_is_scikit_learns_and_judges_no_record_it_was_fitted_to():
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(5)
    inputs = np.column_stack([np.ones(90), rng.normal(size=(90, 3))])
    labels = (inputs[:, 1:] @ rng.normal(size=(3, 3)) + rng.gumbel(size=(90, 3))).argmax(axis=1)
    theirs = linear.LogisticRegression(C=1.0, tol=1e-10, max_iter=5000)
    theirs.fit(inputs[:, 1:], labels)
    ours = softmax(inputs @ fitted(inputs, labels, classes=3))
    assert ours == pytest.approx(theirs.predict_proba(inputs[:, 1:]), abs=1e-4)
    folds = np.arange(90) % 5
    before = out_of_fold(inputs, labels, classes=3, folds=folds)
    changed = np.where(folds == 2, (labels + 1) % 3, labels)
    after = out_of_fold(inputs, changed, classes=3, folds=folds)
    assert np.array_equal(before[folds == 2], after[folds == 2])
    assert not np.array_equal(before[folds != 2], after[folds != 2])
