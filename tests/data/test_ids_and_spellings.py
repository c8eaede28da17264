"""A value that is an identity is compared as text or as an exact decimal, in one Unicode form."""

from __future__ import annotations

import csv
import dataclasses
import json
import unicodedata
from decimal import Decimal, InvalidOperation, localcontext

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from fedethics import terms as tables
from fedethics.charter.data_terms import Column, DataTerms, LabelColumn, SensitiveColumn
from fedethics.charter.document import encode, load, parse
from fedethics.charter.spelling import composed_all, exact_number
from fedethics.cli.data import app
from fedethics.data.facts import gather
from fedethics.data.findings import findings
from fedethics.data.reading import read_records
from fedethics.data.records import group_index, person_hash, row_hash, split
from fedethics.errors import CharterError, DataError
from tests.data.test_data_check import HEART

TERMS = DataTerms(
    source="made up", holdout_fraction=0.4, split_salt="ids/1", person="pid",
    label=LabelColumn(column="ill", positive=("1",), negative=("0",), positive_name="ill",
                      negative_name="well"),
    columns=(Column(name="age", kind="number", phrase="{value} years"),),
    sensitive=(SensitiveColumn(name="band", column="age", groups=("y", "o"), edges=(50,)),),
)  # fmt: skip
DIGITS = st.text("0123456789", min_size=1, max_size=40)
NUMERIC = st.one_of(
    DIGITS,
    st.builds("{}.{}".format, DIGITS, DIGITS),
    st.builds("{}{}e{}".format, st.sampled_from(["", "-", "+"]), DIGITS, st.integers(-400, 400)),
)
ODD = st.sampled_from(["inf", "nan", "1_0", "1 0", "0x10", "١٢", "1e", ".", "+", "P7", "1,5", ""])


def exactly(text):
    """Python's own exact decimals, of ASCII spellings only."""
    if not text.isascii() or "_" in text or any(c.isspace() for c in text):
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


@settings(max_examples=400, deadline=None)
@given(first=st.one_of(NUMERIC, ODD), second=st.one_of(NUMERIC, ODD))
def test_two_ids_are_one_person_only_if_they_are_one_text_or_one_exact_decimal(first, second):
    one, other = exactly(first), exactly(second)
    with localcontext(prec=2000):
        same = first == second or (one is not None and other is not None and one == other)
    assert (person_hash(first) == person_hash(second)) == same
    assert (row_hash({"a": first}) == row_hash({"a": second})) == same
    assert (exact_number(first) is None) == (one is None)


@given(whole=st.integers(-(2**53), 2**53), scale=st.integers(-20, 20))
def test_one_number_in_many_spellings_is_one_row_and_one_person(whole, scale):
    spelled = [f"{whole}", f"{whole}.0", f"{whole}e0", f"{whole}00E-2", f"{whole}.000e+0"]
    scaled = [f"{one}e{scale}" for one in (str(whole), f"{whole}.0")]
    for same in (spelled, scaled):
        assert len({person_hash(one) for one in same}) == 1
        assert len({row_hash({"a": one}) for one in same}) == 1


def write(path, ids, *, age="40"):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["pid", "age", "ill"], *([one, age, "1"] for one in ids)])
    return path


@pytest.mark.parametrize("digits", [15, 16, 17, 18, 20, 30, 400])
def test_sixty_long_ids_are_sixty_persons(tmp_path, digits):
    ids = [f"{'9' * (digits - 2)}{n:02d}" for n in range(60)]
    records = read_records(write(tmp_path / "d.csv", ids), TERMS)
    parts = split(records, TERMS)
    assert records.unit_count == len(set(records.row_hashes)) == 60
    assert len(parts.train) + len(parts.held_out) == 60 and not parts.train.dropped


def test_data_check_tells_ids_and_persons_and_gives_advice_on_them(tmp_path):
    ids = [f"{'0' * zeros}{n}" for n in range(1, 21) for zeros in (1, 2, 3)]
    facts = gather(write(tmp_path / "d.csv", ids), TERMS)
    assert (facts.ids, facts.persons, facts.records) == (60, 20, 20)
    said = " ".join(found.sentence for found in findings(facts, TERMS))
    assert "max-rows-per-person" in said and "60 different ids in pid name 20 persons" in said
    assert "on-empty" not in said and "gaps" not in said


