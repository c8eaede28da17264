"""Each page opens with its reader's question; the gate's list says what its rules leave out."""

from __future__ import annotations

import dataclasses
import io
import re

import pytest

from fedethics.cli.output import Terminal
from fedethics.cli.release import show
from fedethics.fairness import Estimate, GroupEstimate
from fedethics.release import folder, gate
from fedethics.release.figures import look
from fedethics.release.plots import Line, _thinned, over_rounds
from fedethics.release.readers import READERS
from fedethics.release.rules.rule import Findings, Rule, overall
from fedethics.release.sections import people

HTML = tuple(page.file for page in READERS)


def first_screen(published, name: str) -> str:
    page = (published / name).read_text(encoding="utf-8")
    return page[page.index("<main>") : page.index("<nav")]


def test_no_two_pages_open_with_the_same_question_or_answer(published):
    screens = [first_screen(published, name) for name in HTML]
    for tag, kind in (("h1", "[^>]*"), ("p", ' class="harm"')):
        said = [re.search(rf"<{tag}{kind}>(.*?)</{tag}>", one).group(1) for one in screens]
        assert len(set(said)) == len(READERS) == 5


def test_the_privacy_officer_reads_what_was_paid_and_the_regulator_what_is_missing(published):
    privacy, regulator = (first_screen(published, name) for name in HTML[1:3])
    assert "What can this release reveal about one record" in privacy
    assert "At all 4 sites this run spent no more than was agreed" in privacy
    assert re.search(r"Of 2\d items of Annex IV, \d+ are answered here", regulator)


def test_a_sites_operator_reads_what_left_and_the_researcher_how_well_it_works(published):
    site, researcher = (first_screen(published, name) for name in HTML[3:])
    assert re.search(r"\d+ sums were opened, each over at least [34] sites \(agreed: 3\)", site)
    assert "ledger verify" in site and "release score" in site and "cleveland" in site
    assert "roc auc score" in researcher and "LoRA of rank" in researcher
    assert "learning rate" in researcher


def rule(verdict: str) -> Rule:
    return Rule(name="x", topic="privacy", verdict=verdict, sentence="y", evidence="z")


@pytest.mark.parametrize(
    ("verdicts", "together"),
    [
        (("pass", "not informative"), "pass"),
        (("not informative",), "cannot conclude"),
        (("not informative", "cannot conclude"), "cannot conclude"),
        (("not informative", "fail"), "fail"),
        ((), "cannot conclude"),
    ],
)
def test_what_could_not_have_failed_is_no_pass_and_no_fault(verdicts, together):
    assert overall([rule(one) for one in verdicts]) == together


def test_a_finding_outweighs_that_nothing_could_be_found():
    assert Findings(idle="why").verdict() == "not informative"
    assert Findings(idle="why", gaps=("g",)).verdict() == "cannot conclude"
    assert Findings(idle="why", faults=("f",)).verdict() == "fail"


def test_the_gate_denies_nothing_that_a_rule_of_it_holds(stage, heart, lay):
    report = gate.examine(lay(stage, heart))
    verdicts = {one.name: one.verdict for one in report.rules}
    assert verdicts["the adapter that was evaluated"] == "pass"
    assert not [one for one in report.not_covered if "adapter file is the model" in one]
    assert any("could have failed" in one for one in report.not_covered)


def test_what_no_rule_holds_is_listed(stage, heart, lay):
    silent = dataclasses.replace(heart, receipts=heart.receipts[1:])
    report = gate.examine(lay(stage, silent))
    assert [one for one in report.not_covered if "adapter file is the model" in one]
    secagg = dataclasses.replace(stage.charter.secagg, verify_slices=False)
    unchecked = stage.with_charter(secagg=secagg)
    report = gate.examine(lay(unchecked, unchecked.evidence()))
    assert "false sums: the charter lets no site recompute a slice of them" in report.not_covered


def test_the_headline_says_where_a_rule_could_not_have_failed(stage, lay):
    opened = folder.load(lay(stage, stage.evidence(records=20_000, skill=3.2)))
    judged = gate.judge(opened)
    held = tuple(one for one in judged.rules if one.verdict == "pass")
    idle = dataclasses.replace(judged, rules=(*held, rule("not informative")))
    shown = people.build(opened, idle)
    assert shown.headline == "Every rule that could fail holds"
    assert f"{len(held)} of {len(held) + 1} rules hold" in shown.meaning and "fail: x." in (
        shown.meaning
    )
    whole = dataclasses.replace(judged, rules=held)
    assert people.build(opened, whole).headline == "Every rule holds"


def missed(**values: float | None) -> dict[str, GroupEstimate]:
    """False negative rates by group; None for one that noise cut."""
    size = Estimate(value=50.0, low=40.0, high=60.0, confidence=0.95)
    return {
        name: GroupEstimate(
            estimate=Estimate(
                value=0.0 if value is None else value,
                low=0.0,
                high=0.5,
                confidence=0.95,
                cut=value is None,
            ),
            size=size,
            suppressed=False,
            reason="",
        )
        for name, value in values.items()
    }


@pytest.mark.parametrize(
    "values",
    [
        {"Female": 0.2, "Male": 0.2},
        {"Female": 0.0, "Male": 0.0},
        {"Female": 0.0, "Male": 0.1, "Other": 0.0},
        {"Female": None, "Male": 0.1},
        {"Female": None, "Male": None},
        {"Female": None, "Male": 0.1, "Other": 0.3},
        {"Female": 0.3},
    ],
)
def test_no_group_is_both_the_most_and_the_least_often_missed(values):
    said = people._worst(missed(**values), does="misses disease")
    named = re.findall(r"most often in the group “(\w+)”|least often in “(\w+)”", said)
    groups = [one or other for one, other in named]
    assert len(groups) == len(set(groups)) and len(groups) in (0, 2)
    for name, value in values.items():
        if value is None:
            assert name not in groups and "no estimate for" in said and name in said


def test_no_two_series_of_a_figure_look_alike():
    looks = [look(index) for index in range(144)]
    assert len({(one.colour, one.marker, one.face) for one in looks}) == 144
    # Whoever sees no colour tells the first 24 apart by shape and filling.
    hollow = [(one.marker, one.face == one.colour) for one in looks[:24]]
    assert len(set(hollow)) == 24
    assert len({(one.colour, one.dash) for one in looks[:24]}) == 24


@pytest.mark.parametrize("rounds", range(1, 60))
def test_the_axis_names_the_last_round(rounds):
    ticks = _thinned([float(each) for each in range(1, rounds + 1)])
    assert ticks[-1] == rounds and len(ticks) <= 12


def test_a_legend_leaves_out_no_name():
    drawing = over_rounds(
        [Line(label=name, x=(1.0, 2.0), y=(0.1, 0.2)) for name in ("_hidden", "$x$", "plain")],
        name="n", title="t", description="d", y="y",
    )  # fmt: skip
    for name in ("_hidden", "$x$", "plain"):
        assert name in str(drawing)


def test_a_verdict_never_runs_into_the_name_beside_it(stage, heart, lay):
    out = io.StringIO()
    screen = Terminal(file=out)
    screen.width = 200
    report = gate.examine(lay(stage, heart))
    show(report, screen)
    for each in report.rules:
        assert f"{each.verdict:<15}  {each.name}" in out.getvalue()
