"""What spreadsheets and databases leave in a CSV file is passed over or named, never guessed."""

from __future__ import annotations

import csv
import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics.charter.data_terms import MAX_CELL, Column
from fedethics.charter.document import load
from fedethics.data import reading as tables
from fedethics.data.reading import raw_rows, read_records
from fedethics.errors import CharterError, DataError
from tests.data.test_data_check import HEART
from tests.data.test_reading import GOOD, row

NAMES = ["id", "age", "sex", "chol", "note", "ill"]
PLAIN = [NAMES, GOOD, row(id="2", sex="M", ill="no")]


def refused(path, schema):
    with pytest.raises(DataError) as caught:
        read_records(path, schema)
    return str(caught.value)


def saved(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "site.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def joined(rows, mark=","):
    return "".join(f"{mark.join(cells)}\n" for cells in rows)


@pytest.mark.parametrize(
    ("mark", "called"), [(";", "semicolons"), ("\t", "tabs"), ("|", "upright bars")]
)
@pytest.mark.parametrize("quoted", [False, True])
def test_another_separator_is_named(tmp_path, schema, mark, called, quoted):
    rows = [[f'"{cell}"' if quoted else cell for cell in cells] for cells in PLAIN]
    if mark == ";":
        rows = [[cell.replace("63", "6,3") for cell in cells] for cells in rows]
    said = refused(saved(tmp_path, joined(rows, mark)), schema)
    assert f"separated by {called}" in said and "233" not in said


@pytest.mark.parametrize("line", ["sep=,", "SEP=,", '"sep=,"'])
def test_a_line_that_names_the_separator_in_use_is_passed_over(tmp_path, schema, line):
    plain = read_records(saved(tmp_path, joined(PLAIN)), schema)
    named = read_records(saved(tmp_path, f"{line}\n{joined(PLAIN)}"), schema)
    assert named.row_hashes == plain.row_hashes


@pytest.mark.parametrize("line", ["sep=;", "SEP=\t", '"sep=;"'])
def test_a_line_that_names_the_separator_is_named(tmp_path, schema, line):
    assert 'the line is "sep="' in refused(saved(tmp_path, f"{line}\n{joined(PLAIN)}"), schema)


@pytest.mark.parametrize("number", ["12,8", "1.234,5", "1,234.5", "-0,5", "1,234,567"])
def test_a_comma_in_a_number_is_named(table, schema, number):
    said = refused(table([GOOD, row(chol=number)]), schema)
    assert "line 3, column chol" in said and "decimal comma" in said and number not in said


def test_a_decimal_comma_without_quotes_is_named(tmp_path, schema):
    said = refused(saved(tmp_path, joined([NAMES, row(chol="12,8")])), schema)
    assert "line 2: 7 cells under 6 column names; a comma within a value" in said


@pytest.mark.parametrize("number", ["1_000", "٦٣", "６３", "0x1f", "nan", "1e999", "6 3"])
def test_a_number_is_ascii_digits_and_nothing_that_python_happens_to_read(table, schema, number):
    assert "not a finite number" in refused(table([row(age=number)]), schema)


BLANK = st.sampled_from(["", " ", "\t"])


@settings(max_examples=60, deadline=None)
@given(
    nameless=st.integers(0, 3), ragged=st.lists(st.integers(0, 3), min_size=2, max_size=2),
    empty=st.lists(BLANK, max_size=9), after=st.integers(0, 3),
)  # fmt: skip
def test_rows_and_columns_with_nothing_in_them_change_nothing(
    tmp_path_factory, schema_once, nameless, ragged, empty, after
):
    folder = tmp_path_factory.mktemp("left")
    plain = read_records(saved(folder, joined(PLAIN)), schema_once)
    names, *rows = PLAIN
    left = [[*names, *[" "] * nameless]]
    left += [[*c, *[""] * (nameless + more)] for c, more in zip(rows, ragged, strict=True)]
    left.insert(2, [*empty])
    left += [[""] * (len(NAMES) + nameless)] * after
    again = read_records(saved(folder, joined(left)), schema_once)
    assert again.texts == plain.texts
    assert again.fingerprint == plain.fingerprint
    assert again.source_fingerprint == plain.source_fingerprint


@pytest.fixture(scope="module")
def schema_once():
    return dataclasses.replace(
        load(HEART).data,
        columns=(
            Column(name="age", kind="number", phrase="{value} years", minimum=0, maximum=120),
            Column(name="sex", kind="category", phrase="{value}", values=("F=woman", "M=man")),
        ),
        label=dataclasses.replace(
            load(HEART).data.label, column="ill", positive=("yes",), negative=("no",)
        ),
        sensitive=load(HEART).data.sensitive[:0],
    )


def test_a_value_under_no_name_is_named_and_one_index_column_is_read_as_before(tmp_path, schema):
    index = [["", *NAMES], ["0", *GOOD]]
    assert dict(next(raw_rows(saved(tmp_path, joined(index)), schema))[1])[""] == "0"
    two = [[*NAMES, "", ""], [*GOOD, "x", "y"]]
    assert "line 2: column 8 has a value and no name" in refused(
        saved(tmp_path, joined(two)), schema
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ill": "Yes"}, "only in small and capital letters"),
        ({"ill": "yes\u200b"}, "U+200B ZERO WIDTH SPACE"),
        ({"sex": "\u202eF"}, "U+202E RIGHT-TO-LEFT OVERRIDE"),
        ({"sex": "\uff26"}, "has other characters"),
        ({"age": "6\u200d3"}, "U+200D ZERO WIDTH JOINER"),
    ],
)
def test_a_value_that_only_looks_as_agreed_is_told_why(table, schema, changes, why):
    said = refused(table([row(**changes)]), schema)
    assert why in said and next(iter(changes.values())) not in said


