"""`fedethics data check`: what a site learns of its own file, and that it is only shown there."""

import dataclasses
import json
from pathlib import Path

import pytest
import tomli_w
from typer.testing import CliRunner

from fedethics import terms as toml_terms
from fedethics.charter.document import load
from fedethics.cli.data import app
from fedethics.data.facts import find_repeats, gather, reading_notes
from fedethics.data.findings import findings
from fedethics.data.reading import read_records
from fedethics.data.records import split
from fedethics.errors import DataError

HEART = Path(__file__).parents[2] / "configs" / "heart.charter.toml"


@pytest.fixture
def said(table, schema):
    """Check rows by the small schema: `said(rows)` -> [(weight, sentence)]."""

    def check(rows, *, terms=schema, annotators=(), **options):
        facts = gather(table(rows, **options), terms, annotators=annotators)
        return [(found.weight, found.sentence) for found in findings(facts, terms)]

    return check


def rows(count=200, **changes):
    base = {"age": lambda n: 20 + n % 80, "sex": lambda n: "FM"[n % 2], "chol": lambda n: 100 + n,
            "note": lambda n: "ab"[n % 2], "ill": lambda n: ("yes", "no")[n % 3 == 0]}  # fmt: skip
    base |= changes
    return [[str(n), *(str(make(n)) for make in base.values())] for n in range(count)]


def test_a_good_file_has_nothing_to_be_said_of_it(said):
    assert said(rows()) == []


def test_every_count_is_there_and_adds_up(table, schema):
    facts = gather(table(rows()), schema)
    assert facts.rows == facts.records == 200
    for feature in ("sex", "age_band"):
        counts = [count for count in facts.groups if count.feature == feature]
        assert sum(count.train + count.held_out for count in counts) == 200
        assert sum(count.train_positive + count.held_out_positive for count in counts) == 133


def test_what_a_run_would_refuse_is_an_error_and_names_no_value(said):
    found = said(rows(sex=lambda n: "secret" if n < 3 else "F"))
    errors = [sentence for weight, sentence in found if weight == "error"]
    assert len(errors) == 3
    assert all("column sex" in sentence and "secret" not in sentence for sentence in errors)


def test_a_group_column_that_is_mostly_empty_is_an_error_or_a_warning_as_declared(said, schema):
    empty = rows(sex=lambda n: "F" if n % 5 == 0 else "")
    assert any("empty in 80% of the rows" in s for w, s in said(empty) if w == "error")
    sex = dataclasses.replace(schema.columns[1], on_empty="say")
    feature = dataclasses.replace(schema.sensitive[0], groups=("F", "M", "not recorded"))
    terms = dataclasses.replace(
        schema,
        columns=(schema.columns[0], sex, *schema.columns[2:]),
        sensitive=(feature, schema.sensitive[1]),
    )
    found = said(empty, terms=terms)
    assert any("80% of the rows have no value in it" in s for w, s in found if w == "warning")


def test_a_site_with_one_group_only_is_told_what_its_sums_would_give_away(said):
    found = said(rows(sex=lambda n: "F"))
    assert any("one group by sex (F)" in s for w, s in found if w == "warning")
    assert ("note", "sex: M: no record here; other sites may have") in found


def test_rows_left_out_for_gaps_are_counted_with_their_reason(said):
    found = said(rows(chol=lambda n: "" if n % 4 == 0 else 100 + n))
    assert any("50 of 200 rows are left out (50: chol is empty)" in s for _, s in found)


def test_a_rare_label_and_a_group_without_it_are_named(said):
    found = said(rows(ill=lambda n: "yes" if n == 1 else "no"))
    assert any("rarer label makes up 0.5%" in s for w, s in found if w == "warning")
    assert any(s.startswith("sex: F: no positive labels among") for _, s in found)


def test_repeated_rows_are_counted(said):
    found = said(rows() + rows(5))
    assert any(s.startswith("5 rows repeat another one") for w, s in found if w == "warning")


