import dataclasses

import pytest

from fedethics.data.reading import MAX_PROBLEMS, read_records
from fedethics.data.records import group_counts
from fedethics.errors import DataError

GOOD = ["1", "63", "F", "233", "a", "yes"]
SECRETS = ("63", "233")


def row(**changes):
    return list(
        dict(
            zip(("id", "age", "sex", "chol", "note", "ill"), GOOD, strict=True), **changes
        ).values()
    )


def test_a_row_becomes_a_text_a_label_groups_and_values(table, schema):
    records = read_records(table([GOOD, row(id="2", age="39.5", sex="M", ill="no")]), schema)
    assert records.texts == ("63 years, woman, cholesterol 233", "39.5 years, man, cholesterol 233")
    assert records.labels.tolist() == [1, 0]
    assert records.groups.tolist() == [[0, 2], [1, 0]]
    assert records.values[0] == {"age": 63.0, "sex": "F", "chol": 233.0, "note": "a"}
    assert group_counts(records, schema)["age_band"] == {"young": 1, "middle": 0, "old": 1}


@pytest.mark.parametrize(("age", "band"), [("39.9", 0), ("40", 1), ("59", 1), ("60", 2)])
def test_a_band_holds_its_lower_edge_and_not_its_upper(table, schema, age, band):
    assert read_records(table([row(age=age)]), schema).groups[0, 1] == band


def test_a_value_that_means_not_recorded_is_said_and_not_read_as_a_number(table, schema):
    records = read_records(table([row(chol="0"), row(chol="0.0")]), schema)
    assert set(records.texts) == {"63 years, woman, cholesterol not recorded"}
    assert records.values[0]["chol"] is None


def test_an_empty_cell_drops_the_row_or_is_said_as_the_column_declares(table, schema):
    records = read_records(table([row(chol=""), row(note="")]), schema)
    assert len(records) == 1
    assert records.dropped == {"chol is empty": 1}
    assert records.values[0]["note"] is None


@pytest.mark.parametrize(
    ("changes", "column", "allowed"),
    [
        ({"ill": "maybe"}, "ill", "no, yes"),
        ({"ill": ""}, "ill", "no, yes"),
        ({"sex": "X"}, "sex", "F, M"),
        ({"age": "131"}, "age", "0 to 120"),
        ({"age": "inf"}, "age", "finite number"),
        ({"age": "old"}, "age", "finite number"),
        ({"note": "c"}, "note", "a, b"),
    ],
)
def test_a_bad_cell_is_named_by_line_and_column_with_what_is_allowed(
    table, schema, changes, column, allowed
):
    with pytest.raises(DataError) as caught:
        read_records(table([GOOD, row(**changes)]), schema)
    message = str(caught.value)
    assert f"line 3, column {column}" in message
    assert allowed in message
    shown = message.split("says;")[1]
    assert not any(secret in shown for secret in SECRETS)


def test_all_problems_come_at_once_up_to_a_limit(table, schema):
    with pytest.raises(DataError) as caught:
        read_records(table([row(sex="X", ill="?"), row(age="-1")]), schema)
    assert str(caught.value).count("\n  - line") == 3
    with pytest.raises(DataError) as caught:
        read_records(table([row(sex="X")] * 50), schema)
    assert str(caught.value).count("\n  - line") == MAX_PROBLEMS


def test_a_group_that_is_not_declared_is_an_error_and_never_dropped(table, schema):
    narrow = dataclasses.replace(schema.sensitive[0], groups=("F", "D"))
    terms = dataclasses.replace(schema, sensitive=(narrow,))
    with pytest.raises(
        DataError, match=r"line 2, column sex: in no declared group of sex \(F, D\)"
    ):
        read_records(table([row(sex="M")]), terms)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("id,age,sex,chol,note\n1,2,F,100,a\n", "no column ill"),
        ("id,age,sex,chol,note,ill,age\n", "column age is listed twice"),
        ("id,age,sex,chol,note,ill\n", "holds no usable record"),
        ("id,age,sex,chol,note,ill\n1,63,F,,a,yes\n", "1 rows: chol is empty"),
        ("id,age,sex,chol,note,ill\n1,63,F\n", "line 2: 3 cells under 6 column names"),
        ('id,age,sex,chol,note,ill\n1,63,"F,100,a,yes\n', "schema"),
    ],
)
def test_a_malformed_file_is_refused_with_its_reason(tmp_path, schema, text, said):
    path = tmp_path / "site.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_records(path, schema)


def test_a_missing_or_binary_file_is_refused(tmp_path, schema):
    with pytest.raises(DataError, match="cannot be read"):
        read_records(tmp_path / "absent.csv", schema)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"id,age\n\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        read_records(binary, schema)
