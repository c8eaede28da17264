"""All rows of a person are on one side, and a person changes nothing but their own rows."""

import csv
import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics.charter.data_terms import Column, DataTerms, LabelColumn, SensitiveColumn
from fedethics.data.reading import read_records
from fedethics.data.records import split
from fedethics.errors import DataError

TERMS = DataTerms(
    source="made up",
    holdout_fraction=0.4,
    split_salt="persons/1",
    person="patient",
    max_rows_per_person=2,
    label=LabelColumn(
        column="ill", positive=("1",), negative=("0",), positive_name="ill", negative_name="well"
    ),
    columns=(Column(name="age", kind="number", phrase="{value} years"),),
    sensitive=(SensitiveColumn(name="age_band", column="age", groups=("y", "o"), edges=(50,)),),
)
ROWS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(18, 90), st.integers(0, 1)), min_size=30, max_size=80
)


def write(path, rows):
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["patient", "age", "ill"])
        out.writerows(rows)
    return path


def sides(path, terms=TERMS):
    cut = split(read_records(path, terms), terms)
    return {
        name: {
            person: sorted(
                part.row_hashes[i] for i in range(len(part)) if part.persons[i] == person
            )
            for person in set(part.persons)
        }
        for name, part in (("train", cut.train), ("held out", cut.held_out))
    }


@settings(max_examples=30, deadline=None)
@given(rows=ROWS, gone=st.integers(0, 30))
def test_a_person_more_or_less_changes_no_other_persons_rows(tmp_path_factory, rows, gone):
    folder = tmp_path_factory.mktemp("persons")
    try:
        more = sides(write(folder / "more.csv", rows))
        less = sides(write(folder / "less.csv", [row for row in rows if row[0] != gone]))
    except DataError:
        return  # a side without anybody
    train, held_out = more["train"], more["held out"]
    assert not set(train) & set(held_out)
    changed = 0
    for name in more:
        for person in set(more[name]) | set(less[name]):
            if more[name].get(person) != less[name].get(person):
                changed += 1
                assert person not in less[name]
            assert len(more[name].get(person, [])) <= TERMS.max_rows_per_person
    assert changed == (1 if any(row[0] == gone for row in rows) else 0)


def test_the_id_is_in_no_text_and_its_spelling_does_not_make_two_persons(tmp_path):
    rows = [[f"{i}{'.0' if i % 2 else ''}", 40 + i % 30, i % 2] for i in range(1, 40)]
    rows += [[i, 50, 1] for i in range(1, 40)]
    records = read_records(write(tmp_path / "d.csv", rows), TERMS)
    assert all(text.endswith("years") and text.count(" ") == 1 for text in records.texts)
    assert records.unit_count == 39
    assert sorted(set(records.units.tolist())) == list(range(39))


def test_rows_beyond_the_most_are_left_out_and_counted_at_the_site(tmp_path):
    rows = [[i // 5, 20 + i, i % 2] for i in range(60)]
    cut = split(read_records(write(tmp_path / "d.csv", rows), TERMS), TERMS)
    assert len(cut.train) + len(cut.held_out) == 24
    assert cut.train.unit_count + cut.held_out.unit_count == 12
    assert cut.train.dropped["beyond 2 rows of a person"] == 36


def test_a_row_of_nobody_is_an_error_and_so_is_a_file_without_the_column(tmp_path):
    with pytest.raises(DataError, match="line 3, column patient: empty"):
        read_records(write(tmp_path / "d.csv", [[1, 40, 1], ["", 41, 0]]), TERMS)
    other = dataclasses.replace(TERMS, person="subject")
    with pytest.raises(DataError, match="no column subject"):
        read_records(write(tmp_path / "e.csv", [[1, 40, 1]]), other)
