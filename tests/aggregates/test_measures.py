"""Measures of held-out texts: what one record moves, what it costs, what the gate says of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fedethics.aggregates.measures import GRID, MEASURES, layout_of_measures
from fedethics.aggregates.measures.gate import examine
from fedethics.aggregates.measures.opened import OpenedMeasures
from fedethics.aggregates.measures.report import build
from fedethics.aggregates.measures.site import Numbers, tabulate_values
from fedethics.aggregates.schedule import sum_specs, sums_of
from fedethics.charter import document
from fedethics.charter.document import load
from fedethics.charter.measure_terms import GenerationTerms, MeasureObjective, MeasureTerms
from fedethics.charter.model import Member
from fedethics.errors import CharterError, FairnessError
from fedethics.learning_tasks.free_text.measured import TOKENS
from fedethics.learning_tasks.preference.measured import PAIRS
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.plan import make_plan
from fedethics.release.evidence import Counted
from fedethics.release.rules.bars import together
from tests.privacy.charters import with_terms

LETTERS = Path(__file__).parents[2] / "examples" / "sft" / "letters.charter.toml"
ACCURATE = MeasureObjective(metric="token_accuracy", bar=0.6, direction="at-least", why="Useful.")
ALIKE = MeasureObjective(
    metric="token_loss_difference", bar=0.5, direction="at-most", why="Both alike."
)
ASKED = MeasureTerms(
    names=("token_accuracy", "token_loss"), feature="addressee", epsilon=2.0,
    objectives=(ACCURATE, ALIKE),
)  # fmt: skip


@pytest.fixture(scope="module")
def letters():
    roster = tuple(
        Member(site=site, public_key=f"{place:02x}" * 32, declared_records=2000)
        for place, site in enumerate(("east", "north", "south"), start=1)
    )
    return dataclasses.replace(load(LETTERS), roster=roster, measures=ASKED)


def values(rng, n):
    accuracy = rng.beta(7, 3, n)
    return {"token_accuracy": accuracy, "token_loss": (1 - accuracy) * 0.8}


def numbers(found):
    """Every record measured."""
    return {name: Numbers(rows=np.arange(len(own)), values=own) for name, own in found.items()}


def test_a_record_moves_each_measure_by_the_grid_in_its_own_group_and_nothing_else(letters):
    layout, rng = layout_of_measures(letters), np.random.default_rng(0)
    groups, found = rng.integers(0, 2, 40), values(rng, 40)
    whole = tabulate_values(layout, groups=groups, numbers=numbers(found))
    assert len(whole) == layout.length == 2 * 2 * 2 + 2 * 2
    for left_out in range(40):
        keep = np.arange(40) != left_out
        fewer = tabulate_values(
            layout,
            groups=groups[keep],
            numbers=numbers({name: own[keep] for name, own in found.items()}),
        )
        moved = (whole - fewer).reshape(-1)
        pairs = moved[: layout.values_length].reshape(2, 2, 2)
        assert (moved >= 0).all()
        assert pairs[:, groups[left_out]].sum(axis=1).tolist() == [GRID, GRID]
        assert not pairs[:, 1 - groups[left_out]].any()
        spreads = moved[layout.values_length :].reshape(2, 2)
        assert spreads.max() <= GRID and not spreads[:, 1 - groups[left_out]].any()


def test_a_measure_that_is_missing_or_outside_its_bounds_is_not_sent(letters):
    layout, groups = layout_of_measures(letters), np.zeros(3, dtype=int)
    one = np.array([0.1, 0.2, 0.3])
    told = {"token_accuracy": one, "token_loss": one}
    for wrong, why in (
        (numbers({"token_accuracy": one}), "token_loss was not measured"),
        (numbers(told | {"token_loss": 9 * one}), "outside"),
        (numbers(told) | {"token_loss": Numbers(rows=np.array([0, 0]), values=one[:2])}, "twice"),
    ):
        with pytest.raises(FairnessError, match=why):
            tabulate_values(layout, groups=groups, numbers=wrong)


def test_losses_are_cut_where_the_charter_says_and_what_cannot_be_read_counts_as_the_worst():
    scores = np.array([[np.exp(-1.0), 0.5, 0.0], [np.exp(-9.0), 0.25, 0.0], [0.0, 0.0, 0.0]])
    assert TOKENS.values["token_loss"](scores, 4.0) == pytest.approx([0.25, 1.0, 1.0])
    assert TOKENS.values["token_accuracy"](scores, 4.0).tolist() == [0.5, 0.25, 0.0]
    margin = np.array([0.0, 0.5, -3.0, 30.0, -600.0])
    sigmoid = 1 / (1 + np.exp(-margin))
    found = PAIRS.values["preference_margin"](np.append(sigmoid, 1.0), 4.0)
    assert found == pytest.approx([0.5, 0.5625, 0.125, 1.0, 0.0, 1.0])


def test_what_it_costs_is_the_epsilon_of_the_charter_and_a_part_of_the_evaluations(letters):
    plan = make_plan(letters)
    own = MEASURES.of(plan.sums)
    delta = letters.privacy.delta
    assert 1.9 < epsilon(own.events, delta=delta) <= 2.0
    assert epsilon(plan.evaluation.events, delta=delta) <= letters.privacy.evaluation.epsilon
    assert own.values.event.sensitivity == GRID and own.values.event.releases == 2
    # Coarser noise for the rest: nothing is free.
    before = make_plan(dataclasses.replace(letters, measures=None))
    assert plan.fairness.counts.std > before.fairness.counts.std
    assert MEASURES.name not in before.sums


def test_a_person_with_many_records_is_paid_for(letters):
    data = dataclasses.replace(letters.data, person="who", max_rows_per_person=3)
    person = with_terms(dataclasses.replace(letters, data=data), unit="person")
    event = MEASURES.of(make_plan(person).sums).values.event
    assert event.sensitivity == 3 * GRID


def test_it_is_summed_once_before_the_group_tables_end_the_run(letters):
    plan = make_plan(letters)
    due = [name for name, _ in sums_of(letters, plan)]
    assert due[-2:] == ["measures", "fairness"] and due.count("measures") == 1
    spec = sum_specs(letters, vector_length=10)["measures"]
    assert spec.length == 12 and spec.whole_cohort


WRONG = [
    ({"names": ("charm",)}, "'charm' is no measure of model.task 'sft'; it has: token_accuracy"),
    ({"names": ()}, "nothing is measured"),
    ({"generation": GenerationTerms(scorers=("rouge_l/9",))}, "'rouge_l/9' is not installed here"),
    ({"feature": "height", "objectives": ()}, "'height' is not a sensitive feature"),
    ({"epsilon": 3.0}, "leaves nothing of privacy.evaluation.epsilon 3"),
    ({"feature": ""}, "compares groups, and measures.feature names none"),
    ({"objectives": (dataclasses.replace(ACCURATE, bar=1.5),)}, "outside [0, 1]"),
    ({"objectives": (dataclasses.replace(ALIKE, direction="at-least"),)}, "asked to be at-most"),
    ({"objectives": (dataclasses.replace(ACCURATE, metric="f1_score"),)}, "none of measures.names"),
]


@pytest.mark.parametrize(("changes", "why"), WRONG)
def test_a_charter_whose_measures_could_not_be_told_is_refused(letters, changes, why):
    drafted = dataclasses.replace(
        letters, roster=(), measures=dataclasses.replace(ASKED, **changes)
    )
    with pytest.raises(CharterError) as refused:
        document.parse(document.encode(drafted))
    assert why in str(refused.value)


def test_a_charter_without_measures_is_the_charter_that_it_was(letters):
    drafted = dataclasses.replace(letters, roster=())
    assert document.parse(document.encode(drafted)) == drafted
    assert document.hash_of(load(LETTERS)) == document.hash_of(
        dataclasses.replace(drafted, measures=None)
    )
    assert b"measures" not in document.encode(load(LETTERS))


def noised(letters, *, gap=0.0, level=0.75, records=3000, seed=3):
    """The opened sum over records with this token accuracy, women's above men's by `gap`."""
    rng, layout = np.random.default_rng(seed), layout_of_measures(letters)
    groups = rng.integers(0, 2, records)
    accuracy = (level + gap * (0.5 - groups) + rng.normal(0, 0.1, records)).clip(0, 1)
    counts = tabulate_values(
        layout,
        groups=groups,
        numbers=numbers({"token_accuracy": accuracy, "token_loss": 1 - accuracy}),
    )
    plan = MEASURES.of(make_plan(letters).sums)
    stds = [plan.values.sum_std] * layout.values_length
    stds += [plan.spread.sum_std] * (layout.length - layout.values_length)
    return tuple(int(one) for one in counts + np.rint(rng.normal(0, stds)).astype(int)), accuracy


def run_with(letters, counts, *, kind="measures"):
    opened = Counted(kind=kind, round=letters.training.rounds, counts=counts)
    evidence = SimpleNamespace(counted=(opened,), rounds=())
    return SimpleNamespace(charter=letters, evidence=evidence)


def test_figures_come_in_the_measures_own_unit_with_their_noise(letters):
    counts, accuracy = noised(letters)
    found = OpenedMeasures(letters, counts)
    share = found.estimate("token_accuracy", confidence=0.95)
    nats = found.estimate("token_loss", confidence=0.95)
    assert share.low < accuracy.mean() < share.high and share.high - share.low < 0.1
    # The made-up loss is 4 (1 - accuracy) nats.
    assert nats.low < 4 * (1 - accuracy.mean()) < nats.high
    assert set(found.by_group("token_loss", confidence=0.95)) == {"woman", "man"}


@pytest.mark.parametrize(
    ("level", "gap", "verdicts"),
    [
        (0.75, 0.0, ("pass", "pass")),
        (0.45, 0.0, ("fail", "pass")),
        (0.75, 0.35, ("pass", "fail")),
        (0.60, 0.125, ("cannot conclude", "cannot conclude")),
    ],
)
def test_each_bar_is_one_rule_and_a_bar_within_the_interval_stays_open(
    letters, level, gap, verdicts
):
    counts, _ = noised(letters, level=level, gap=gap)
    rules = together(examine(run_with(letters, counts)))
    assert tuple(rule.verdict for rule in rules) == verdicts
    assert rules[0].figure.bar == 0.6 and "token_accuracy is 0." in rules[0].sentence


def test_scorers_are_measures_that_have_no_spread_where_they_are_0_or_1(letters):
    asked = GenerationTerms(scorers=("exact_match/1", "rouge_l/1"))
    layout = layout_of_measures(
        dataclasses.replace(letters, measures=dataclasses.replace(ASKED, generation=asked))
    )
    assert list(layout.measures) == ["token_accuracy", "token_loss", "exact_match", "rouge_l"]
    assert layout.spread_names == ("token_accuracy", "token_loss", "rouge_l")
    one = np.linspace(0, 1, 5)
    answered = Numbers(rows=np.array([1, 4]), values=np.array([1.0, 0.0]))
    counts = tabulate_values(
        layout,
        groups=np.array([0, 0, 0, 1, 1]),
        numbers=numbers({"token_accuracy": one, "token_loss": one})
        | {"exact_match": answered, "rouge_l": answered},
    )
    # Hit and miss of both groups: who was not answered is in neither.
    assert counts[8:12].tolist() == [GRID, 0, 0, GRID]


def test_measures_that_were_asked_for_and_not_opened_leave_the_gate_open(letters):
    (rule,) = together(examine(run_with(letters, (1, 2, 3))))
    assert rule.verdict == "cannot conclude" and "no such sum is on record" in rule.sentence
    bare = dataclasses.replace(letters, measures=None)
    stray = run_with(bare, ())
    stray.evidence.rounds = (SimpleNamespace(kind="measures"),)
    (rule,) = together(examine(stray))
    assert rule.verdict == "fail"


def test_the_report_shows_means_over_everyone_and_by_group(letters):
    counts, _ = noised(letters)
    section = build(run_with(letters, counts), None)
    rows = section.tables["Means"].rows
    assert [row[2] for row in rows] == ["everyone", "addressee: woman", "addressee: man"] * 2
    assert "0 to 4 nats" in rows[3][1] and "token_accuracy is 0." in section.words
    assert build(run_with(dataclasses.replace(letters, measures=None), ()), None) is None
