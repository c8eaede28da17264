"""A charter that is called valid admits, for each group and each label, a record that is read."""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fedethics import terms as tables
from fedethics.charter.data_terms import Column, DataTerms, LabelColumn, SensitiveColumn
from fedethics.charter.document import load
from fedethics.data.reading import read_records
from fedethics.data.records import group_index
from fedethics.errors import CharterError, DataError
from fedethics.learning_tasks import find_task

HEART = Path(__file__).parents[2] / "configs" / "heart.charter.toml"
WORDS = st.sampled_from(
    ["a", "b", "c", " a", "f=woman", "<=12", r"<\=12", "x=y=z", "1", "1.0", "é"]
)
NAMES = st.sampled_from(["a", "b", "f", "<", "<=12", "1", "2", "300", "not recorded", "other", "é"])


@st.composite
def columns(draw):
    kind = draw(st.sampled_from(["number", "category"]))
    low = draw(st.sampled_from([-5.0, 0.0, 1.0, 40.0]))
    values = draw(st.lists(WORDS, min_size=1, max_size=4)) if kind == "category" else []
    return {
        "name": "what", "kind": kind, "phrase": "{value}", "values": values,
        "minimum": low, "maximum": low + draw(st.sampled_from([1.0, 5.0, 100.0])),
        "not-recorded": draw(st.lists(st.sampled_from(["a", "1", "?"]), max_size=1)),
        "on-empty": draw(st.sampled_from(["say", "drop-row"])),
    }  # fmt: skip


@st.composite
def schemas(draw):
    """A column, and a feature whose groups often fit it and often nearly do."""
    column = draw(columns())
    edges = draw(st.lists(st.sampled_from([0.0, 1.0, 3.0, 60.0, 200.0]), max_size=2, unique=True))
    fitting = [one.strip().partition("=")[0] for one in column["values"]]
    if column["kind"] == "number":
        fitting = ["low", "mid", "high"][: len(edges) + 1] if edges else ["1", "2"]
    if column["kind"] == "category" or draw(st.booleans()):
        edges = edges if draw(st.integers(0, 9)) == 0 else []
    groups = draw(st.sampled_from([fitting, draw(st.lists(NAMES, min_size=1, max_size=3))]))
    merge = [f"{draw(NAMES)}={draw(st.sampled_from(groups))}"] if draw(st.booleans()) else []
    return column, {
        "name": "band", "column": "what", "groups": groups, "edges": sorted(edges), "merge": merge
    }  # fmt: skip


def data(column, feature):
    label = {"column": "ill", "positive": ["yes"], "negative": ["no", "0"], "positive-name": "p",
             "negative-name": "n"}  # fmt: skip
    return {"source": "made up", "holdout-fraction": 0.5, "split-salt": "s", "label": label,
            "columns": [column], "sensitive": [feature]}  # fmt: skip


def candidates(column):
    """Every cell that may be in any group, from the raw charter, with no help of its checks."""
    yield ""
    yield from column["not-recorded"]
    for entry in column["values"]:
        yield entry.replace(r"\=", "\0").partition("=")[0].replace("\0", "=").strip()
    numbers = [column["minimum"], column["maximum"], 0.0, 1.0, 2.0, 3.0, 60.0, 200.0, 300.0]
    for number in numbers:
        for nudged in (math.nextafter(number, -math.inf), number, number + 0.25):
            yield repr(nudged)


def read_one(folder, terms, cell, label):
    path = folder / "one.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["what", "ill"], [cell, label]])
    return read_records(path, terms)


def read_group(folder, terms, cell):
    try:
        return int(read_one(folder, terms, cell, "yes").groups[0, 0])
    except DataError:
        return None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(both=schemas())
def test_every_group_of_a_valid_schema_has_a_cell_that_is_read_into_it(tmp_path_factory, both):
    column, feature = both
    problems: list[str] = []
    terms = tables.read(DataTerms, data(column, feature), path="", problems=problems)
    assume(terms is not None and not problems)
    folder = tmp_path_factory.mktemp("one")
    reached = {read_group(folder, terms, cell) for cell in candidates(column)}
    assert set(range(len(terms.sensitive[0].groups))) <= reached
    for raw in terms.columns[0].choices:
        # No declared value stops its site.
        assert group_index(None if raw in column["not-recorded"] else raw, terms.sensitive[0]) >= 0


@pytest.mark.parametrize(
    "path",
    [p for p in sorted(HEART.parent.glob("*.charter.toml")) if load(p).data.label],
    ids=lambda p: p.name,
)
def test_every_label_and_every_declared_value_of_the_presets_is_read(path, tmp_path):
    charter = load(path)
    terms, task = charter.data, find_task(charter.model.task)
    plain = {
        c.name: repr(c.minimum) if c.kind == "number" else (*c.readable, f"some {c.name}")[0]
        for c in terms.columns
    }
    rows = [{**plain, terms.label.column: label} for label in task.cells(terms.labels)]
    for column in terms.columns:
        rows += [{**plain, column.name: raw, terms.label.column: rows[0][terms.label.column]}
                 for raw in column.readable]  # fmt: skip
    if terms.person:
        rows = [{**row, terms.person: str(number)} for number, row in enumerate(rows)]
    file = tmp_path / "all.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    records = read_records(file, terms, task=charter.model.task)
    assert len(records) == len(rows)
    told = [task.target(label, terms.labels) for label in task.cells(terms.labels)]
    assert records.labels[: len(told)].tolist() == told
    assert set(told) == set(range(len(task.classes(terms.labels))))