def test_rows_with_gaps_get_the_advice_on_gaps_and_no_other(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("pid,age,ill\n" + "".join(f"{n},{40 if n % 3 else ''},1\n" for n in range(60)))
    said = " ".join(found.sentence for found in findings(gather(path, TERMS), TERMS))
    assert "on-empty" in said and "max-rows-per-person" not in said


def test_ids_that_lost_their_digits_in_a_spreadsheet_are_named(tmp_path):
    ids = [f"9.{n:05d}E+17" for n in range(60)]
    found = findings(gather(write(tmp_path / "d.csv", ids), TERMS), TERMS)
    assert any("digits are lost" in one.sentence for one in found)


def test_the_command_prints_ids_and_persons(tmp_path):
    document = tables.document(load(HEART))
    document["data"]["person"] = "pid"
    document["privacy"]["unit"] = "person"
    charter = tmp_path / "c.toml"
    charter.write_text(tomli_w.dumps(document))
    terms = load(charter).data
    plain = {c.name: (c.readable or (f"{c.minimum:g}",))[0] for c in terms.columns}
    labels = [terms.label.positive[0], terms.label.negative[0]] * 30
    rows = [
        {"pid": f"99000019900100{n:04d}", **plain, terms.label.column: label}
        for n, label in enumerate(labels)
    ]
    path = tmp_path / "d.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    shown = CliRunner().invoke(app, ["check", str(path), "-c", str(charter)])
    assert shown.exit_code == 0, shown.output
    assert "60 of 60 rows" in shown.output and "60 persons" in shown.output
    asked = CliRunner().invoke(app, ["check", str(path), "-c", str(charter), "--json"])
    answer = json.loads(asked.output)
    assert (answer["ids"], answer["persons"], answer["records"]) == (60, 60, 60)


@pytest.mark.parametrize("hidden", ["\u200b", "\u2060", "\ufeff", "\u202e", "\u00ad"])
def test_an_id_with_a_character_that_no_screen_shows_is_refused(tmp_path, hidden):
    with pytest.raises(DataError, match=rf"line 3, column pid: holds U\+{ord(hidden):04X}"):
        read_records(write(tmp_path / "d.csv", ["P1", f"P{hidden}1"]), TERMS)


@pytest.mark.parametrize("size", [1, 999_999, 1_000_000, 9_999_999])
def test_numbers_that_are_groups_are_told_apart_to_the_last_digit(size):
    numbers = SensitiveColumn(name="n", column="n", groups=(str(size), f"{size + 1}.0"))
    assert [group_index(float(size + k), numbers) for k in (0, 1)] == [0, 1]


WORD = "Säugling é ñ Å"


def charter_with(tmp_path, value):
    document = tables.document(load(HEART))
    ward = {"name": "wärd", "kind": "category", "phrase": "{value}", "values": [value, "other"]}
    document["data"]["columns"].append(ward)
    path = tmp_path / "c.toml"
    path.write_text(tomli_w.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize("charters_form", ["NFC", "NFD"])
@pytest.mark.parametrize("files_form", ["NFC", "NFD"])
def test_a_word_is_the_same_category_in_either_unicode_form(tmp_path, charters_form, files_form):
    terms = load(charter_with(tmp_path, unicodedata.normalize(charters_form, WORD))).data
    plain = {c.name: (c.readable or (f"{c.minimum:g}",))[0] for c in terms.columns}
    row = {**plain, "wärd": WORD, terms.label.column: terms.label.positive[0]}
    path = tmp_path / "d.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        for cells in (row, row.values()):
            csv.writer(file).writerow([unicodedata.normalize(files_form, cell) for cell in cells])
    records = read_records(path, terms)
    assert records.texts[0].endswith(unicodedata.normalize("NFC", WORD))
    assert records.row_hashes == (row_hash(row),)


def test_a_charter_has_one_hash_whatever_form_its_letters_were_typed_in(tmp_path):
    charters = [load(charter_with(tmp_path, unicodedata.normalize(form, WORD)))
                for form in ("NFC", "NFD")]  # fmt: skip
    assert charters[0] == charters[1]
    data = encode(charters[0])
    assert parse(data) == charters[0]
    with pytest.raises(CharterError, match="not in composed form"):
        parse(unicodedata.normalize("NFD", data.decode()).encode())
    assert composed_all({"e\u0301": ["e\u0301", 1]}) == {"é": ["é", 1]}


def test_ids_in_either_form_are_one_person(tmp_path):
    ids = [unicodedata.normalize(form, "Zoë 7") for form in ("NFC", "NFD")]
    assert read_records(write(tmp_path / "d.csv", ids), TERMS).unit_count == 1


def test_a_category_with_exact_digits_is_not_read_as_another(tmp_path):
    codes = Column(name="code", kind="category", phrase="{value}",
                   values=("990000199001000001", "990000199001000002"))  # fmt: skip
    feature = SensitiveColumn(name="code", column="code", groups=codes.values)
    terms = dataclasses.replace(TERMS, columns=(codes,), sensitive=(feature,), person="")
    path = tmp_path / "d.csv"
    path.write_text("code,ill\n" + "".join(f"{code},1\n" for code in codes.values))
    assert read_records(path, terms).groups.tolist() == [[0], [1]]