@pytest.mark.parametrize("raw", ["1.0", "01", "1e0", "1.00"])
def test_a_label_that_is_the_agreed_number_written_otherwise_is_told_so(table, schema, raw):
    label = dataclasses.replace(schema.label, positive=("1",), negative=("0",))
    terms = dataclasses.replace(schema, label=label)
    said = refused(table([row(ill=raw)]), terms)
    assert "unknown label; allowed: 0, 1" in said and "in another spelling" in said


@pytest.mark.parametrize(
    ("name", "why"),
    [("Age", "age is there in other small and capital letters"),
     ("age\u200b", "a column that looks like age holds U+200B")],
)  # fmt: skip
def test_a_column_that_only_looks_as_agreed_is_told_why(tmp_path, schema, name, why):
    rows = [[NAMES[0], name, *NAMES[2:]], GOOD]
    assert why in refused(saved(tmp_path, joined(rows)), schema)


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("latin-1", "line 3 seems to be in Latin-1"), ("cp1252", "Latin-1 or Windows-1252"),
     ("utf-16", "begins like UTF-16"), ("utf-16-le", "zero bytes"), ("utf-32", "UTF-16")],
)  # fmt: skip
def test_another_encoding_is_named(tmp_path, schema, encoding, said):
    text = joined([NAMES, GOOD, row(note="Säugling")])
    assert said in refused(saved(tmp_path, text, encoding), schema)


def test_a_folder_or_a_pipe_is_no_data_file(tmp_path, schema):
    assert "no ordinary file" in refused(tmp_path, schema)


@pytest.mark.parametrize("size", [131_072, 131_073, 400_000, MAX_CELL])
def test_a_note_within_the_charters_bound_is_read_whole(table, schema, size):
    note = Column(name="note", kind="text", phrase="{value}", max_chars=MAX_CELL)
    terms = dataclasses.replace(schema, columns=(*schema.columns[:3], note))
    records = read_records(table([row(note="é" * size)]), terms)
    assert len(records.values[0]["note"]) == size


def test_a_charter_cannot_ask_for_longer_notes_than_are_read(tmp_path):
    text = HEART.read_text().replace(
        "[[data.sensitive]]",
        '[[data.columns]]\nname = "note"\nkind = "text"\nphrase = "{value}"\n'
        f"max-chars = {MAX_CELL + 1}\n\n[[data.sensitive]]",
        1,
    )
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(CharterError, match="max-chars: must be at most"):
        load(path)


def test_a_cell_that_is_too_long_is_named_by_line_and_column(tmp_path, schema, monkeypatch):
    many = saved(tmp_path, joined([NAMES, GOOD, row(id="x" * (MAX_CELL + 1))]))
    assert "line 3, column id: longer than 1000000 characters" in refused(many, schema)
    monkeypatch.setattr(tables, "_MOST_READ", 2000)
    monkeypatch.setattr(csv, "field_size_limit", lambda *_: 2000)
    before = [NAMES, [*GOOD[:4], '"two\nlines"', "yes"], [*GOOD[:2], f'"{"x," * 1500}"', *GOOD[3:]]]
    real = csv.reader

    def reader(lines, **how):
        for cells in real(lines, **how):
            if any(len(cell) > 2000 for cell in cells):
                raise csv.Error("field larger than field limit (2000)")
            yield cells

    monkeypatch.setattr(csv, "reader", reader)
    said = refused(saved(tmp_path, joined(before)), schema)
    assert "line 4, column 3: longer than 2000 characters; is a closing quote missing?" in said


def test_a_row_of_several_lines_is_named_by_its_first(tmp_path, schema):
    rows = [NAMES, [*GOOD[:4], '"a\n\nb"', "yes"], [], row(age="300")]
    assert "line 2, column note" in refused(saved(tmp_path, joined(rows)), schema)
    assert "line 6, column age: outside" in refused(saved(tmp_path, joined(rows)), schema)
