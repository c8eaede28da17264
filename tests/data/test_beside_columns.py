"""Columns that a charter's sums read beside its schema: checked like any other, in no text."""

from __future__ import annotations

import pytest

from fedethics.data.beside import BesideColumn
from fedethics.data.facts import gather
from fedethics.data.reading import read_records
from fedethics.data.records import split
from fedethics.errors import DataError

FIRST = BesideColumn("first", ("yes", "no"), "annotation.annotators")
NUMBER = BesideColumn("number", ("0", "1", "2.5"), "annotation.annotators")


COLUMNS = ("id", "age", "sex", "chol", "note", "ill")


def listed(cells, *, ages=None):
    return [
        [number, 30 + number % 60 if ages is None else ages[number], "F", 200, "a", "no", cell]
        for number, cell in enumerate(cells)
    ]


@pytest.fixture
def file(table):
    def write(cells, *, column="first", **changes):
        return table(listed(cells, **changes), columns=(*COLUMNS, column))

    return write


def test_each_record_has_the_place_of_its_value_or_nothing(file, schema):
    records = read_records(file(("no", "", "yes")), schema, beside=[FIRST])
    assert records.beside["first"].tolist() == [1, -1, 0]
    assert records.take([2, 0]).beside["first"].tolist() == [0, 1]


def test_a_row_that_is_left_out_has_no_value_either(file, schema):
    path = file(("no", "yes", "no"), ages=(30, "", 32))
    records = read_records(path, schema, beside=[FIRST])
    assert len(records) == 2 and records.beside["first"].tolist() == [1, 1]


def test_the_split_takes_each_records_values_along(file, schema):
    path = file(["yes" if number % 3 else "no" for number in range(200)])
    whole = read_records(path, schema, beside=[FIRST])
    said = dict(zip(whole.row_hashes, whole.beside["first"], strict=True))
    parts = split(whole, schema)
    for part in (parts.train, parts.held_out):
        assert [said[one] for one in part.row_hashes] == part.beside["first"].tolist()


def test_neither_texts_nor_the_name_of_the_records_depend_on_what_is_read_beside(file, schema):
    path = file(("no", "yes"))
    with_it, without = read_records(path, schema, beside=[FIRST]), read_records(path, schema)
    assert (with_it.texts, with_it.fingerprint) == (without.texts, without.fingerprint)
    assert without.beside == {}


def test_numbers_are_compared_exactly_and_not_by_their_spelling(file, schema):
    path = file(("1.0", "2.50", "0"), column="number")
    assert read_records(path, schema, beside=[NUMBER]).beside["number"].tolist() == [1, 2, 0]


def test_a_value_that_the_charter_does_not_list_is_told_by_line_and_never_by_itself(file, schema):
    path = file(("no", "secret"))
    with pytest.raises(DataError, match=r"line 3, column first: not one of yes, no") as caught:
        read_records(path, schema, beside=[FIRST])
    assert "secret" not in str(caught.value)
    assert gather(path, schema, beside=[FIRST]).errors == (
        "line 3, column first: not one of yes, no",
    )


def test_a_column_that_is_not_in_the_file_is_refused_by_name(table, schema):
    path = table([row[:-1] for row in listed([""])], columns=COLUMNS)
    with pytest.raises(DataError, match=r"no column first, which the charter's annotation\."):
        read_records(path, schema, beside=[FIRST])
