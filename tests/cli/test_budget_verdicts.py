"""`fedethics budget plan --held-out`: what the gate will be able to conclude, in table and JSON."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[2] / "configs"
HEART = CONFIGS / "heart.charter.toml"


@pytest.fixture(scope="module")
def one_objective(tmp_path_factory):
    """The heart charter with its floor on accuracy alone."""
    blocks = re.split(r"(?=^\[)", HEART.read_text(encoding="utf-8"), flags=re.MULTILINE)
    kept = [
        block
        for block in blocks
        if not block.startswith("[[ethics.objectives]]") or '"accuracy_score"' in block
    ]
    path = tmp_path_factory.mktemp("charter") / "charter.toml"
    path.write_text("".join(kept), encoding="utf-8")
    return path


def test_the_chances_stand_in_the_document_and_in_the_table(fedethics, one_objective):
    asked = ("budget", "plan", one_objective, "--held-out", 800, "--base-rate", "0.56")
    told = fedethics(*asked, "--json").json["verdicts"]
    (objective,) = told["objectives"]
    assert (objective["name"], objective["decidable"], objective["records"]) == (
        "accuracy_score", True, 800
    )  # fmt: skip
    for level in (*objective["levels"], *told["gate"]):
        for side in ("with-noise", "without-noise"):
            chances = [level[side][key] for key in ("holds", "fails", "cannot-conclude")]
            assert sum(chances) == pytest.approx(1) and min(chances) >= -1e-9
    assert [level["truth"] for level in told["gate"]] == ["best", "half-way", "bar", "twice"]
    assert objective["levels"][0]["with-noise"]["holds"] == 1
    assert objective["levels"][3]["with-noise"]["fails"] == 1

    out = fedethics(*asked).out
    shown = " ".join(out.split())
    assert "Verdicts that can be reached with 800 held-out records" in shown
    assert "Can be decided: accuracy_score." in shown
    assert "groups of sex of equal size" in shown


def test_without_held_out_records_nothing_is_foreseen(fedethics):
    assert fedethics("budget", "plan", HEART, "--json").json["verdicts"] is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--held-out", 0), "at least one record"),
        (("--held-out", 9, "--groups", "race=9"), "'race' is not declared; declared: sex, age_"),
        (("--held-out", 9, "--groups", "sex=4,4"), "4, 4 are 8 records, --held-out says 9"),
        (("--held-out", 9, "--groups", "sex=9"), "in this order: Female, Male"),
        (("--held-out", 9, "--groups", "sex=four,5"), "'four' is not a number"),
        (("--held-out", 9, "--groups", "sex"), "expected FEATURE=N,N"),
        (("--held-out", 9, "--groups", "sex=4,5", "--groups", "sex=5,4"), "'sex' is given twice"),
        (("--held-out", 9, "--base-rate", "2"), "not a share"),
        (("--held-out", 9, "--base-rate", "x"), "'x' is not a number"),
        (("--held-out", 9, "--base-rate", "0.1", "--base-rate", "0.2"), "given once"),
        (("--held-out", 9, "--accuracy", "1"), "--accuracy 1"),
        (("--groups", "sex=4,5"), "give their number with --held-out"),
    ],
)
def test_what_cannot_be_is_one_error(fedethics, options, says):
    outcome = fedethics("budget", "plan", HEART, *options)
    assert outcome.exit_code != 0 and outcome.out == ""
    assert says in " ".join(outcome.err.split())


def test_verdicts_need_a_charter(fedethics):
    outcome = fedethics("budget", "plan", "--records", 100, "--held-out", 50)
    assert outcome.exit_code != 0 and "needs a charter" in outcome.err
