"""Rules on impossible combinations: which records break them, and which rules are refused."""

import dataclasses
import itertools
from pathlib import Path

import pytest

from fedethics.charter import document
from fedethics.charter.record_rules import Condition, RecordRule
from fedethics.data.facts import gather
from fedethics.data.reading import read_records
from fedethics.errors import DataError
from tests.data.test_reading import GOOD, row

HEART = Path(__file__).parents[2] / "configs" / "heart.charter.toml"
YOUNG_M = (Condition(column="sex", one_of=("M",)), Condition(column="age", above=20, below=40))


def rule(*never, on_broken="drop-row", name="never-so"):
    return RecordRule(name=name, why="It cannot be.", never=never, on_broken=on_broken)


def with_rules(schema, *rules):
    return dataclasses.replace(schema, rules=rules)


def test_dropped_records_are_those_that_a_loop_finds(table, schema):
    ages, sexes, chols, ills = ("20", "39", "40", "63"), "FM", ("0", "233"), ("yes", "no")
    made = [
        row(id=str(n), age=age, sex=sex, chol=chol, ill=ill)
        for n, (age, sex, chol, ill) in enumerate(itertools.product(ages, sexes, chols, ills))
    ]
    (_, ill), (_, well) = ((cell, schema.label.names[schema.label.by_cell[cell]]) for cell in ills)
    terms = with_rules(
        schema,
        rule(*YOUNG_M, Condition(label=(ill,)), name="one"),
        rule(Condition(column="chol", empty=True), Condition(label=(well,)), name="two"),
    )
    one = [r for r in made if r[2] == "M" and 20 < float(r[1]) < 40 and r[5] == "yes"]
    two = [r for r in made if r[3] == "0" and r[5] == "no"]
    records = read_records(table(made), terms)
    assert records.dropped == {"breaks rule one": len(one), "breaks rule two": len(two)}
    kept = [r for r in made if r not in one and r not in two]
    assert [value["age"] for value in records.values] == [float(r[1]) for r in kept]
    assert gather(table(made), terms).dropped == records.dropped


def test_a_refused_record_is_named_by_line_and_rule_and_without_its_values(table, schema):
    terms = with_rules(schema, rule(*YOUNG_M, Condition(column="note", one_of=("b",)),
                                    on_broken="refuse"))  # fmt: skip
    path = table([GOOD, row(sex="M", age="37.25", note="b")])
    with pytest.raises(DataError, match=r"line 3: breaks rule never-so: It cannot be\.") as caught:
        read_records(path, terms)
    assert "37.25" not in str(caught.value)
    assert any("breaks rule never-so" in error for error in gather(path, terms).errors)


@pytest.mark.parametrize(
    ("never", "said"),
    [
        ((Condition(column="sex", one_of=("M",)), Condition(column="x", empty=True)), "no column"),
        ((YOUNG_M[1], Condition(column="sex", one_of=("X",))), "no value 'X'"),
        ((YOUNG_M[0], Condition(column="age", one_of=("3",))), "one-of is for a category"),
        ((YOUNG_M[1], Condition(column="sex", above=3)), "are for a number"),
        ((YOUNG_M[0], Condition(column="age", above=500)), "no number fits"),
        ((YOUNG_M[0], Condition(label=("nobody",))), "no class 'nobody'"),
        (YOUNG_M, "would leave a group out"),
    ],
)
def test_a_rule_that_fits_no_record_or_drops_a_group_is_refused(schema, never, said):
    assert any(said in problem for problem in with_rules(schema, rule(*never)).problems())


@pytest.mark.parametrize(
    "condition",
    [
        Condition(),
        Condition(column="age"),
        Condition(column="age", above=5, below=5),
        Condition(column="age", above=5, empty=True),
        Condition(column="age", label=("ill",)),
    ],
)
def test_a_condition_that_says_nothing_or_two_things_is_refused(condition):
    assert condition.problems()


def test_a_rule_needs_two_conditions_on_two_columns():
    assert rule(YOUNG_M[0]).problems() and rule(YOUNG_M[0], YOUNG_M[0]).problems()
    assert not rule(*YOUNG_M).problems()


def test_a_charter_keeps_its_rules_and_one_without_them_its_bytes():
    plain = document.load(HEART)
    assert b"rules" not in document.encode(plain)
    first = next(one for one in plain.data.columns if one.kind == "number")
    made = rule(Condition(column=first.name, above=first.minimum),
                Condition(label=(plain.data.labels.names[0],)))  # fmt: skip
    ruled = dataclasses.replace(plain, data=with_rules(plain.data, made))
    again = document.parse(document.encode(ruled))
    assert again == ruled and document.hash_of(again) != document.hash_of(plain)
