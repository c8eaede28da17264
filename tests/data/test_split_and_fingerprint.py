import dataclasses
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics.charter.document import load
from fedethics.data.reading import read_records
from fedethics.data.records import is_held_out, split
from fedethics.errors import DataError

ROWS = [[str(i), str(20 + i % 80), "FM"[i % 2], "200", "a", "yes"] for i in range(400)]


def test_every_record_is_on_one_side_and_about_the_fraction_is_held_out(table, schema):
    records = read_records(table(ROWS), schema)
    parts = split(records, schema)
    together = sorted(parts.train.row_hashes + parts.held_out.row_hashes)
    assert together == sorted(records.row_hashes)
    expected = schema.holdout_fraction * len(ROWS)
    deviation = math.sqrt(len(ROWS) * schema.holdout_fraction * (1 - schema.holdout_fraction))
    assert abs(len(parts.held_out) - expected) < 5 * deviation


def test_removing_a_record_moves_no_other_record(table, schema):
    whole = split(read_records(table(ROWS), schema), schema)
    less = split(read_records(table(ROWS[:200] + ROWS[201:], name="less.csv"), schema), schema)
    assert set(less.train.row_hashes) <= set(whole.train.row_hashes)
    assert set(less.held_out.row_hashes) <= set(whole.held_out.row_hashes)


def test_another_salt_is_another_split(table, schema):
    records = read_records(table(ROWS), schema)
    other = dataclasses.replace(schema, split_salt="salt/2")
    assert split(records, schema).train.fingerprint != split(records, other).train.fingerprint


@settings(max_examples=25, deadline=None)
@given(fraction=st.floats(0.05, 0.95), salt=st.text(min_size=1))
def test_the_side_is_uniform_in_the_fraction(schema_for_hypothesis, fraction, salt):
    terms = dataclasses.replace(schema_for_hypothesis, holdout_fraction=fraction, split_salt=salt)
    held = sum(is_held_out(i.to_bytes(32, "big"), terms) for i in range(2000))
    assert abs(held - 2000 * fraction) < 6 * math.sqrt(2000 * fraction * (1 - fraction))


@pytest.fixture(scope="module")
def schema_for_hypothesis():
    return load(Path(__file__).parents[2] / "configs" / "heart.charter.toml").data


def test_a_site_with_nothing_on_one_side_is_refused(table, schema):
    records = read_records(table(ROWS[:1]), schema)
    with pytest.raises(DataError, match="no record is on the"):
        split(records, schema)


def test_the_fingerprint_ignores_row_order_file_name_column_order_and_number_spelling(
    table, schema
):
    first = read_records(table(ROWS[:20]), schema)
    turned = [[r[5], *r[:5]] for r in reversed(ROWS[:20])]
    columns = ("ill", "id", "age", "sex", "chol", "note")
    second = read_records(table(turned, name="renamed.csv", columns=columns), schema)
    spelled = [[r[0], f"{r[1]}.0", r[2], " 2e2 ", *r[4:]] for r in ROWS[:20]]
    third = read_records(table(spelled, name="spelled.csv"), schema)
    assert first.fingerprint == second.fingerprint == third.fingerprint


def test_the_fingerprint_changes_with_any_cell_and_with_a_repeated_row(table, schema):
    base = read_records(table(ROWS[:20]), schema).fingerprint
    changed = [*ROWS[:19], [*ROWS[19][:3], "201", *ROWS[19][4:]]]
    assert read_records(table(changed), schema).fingerprint != base
    assert read_records(table([*ROWS[:20], ROWS[0]]), schema).fingerprint != base


def test_no_charter_can_rename_the_same_records_by_naming_fewer_columns(table, schema):
    path = table(ROWS[:20])
    fewer = dataclasses.replace(schema, columns=schema.columns[:2])
    assert read_records(path, fewer).fingerprint == read_records(path, schema).fingerprint