def column(**changes):
    plain = {"name": "sex", "kind": "category", "phrase": "{value}", "values": ("f=woman", "m=man")}
    return Column(**(plain | changes))


def number(**changes):
    return Column(**({"name": "sex", "kind": "number", "phrase": "{value}", "minimum": 0.0,
                      "maximum": 100.0} | changes))  # fmt: skip


def schema(of, **feature):
    plain = {"name": "sex", "column": "sex", "groups": ("f", "m")}
    return DataTerms(
        source="made up", holdout_fraction=0.5, split_salt="s", columns=(of,),
        label=LabelColumn(column="ill", positive=("1",), negative=("0",), positive_name="p",
                          negative_name="n"),
        sensitive=(SensitiveColumn(**(plain | feature)),),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (schema(column(), groups=("female", "male")), "in the groups 'female', 'male'"),
        (schema(column(), groups=("f",)), "'m' of column 'sex' would be in no declared group"),
        (schema(column(), groups=("f", "m", "x")), "can be in the group 'x'"),
        (schema(column(), groups=("f", "m", "not recorded")), "can be in the group 'not recorded'"),
        (schema(column(), edges=(1.0,)), "edges divide numbers"),
        (schema(column(), groups=("f", "m"), merge=("x=f",)), "'x' cannot be a value"),
        (schema(column(not_recorded=("m",)), groups=("f", "m")), "can be in the group 'm'"),
        (schema(number(), groups=("young", "old"), edges=(120.0,)), "in the group 'old'"),
        (schema(number(), groups=("young", "old"), edges=(0.0,)), "in the group 'young'"),
        (schema(number(), groups=("a", "b", "c"), edges=(100.5, 101.0)), "groups 'b', 'c'"),
        (schema(number(), groups=("few", "many")), "in the groups 'few', 'many'"),
        (schema(number(), groups=("1", "101")), "in the group '101'"),
        (schema(number(), groups=("1", "1.0")), "the same number is listed twice"),
        (schema(number(maximum=1e18), groups=("9007199254740993", "1")), "below 2^53"),
    ],
)  # fmt: skip
def test_groups_that_no_value_reaches_and_values_in_no_group_are_named(terms, said):
    assert any(said in problem for problem in terms.problems())


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (column(values=("<=12 years", ">12 years")), r"'<\=12 years' (in TOML"),
        (column(values=("a=b=c",)), "would be read as the value 'a' shown as 'b=c'"),
        (column(values=("=woman",)), "has no value"),
        (column(values=("f ", "m")), "has a blank at an end"),
        (column(values=("f=woman", "f=lady")), "a value is listed twice"),
        (column(values=("f",), not_recorded=("f",)), 'all of them mean "not recorded"'),
        (number(values=("1",)), "only a category has them"),
        (column(name=" sex"), "name: ' sex' has a blank"),
    ],
)
def test_values_that_no_cell_could_be_are_named(of, said):
    assert any(said in problem for problem in of.problems())


@pytest.mark.parametrize("raw", ["<=12 years", "a=b=c", "==", "x = y"])
def test_any_value_can_be_declared_with_its_equals_signs_escaped(tmp_path, raw):
    of = column(values=(raw.replace("=", r"\=") + "=told so", "m"))
    terms = schema(of, groups=(raw, "m"))
    assert not of.problems() and not terms.problems()
    path = tmp_path / "one.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["sex", "ill"], [raw, "1"]])
    records = read_records(path, terms)
    assert (records.texts, records.groups.tolist()) == (("told so",), [[0]])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('positive-name = "disease"', 'positive-name = "no disease"', "could not be distinguished"),
        ("layers = [5]", "layers = [5, 5]", "adapter: layers: one is listed twice"),
        ("max-tokens", "# max-tokens", "max-tokens: missing"),
    ],
)
def test_other_contradictions_of_a_charter_are_found_by_name(tmp_path, old, new, said):
    text = HEART.read_text()
    changed = text.replace(old, new)
    assert changed != text
    path = tmp_path / "c.toml"
    path.write_text(changed)
    with pytest.raises(CharterError, match=said):
        load(path)


def test_two_bars_between_which_nothing_lies_are_refused():
    ethics = load(HEART).ethics
    floor = dataclasses.replace(
        ethics.objectives[0], metric="accuracy_score", feature="", direction="at-least", bar=0.7
    )
    roof = dataclasses.replace(floor, direction="at-most", bar=0.6)
    both = dataclasses.replace(ethics, objectives=(floor, roof))
    assert any("no model can satisfy both" in problem for problem in both.problems())
    wider = dataclasses.replace(roof, bar=0.8)
    assert not dataclasses.replace(ethics, objectives=(floor, wider)).problems()


def test_a_second_bar_on_the_same_side_is_refused_since_it_makes_fail_rarer():
    ethics = load(HEART).ethics
    first = ethics.objectives[0]
    weaker = dataclasses.replace(first, bar=0.01 if first.direction == "at-least" else 0.99)
    twice = dataclasses.replace(ethics, objectives=(*ethics.objectives, weaker))
    assert any("has 2 bars" in problem for problem in twice.problems())
    assert not ethics.problems()
