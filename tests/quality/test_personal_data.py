"""Published example numbers are found, any number with one digit changed is not, and texts keep."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedethics.cli.data import app
from fedethics.cli.output import plain_form
from fedethics.errors import DataError
from fedethics.quality import personal_data
from fedethics.quality.personal_data import KINDS, Placeholders, marks, own_kind
from tests.learning_tasks.tiny_chat import chat_charter, save_chat_model

CHARTER = Path(__file__).parents[2] / "configs" / "redditbias.charter.toml"
# As their issuers, or the standards, publish them as examples.
CHECKED = [
    ("iban", "GB82 WEST 1234 5698 7654 32"),
    ("iban", "DE89370400440532013000"),
    ("payment-card", "4111 1111 1111 1111"),
    ("payment-card", "378282246310005"),
    ("nhs-number", "943 476 5919"),
    ("swedish-number", "811228-9874"),
    ("finnish-number", "131052-308T"),
    ("german-tax-number", "86 095 742 719"),
    ("german-tax-number", "65929970489"),
]
FORMED = [
    ("mail", "anna.berg+x@ward.example.org"),
    ("us-ssn", "219-09-9998"),
    ("phone", "+46 8 123 456 78"),
    ("phone", "+1 (212) 555-0100"),
    ("birth-date", "born on 3.4.1961"),
    ("birth-date", "DOB: 1961-04-03"),
]


def an_iban(country, length):
    """Return an IBAN of this length whose check digits hold (ISO 13616)."""
    bban = ("12345678901234567890123456789012")[: length - 4]
    spelled = "".join(str(int(one, 36)) for one in f"{bban}{country}00")
    return f"{country}{98 - int(spelled) % 97:02d}{bban}"


@pytest.mark.parametrize(("country", "length"), personal_data._IBAN_LENGTHS.items())
@pytest.mark.parametrize("after", [" for the stay", " was used", "."])
def test_an_iban_ends_where_its_country_says_whatever_word_follows(country, length, after):
    plain = an_iban(country, length)
    grouped = " ".join(plain[at : at + 4] for at in range(0, len(plain), 4))
    for said in (plain, grouped):
        (found,) = marks(f"Paid from {said}{after}", [KINDS["iban"]])
        assert (found.begin, found.end) == (10, 10 + len(said)), said


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("payment-card", "Nr.4111111111111111"),
        ("payment-card", "card 3782 822463 10005 was used"),
        ("payment-card", "4111\u00a01111\u00a01111\u00a01111"),
        ("payment-card", "4111\u20131111\u20131111\u20131111"),
        ("phone", "Tel.+4722123456"),
        ("nhs-number", "NHS no.943 476 5919"),
        ("us-ssn", "SSN-078-05-1120"),
        ("birth-date", "DOB 1980/03/12"),
        ("birth-date", "DOB=12/03/1980"),
        ("birth-date", "DOB - 12/03/1980"),
        ("birth-date", "geb. am 12.03.1980"),
        ("mail", "jörg.müller@klinik.de"),
        ("mail", "o'neil@ward.example.org"),
        ("mail", "anna@klinik-köln.de"),
    ],
)
def test_what_people_type_around_a_number_does_not_hide_it(kind, text):
    redacted, found = Placeholders().redacted(f"Seen: {text}", [KINDS[kind]])
    assert [mark.kind for mark in found] == [kind]
    left = redacted.replace(f"[{kind.upper()}-1]", "").removeprefix("Seen: ")
    assert not any(one.isdigit() for one in left) and "@" not in left
    assert kind != "mail" or left == ""


def test_the_rest_of_a_longer_number_is_no_number():
    for text in ("12.4111111111111111", "9-4111111111111111", "x4111111111111111"):
        assert not marks(text, [KINDS["payment-card"]]), text


def test_turns_of_a_conversation_are_searched_as_they_are_read(tmp_path, monkeypatch):
    draft = chat_charter(save_chat_model(tmp_path))
    monkeypatch.setattr("fedethics.cli.personal.load", lambda _path: draft)
    said = "Please pay.\n4111 1111 1111 1111\nNHS\t943 476 5919"
    turns = [{"role": "user", "content": said}, {"role": "assistant", "content": "no"}]
    columns = {column.name: next(iter(column.readable), "50") for column in draft.data.columns}
    file = tmp_path / "chat.jsonl"
    file.write_text(json.dumps(columns | {"messages": turns}) + "\n")
    told = CliRunner().invoke(app, ["personal", str(file), "-c", "c", "--json"])
    assert told.exit_code == 2, told.output
    places = json.loads(told.output)["places"]
    assert {(one["column"], one["kind"]) for one in places} == {
        ("messages, turn 1", "payment-card"), ("messages, turn 1", "nhs-number"),
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "said"), CHECKED + FORMED)
def test_an_example_is_found_whole_within_a_sentence(kind, said):
    text = f"Patient ({said}), seen twice."
    (found,) = marks(text, [KINDS[kind]])
    assert text[found.begin : found.end] == said


@pytest.mark.parametrize(("kind", "said"), CHECKED)
def test_a_number_with_one_digit_changed_is_none(kind, said):
    for place, digit in enumerate(said):
        if digit.isdigit():
            for other in set("0123456789") - {digit}:
                assert marks(said[:place] + other + said[place + 1 :], [KINDS[kind]]) == ()


@pytest.mark.parametrize(
    "text",
    [
        "BP 120/80, pulse 72, chol 239, seen 2021-03-04 at 10:30",
        "dose 0.5-1.0 mg, 3x500, room 12-3456, code A41.9",
        "000-12-3456 and 666-12-3456 and 123-00-4567",
        "811332-9874 has no such month",
    ],
)
def test_measurements_and_impossible_numbers_are_not_personal_data(text):
    assert marks(text, KINDS.values()) == ()


def test_numbers_that_overlap_leave_no_end_of_either():
    said, _ = Placeholders().redacted("call +46 8 123 456 78 219-09-9998.", KINDS.values())
    assert said == "call [PHONE-1]."


def test_one_value_has_one_placeholder_within_a_record_and_none_across_records():
    kinds = tuple(KINDS.values())
    record = Placeholders()
    said, found = record.redacted("a@x.org wrote b@x.org; a@x.org again", kinds)
    assert said == "[MAIL-1] wrote [MAIL-2]; [MAIL-1] again" and len(found) == 3
    assert record.redacted("b@x.org", kinds)[0] == "[MAIL-2]"
    assert Placeholders().redacted("b@x.org", kinds)[0] == "[MAIL-1]"
    assert marks(said, kinds) == ()


def test_a_sites_own_form_must_be_one():
    assert marks("see MRN1234567.", [own_kind("MRN[0-9]{7}")])[0].begin == 4
    for wrong in ("[", "x*"):
        with pytest.raises(DataError, match="--record-number"):
            own_kind(wrong)


@pytest.fixture
def records(tmp_path):
    path = tmp_path / "site.csv"
    rows = [("call +46 8 123 456 78 or a@x.org", "women", "0"), ("nothing here", "women", "1"),
            ("MRN1234567, a@x.org, a@x.org", "muslims", "0")]  # fmt: skip
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("comment", "target", "biased"), *rows])
    return path


def run(*words):
    return CliRunner().invoke(app, ["personal", *map(str, words), "--charter", str(CHARTER)])


def test_what_is_found_is_counted_by_record_and_no_value_is_printed(records):
    ended = run(records, "--record-number", "MRN[0-9]{7}", "--json")
    said = json.loads(ended.stdout)
    assert ended.exit_code == 2
    assert (said["records"], said["with-personal-data"]) == (3, 2)
    assert said["by-kind"] == {"mail": 2, "phone": 1, "record-number": 1}
    assert {one["line"] for one in said["places"]} == {2, 4}
    assert "x.org" not in ended.stdout and "not anonymous" in run(records).stdout


def test_a_redacted_file_has_the_same_records_and_nothing_is_found_in_it(records, tmp_path):
    out = tmp_path / "clean.csv"
    ended = run(records, "--out", out)
    assert ended.exit_code == 0, ended.output
    assert out.read_text().splitlines()[1:] == [
        "call [PHONE-1] or [MAIL-1],women,0", "nothing here,women,1",
        '"MRN1234567, [MAIL-1], [MAIL-1]",muslims,0',
    ]  # fmt: skip
    log = out.with_suffix(".redactions.jsonl").read_text()
    assert len(log.splitlines()) == 4 and "x.org" not in log
    assert run(out).exit_code == 0


def test_a_charter_without_free_text_and_an_unknown_kind_are_one_error(records):
    heart = CHARTER.with_name("heart.charter.toml")
    ended = CliRunner().invoke(app, ["personal", str(records), "--charter", str(heart)])
    assert isinstance(ended.exception, DataError) and "free text" in str(ended.exception)
    assert isinstance(run(records, "--kind", "soul").exception, DataError)


def test_a_file_read_in_a_form_of_its_own_is_written_plainly_and_the_screen_says_so():
    (line,) = plain_form(["decimal-mark=comma", "thousands-mark=point"])
    assert "decimal-mark, thousands-mark" in line and "points in numbers" in line
    assert plain_form(None) == plain_form([]) == []
