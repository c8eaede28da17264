import dataclasses

import pytest

from fedethics.charter.data_terms import Column, SensitiveColumn
from fedethics.data.reading import read_records
from fedethics.data.records import group_counts
from fedethics.errors import DataError

COMMENT = Column(name="note", kind="text", phrase="{value}", max_chars=20)


@pytest.fixture
def with_text(schema):
    """The small schema, its last column free text."""
    return dataclasses.replace(schema, columns=(*schema.columns[:3], COMMENT))


def row(note="", age="63", sex="F"):
    return ["1", age, sex, "233", note, "yes"]


def test_free_text_is_told_as_it_is(table, with_text):
    said = '{value}, "a=b"\nmore'
    records = read_records(table([row(said), row("F=woman")]), with_text)
    assert records.texts[0].endswith(f", {said}")
    assert records.texts[1].endswith(", F=woman")
    assert records.values[0]["note"] == said


def test_a_text_longer_than_agreed_is_refused_and_never_shown(table, with_text):
    read_records(table([row("x" * 20)]), with_text)
    with pytest.raises(DataError, match="line 2, column note: longer than 20 characters") as caught:
        read_records(table([row("secret" * 4)]), with_text)
    assert "secret" not in str(caught.value)


def test_an_empty_text_drops_the_row_or_is_said_as_the_column_declares(table, with_text):
    with pytest.raises(DataError, match="note is empty"):
        read_records(table([row()]), with_text)
    say = dataclasses.replace(COMMENT, on_empty="say", not_recorded=("[deleted]",))
    terms = dataclasses.replace(with_text, columns=(*with_text.columns[:3], say))
    records = read_records(table([row(), row("[deleted]")]), terms)
    assert all(text.endswith(", not recorded") for text in records.texts)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (Column(name="c", kind="text", phrase="{value}"), "a text needs it"),
        (Column(name="c", kind="number", max_chars=5), "goes with kind text"),
    ],
)
def test_a_text_needs_a_bound_and_nothing_else_has_one(column, said):
    assert any(said in problem for problem in column.problems())


def test_free_text_cannot_be_a_group(with_text):
    feature = SensitiveColumn(name="note", column="note", groups=("a",))
    terms = dataclasses.replace(with_text, sensitive=(feature,))
    assert "sensitive 'note': free text has no groups" in terms.problems()


def merged(**changes):
    terms = {
        "name": "note", "column": "note", "groups": ("a", "other"),
        "merge": ("b=other", "not recorded=other"),
    }  # fmt: skip
    return SensitiveColumn(**(terms | changes))


def test_small_groups_are_put_together_as_the_charter_says_and_none_is_lost(table, schema):
    rows = [["1", "63", "F", "233", note, "yes"] for note in ("a", "b", "", "b")]
    terms = dataclasses.replace(schema, sensitive=(merged(),))
    assert group_counts(read_records(table(rows), terms), terms)["note"] == {"a": 1, "other": 3}
    alone = dataclasses.replace(schema, sensitive=(merged(merge=("b=other",)),))
    with pytest.raises(DataError, match="in no declared group of note"):
        read_records(table(rows), alone)


@pytest.mark.parametrize(
    ("merge", "said"),
    [
        (("b=elsewhere",), "elsewhere not among the groups"),
        (("b=other", "b=a"), "a value is listed twice"),
        (("a=other",), "is a group itself"),
    ],
)
def test_a_merge_into_no_group_or_of_a_group_is_refused(merge, said):
    assert any(said in problem for problem in merged(merge=merge).problems())


def test_a_group_column_that_is_mostly_empty_is_refused_with_what_can_be_done(table, schema):
    rows = [["1", "63", "F" if n < 2 else "", "233", "a", "yes"] for n in range(10)]
    with pytest.raises(DataError, match="column sex: empty in 80% of the rows") as caught:
        read_records(table(rows), schema)
    assert "declare that group" in str(caught.value)
    say = dataclasses.replace(schema.columns[1], on_empty="say")
    feature = SensitiveColumn(name="sex", column="sex", groups=("F", "M", "not recorded"))
    terms = dataclasses.replace(
        schema, columns=(schema.columns[0], say, *schema.columns[2:]), sensitive=(feature,)
    )
    assert group_counts(read_records(table(rows), terms), terms)["sex"]["not recorded"] == 8