def test_texts_on_both_sides_or_with_both_labels_are_counted_whatever_their_case(table, schema):
    # The same text twice, the rows told apart by an id; enough of them fall on both sides.
    twice = [
        [f"{n}{side}", "63", "F", str(100 + n), "a", "yes"] for n in range(100) for side in "xy"
    ]
    parts = split(read_records(table(twice), schema), schema)
    repeats = find_repeats(parts)
    sides = [set(part.texts) for part in (parts.train, parts.held_out)]
    assert repeats.rows == 0 and repeats.texts == 100
    assert repeats.leaked == sum(text in sides[0] for text in parts.held_out.texts) > 20
    assert repeats.contradictions == 0
    texts = tuple(text.upper().replace(" ", "  ") for text in parts.held_out.texts)
    shouted = dataclasses.replace(parts.held_out, texts=texts, labels=1 - parts.held_out.labels)
    changed = find_repeats(dataclasses.replace(parts, held_out=shouted))
    assert changed.leaked == repeats.leaked == changed.contradictions


def test_the_sites_own_log_says_what_was_left_out_and_what_repeats(table, schema):
    listed = rows(50) + rows(3) + [["x", "63", "F", "", "a", "yes"]]
    parts = split(read_records(table(listed), schema), schema)
    notes = reading_notes(parts)
    assert (notes["train"], notes["held_out"]) == (len(parts.train), len(parts.held_out))
    assert (notes["left_out"], notes["repeated_rows"]) == (1, 3)
    assert notes["held_out_texts_in_training"] == 0


def test_annotators_who_disagree_are_a_warning_by_group_too(said, table, schema):
    columns = ("id", "age", "sex", "chol", "note", "ill", "first", "second")
    agree = [[*row, row[5], row[5]] for row in rows()]
    assert said(agree, columns=columns, annotators=("first", "second")) == []
    women_unsure = [
        [*row, row[5], "no" if row[2] == "F" and int(row[0]) % 4 == 0 else row[5]] for row in rows()
    ]
    found = said(women_unsure, columns=columns, annotators=("first", "second"))
    warned = [s for w, s in found if w == "warning"]
    assert any(s.startswith("sex: F: annotators agree with alpha") for s in warned)
    assert not any(s.startswith("sex: M") for s in warned)


@pytest.fixture
def charter(tmp_path, schema):
    table = toml_terms.document(load(HEART)) | {"data": toml_terms.document(schema)}
    table["ethics"]["objectives"] = [o for o in table["ethics"]["objectives"] if "feature" in o][:1]
    path = tmp_path / "charter.toml"
    path.write_text(tomli_w.dumps(table))
    return path


def test_the_command_answers_in_json_with_its_exit_code(table, charter):
    run = CliRunner().invoke
    good = run(app, ["check", str(table(rows())), "--charter", str(charter), "--json"])
    answer = json.loads(good.stdout)
    assert good.exit_code == 0
    assert answer["usable"] is True and answer["records"] == 200 and answer["findings"] == []
    bad = table(rows(ill=lambda n: "perhaps"), name="bad.csv")
    refused = run(app, ["check", str(bad), "--charter", str(charter), "--json"])
    assert refused.exit_code == 2
    assert json.loads(refused.stdout)["usable"] is False


def test_the_command_shows_the_groups_and_that_they_stay_here(table, charter):
    shown = CliRunner().invoke(app, ["check", str(table(rows())), "--charter", str(charter)])
    assert shown.exit_code == 0
    assert "age_band" in shown.stdout and "Do not send" in shown.stdout


def test_an_absent_or_a_single_annotators_column_is_refused_by_name(table, charter):
    def refused(columns):
        arguments = ["check", str(table(rows())), "--charter", str(charter)]
        return CliRunner().invoke(app, [*arguments, "--annotators", columns]).exception

    for columns, said in (("ill,who", "who: not in the file"), ("ill", "at least two")):
        error = refused(columns)
        assert isinstance(error, DataError) and said in str(error)
