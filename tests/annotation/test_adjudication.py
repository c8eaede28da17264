"""Several labels become one: by majority, by Dawid and Skene's model, or by a person."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from fedethics import terms
from fedethics.aggregates.agreement import AGREEMENT
from fedethics.annotation.adjudication import FEW, NONE, TIE, adjudicated, dawid_skene
from fedethics.charter.document import read_toml

# Dawid and Skene 1979, table 1: 45 patients, the first observer three times, four others once.
TABLE = """\
111 1 1 1 1;333 4 3 3 4;112 2 1 2 2;222 3 1 2 1;222 3 2 2 2;222 3 3 2 2;122 2 1 1 1;333 3 4 3 3
222 2 2 2 3;232 2 2 2 3;444 4 4 4 4;222 3 3 4 3;111 1 1 1 1;222 3 2 1 2;121 1 1 1 1;111 2 1 1 1
111 1 1 1 1;111 1 1 1 1;222 2 2 2 1;222 1 3 2 2;222 2 2 2 2;222 2 2 2 1;222 3 2 2 2;221 2 2 2 2
111 1 1 1 1;111 1 1 1 1;232 2 2 2 2;111 1 1 1 1;111 1 1 1 1;112 1 1 2 1;111 1 1 1 1;333 3 2 3 3
111 1 1 1 1;222 2 2 2 2;222 3 2 3 2;433 4 3 4 3;221 2 2 3 2;232 3 2 3 3;333 3 4 3 2;111 1 1 1 1
111 1 1 1 1;121 2 1 1 1;232 2 2 2 2;121 1 1 1 1;222 2 2 2 2"""


def published():
    rows = [row.split() for row in TABLE.replace("\n", ";").split(";")]
    counts = np.zeros((len(rows), 5, 4))
    for patient, row in enumerate(rows):
        for observer, given in enumerate(row):
            for one in given:
                counts[patient, observer, int(one) - 1] += 1
    return counts


def test_the_published_example_gives_the_published_shares_and_error_rates():
    found = dawid_skene(published())
    assert found.shares == pytest.approx([0.40, 0.42, 0.11, 0.07], abs=0.005)
    first = [[0.89, 0.11, 0, 0], [0.07, 0.88, 0.05, 0], [0, 0.34, 0.66, 0], [0, 0, 0.56, 0.44]]
    assert found.errors[0] == pytest.approx(np.array(first), abs=0.005)
    assert np.diff(found.log_likelihood).min() >= -1e-9


def test_the_last_likelihood_is_that_of_a_plain_loop():
    counts, found = published(), dawid_skene(published())
    total = 0.0
    for patient in range(45):
        likelihood = 0.0
        for true in range(4):
            one = found.shares[true]
            for observer in range(5):
                for given in range(4):
                    one *= found.errors[observer, true, given] ** counts[patient, observer, given]
            likelihood += one
        total += math.log(likelihood)
    assert total == pytest.approx(found.log_likelihood[-1])


def test_a_careless_annotator_is_outvoted_by_a_careful_one_and_majority_ties():
    drawn = np.random.default_rng(3)
    truth = drawn.integers(0, 2, 300)
    labels = []
    rights = {"careful": 0.95, "fair": 0.8, "good": 0.85, "careless": 0.5, "guessing": 0.5}
    for true in truth:
        labels.append({name: int(true if drawn.random() < right else 1 - true)
                       for name, right in rights.items()})  # fmt: skip
    pairs = [{name: one[name] for name in ("careful", "careless")} for one in labels]

    def right(verdicts):
        return sum(found.label == true for found, true in zip(verdicts, truth, strict=True))

    none = [None] * len(truth)
    ours = adjudicated(labels, none, method="dawid-skene", size=2)
    assert right(ours) > right(adjudicated(labels, none, method="majority", size=2))
    tied = adjudicated(pairs, none, method="majority", size=2)
    assert sum(one.why == TIE for one in tied) == sum(len(set(p.values())) > 1 for p in pairs) > 90


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("majority", [(0, "unanimous"), (1, "majority"), (None, TIE), (None, NONE)]),
        ("adjudicator", [(0, "unanimous"), *[(None, "not unanimous, and the adjudicator said "
                                              "nothing")] * 2, (None, NONE)]),
    ],
)  # fmt: skip
def test_each_method_says_why(method, expected):
    labels = [{"a": 0, "b": 0}, {"a": 1, "b": 0, "c": 1}, {"a": 0, "b": 1}, {}]
    found = adjudicated(labels, [None] * 4, method=method, size=2)
    assert [(one.label, one.why) for one in found] == expected
    # What a person settled stands, whatever others said; too few labels decide nothing else.
    settled = adjudicated(labels, [1, None, None, 0], method=method, size=2, fewest=3)
    assert [one.label for one in settled] == [1, expected[1][0], None, 0]
    assert settled[2].why == FEW and settled[0].confidence == 1.0


def test_records_without_a_label_leave_the_model_as_it_is():
    rows = [{"a": 0, "b": 0}, {}, {"a": 1, "b": 1}]
    found = adjudicated(rows, [None] * 3, method="dawid-skene", size=3)
    assert [one.label for one in found] == [0, None, 1] and found[1].why == NONE
    assert adjudicated([{}], [None], method="dawid-skene", size=2)[0].label is None


def test_those_who_sign_are_shown_how_labels_are_decided(heart_text):
    text = heart_text + (
        '\n[annotation]\nannotators = ["first", "second"]\nlabels = ["0", "1"]\n'
        'guideline = "1 if there is a narrowing."\nadjudication = "adjudicator"\n'
        'adjudicator = "dr-lee"\nper-record = 2\nunresolved = "keep"\n'
    )
    charter = read_toml(text.encode(), Path("heart.toml"))
    asked = {name: said for name, said, _ in AGREEMENT.asks(charter)}
    assert asked["labels decided"] == (
        "adjudicator by dr-lee, 2 labels a record at least; else keep"
    )


def test_a_charter_without_adjudication_is_the_document_that_it_was(heart_text):
    text = heart_text + (
        '\n[annotation]\nannotators = ["first", "second"]\nlabels = ["0", "1"]\nguideline = "x"\n'
    )
    said = terms.document(read_toml(text.encode(), Path("heart.toml")))["annotation"]
    assert set(said) == {
        "annotators", "labels", "level", "guideline", "guideline-sha256", "confidence", "epsilon"
    }  # fmt: skip
