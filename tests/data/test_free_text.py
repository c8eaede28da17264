"""Free text in files: each form read as it was written, and each fault told by its line."""

from __future__ import annotations

import csv
import dataclasses
import json

import pytest

from fedethics.charter.data_terms import Column, ContentTerms, DataTerms, SensitiveColumn
from fedethics.data.content import Completion, Conversation, Preference, Turn
from fedethics.data.facts import find_repeats, gather
from fedethics.data.findings import findings
from fedethics.data.json_lines import line_of
from fedethics.data.reading import raw_rows, read_records
from fedethics.data.records import split
from fedethics.errors import DataError

SECRET = "Xylophone"


@pytest.fixture
def schema():
    def build(form, **changes):
        return DataTerms(
            source="made up",
            holdout_fraction=0.5,
            split_salt="salt/1",
            content=ContentTerms(form=form, max_characters=200, max_turns=4, **changes),
            columns=(Column(name="site", kind="category", values=("a", "b")),),
            sensitive=(SensitiveColumn(name="site", column="site", groups=("a", "b")),),
        )

    return build


@pytest.fixture
def write(tmp_path):
    def lines(*records, name="site.jsonl"):
        path = tmp_path / name
        text = [one if isinstance(one, str) else json.dumps(one) for one in records]
        path.write_text("\n".join(text) + "\n", encoding="utf-8")
        return path

    return lines


def turns(*said, **more):
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return {
        "messages": [{"role": roles.get(role, role), "content": text} for role, text in said],
        "site": "a",
        **more,
    }


def read(path, terms):
    return read_records(path, terms, task="classification")


FORMS = [
    ("text", {"text": " as it is\n"}, " as it is\n"),
    ("prompt-completion", {"prompt": "Q: ", "completion": " yes"}, Completion("Q: ", " yes")),
    ("instruction", {"instruction": "do", "output": "done"}, Completion("do", "done")),
    (
        "instruction",
        {"instruction": "do", "input": "it", "output": "done"},
        Completion("do\n\nit", "done"),
    ),
    (
        "preference",
        {"prompt": "p", "chosen": "good", "rejected": "bad"},
        Preference("p", "good", "bad"),
    ),
    (
        "messages",
        turns(("s", "be kind"), ("u", "hi"), ("a", "hello ")),
        Conversation((Turn("system", "be kind"), Turn("user", "hi"), Turn("assistant", "hello "))),
    ),
]


@pytest.mark.parametrize(("form", "record", "content"), FORMS)
def test_each_form_is_read_as_it_was_written(form, record, content, schema, write):
    path = write({**record, "site": "a"}, "", {**record, "site": "b"})
    records = read(path, schema(form))
    assert records.texts == (content, content)
    assert records.groups[:, 0].tolist() == [0, 1]
    assert records.labels.tolist() == [0, 0]


def test_fields_may_have_names_of_their_own(schema, write):
    terms = schema("messages", messages="dialog", role="from", content="value")
    path = write({"dialog": [{"from": "user", "value": "x"}, {"from": "assistant", "value": "y"}],
                  "site": "a"})  # fmt: skip
    assert read(path, terms).texts == (Conversation((Turn("user", "x"), Turn("assistant", "y"))),)


def test_a_csv_file_holds_the_same_record_under_the_same_name(schema, write, tmp_path):
    record = turns(("u", "hi"), ("a", "ho"), age=63, seen=None, good=True)
    terms = schema("messages")
    path = tmp_path / "site.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(record)
        rows.writerow([json.dumps(record["messages"]), "a", "63.0", "", "true"])
    lines, table = read(write(record), terms), read(path, terms)
    assert lines.texts == table.texts
    # The layout of a cell's JSON is the file's own; that of a line is not.
    loose = write(json.dumps(record, indent=None, separators=(" ,  ", " :  ")), name="b.jsonl")
    assert read(loose, terms).row_hashes == lines.row_hashes
    cell = json.dumps(record["messages"], sort_keys=True, separators=(",", ":"))
    path.write_text(
        'messages,site,age,seen,good\n"{}",a,63,,true\n'.format(cell.replace('"', '""'))
    )
    assert read(path, terms).row_hashes == lines.row_hashes


def test_a_name_that_stands_twice_in_a_csv_cell_is_refused(schema, tmp_path):
    path = tmp_path / "site.csv"
    cell = (
        f'[{{"role": "user", "content": "{SECRET}", "content": "b"}},'
        ' {"role": "assistant", "content": "c"}]'
    )
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["messages", "site"], [cell, "a"]])
    with pytest.raises(DataError, match="a name occurs twice in a turn") as refused:
        read(path, schema("messages"))
    assert SECRET not in str(refused.value)


def test_a_records_name_follows_every_word_turn_and_field(schema, write):
    base = turns(("u", "hi"), ("a", "ho"), id=7)
    others = [
        turns(("u", "hi"), ("a", "ho "), id=7),
        turns(("u", "hi"), ("a", "ho"), id=8),
        turns(("u", "hi"), ("a", "ho"), ("u", "hi"), id=7),
        turns(("u", "hi"), ("a", "ho"), id=7, more="x"),
        turns(("u", "hi"), ("a", "ho"), id=12345678901234567890),
        turns(("u", "hi"), ("a", "ho"), id=12345678901234567891),
    ]
    records = read(write(base, *others), schema("messages"))
    assert len(set(records.row_hashes)) == 1 + len(others)


FAULTS = [
    ("text", '{"text": "Xylophone", "site": "a"', "line 2: no JSON (at character 35)"),
    ("text", '["Xylophone"]', "line 2: a list or a value, where a record's fields must be"),
    ("text", '{"text": "Xylophone", "text": "x", "site": "a"}', "line 2: a field occurs twice"),
    ("text", '{"text": NaN, "site": "a"}', "line 2: holds NaN"),
    ("text", '{"text": "Xylophone\\ud800", "site": "a"}', "field text: holds half of a character"),
    ("text", {"text": 5, "site": "a"}, "line 2, field text: no text"),
    ("text", {"text": ["Xylophone"], "site": "a"}, "line 2, field text: no text"),
    ("text", {"text": " \n", "site": "a"}, "line 2: field text: empty"),
    ("text", {"text": "x" * 201, "site": "a"}, "more than the 200 characters"),
    ("text", {"site": "a"}, "line 2: no field text"),
    (
        "text",
        {"prompt": "Xylophone", "completion": "y", "site": "a"},
        "the line has the form 'prompt-completion', and the charter's data.content.form is 'text'",
    ),
    ("prompt-completion", {"prompt": "x", "completion": "", "site": "a"}, "completion: empty"),
    (
        "preference",
        {"prompt": "", "chosen": "Xylophone", "rejected": "Xylophone", "site": "a"},
        "the same text, so nothing is preferred",
    ),
    ("messages", {"messages": "Xylophone", "site": "a"}, "field messages: no list of turns"),
    ("messages", {"messages": [], "site": "a"}, "no list of turns, or an empty one"),
    ("messages", {"messages": ["Xylophone"], "site": "a"}, "turn 1: no table of role and content"),
    ("messages", {"messages": [{"content": "Xylophone"}], "site": "a"}, "turn 1: no role"),
    ("messages", {"messages": [{"role": "user"}], "site": "a"}, "turn 1: no content"),
    ("messages", turns(("tool", "Xylophone")), "turn 1: a role that is none of system, user"),
    ("messages", turns(("a", "Xylophone")), "the first turn but a system's is not the user's"),
    ("messages", turns(("u", "x"), ("s", "y")), "a system's turn that is not the first one"),
    ("messages", turns(("u", "Xylophone")), "no assistant's turn"),
    ("messages", turns(("u", "x"), ("a", " ")), "turn 2: an empty completion"),
    ("messages", turns(("u", ["x"]), ("a", "y")), "turn 1: content is no text"),
    ("messages", turns(("u", 7), ("a", "y")), "turn 1: content is no text"),
    (
        "messages",
        turns(("u", [{"type": "image", "url": "Xylophone"}]), ("a", "y")),
        "turn 1: content holds a part that is no text, as an image is",
    ),
    ("messages", turns(*[("u", "x"), ("a", "y")] * 3), "more than the 4 turns"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "record", "said"), FAULTS)
def test_a_fault_is_told_by_its_line_and_field_and_never_by_its_words(
    form, record, said, schema, write
):
    good = next(record for name, record, _ in FORMS if name == form)
    with pytest.raises(DataError) as refused:
        read(write({**good, "site": "a"}, record), schema(form))
    assert said in str(refused.value) and "line 2" in str(refused.value)
    assert SECRET not in str(refused.value)


def test_parts_that_are_all_text_are_one_text(schema, write):
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    found = read(write(turns(("u", parts), ("a", "y"))), schema("messages"))
    assert found.texts == (Conversation((Turn("user", "ab"), Turn("assistant", "y"))),)


@pytest.mark.parametrize("ending", ["json", "xls", "gz"])
def test_kinds_of_file_that_are_not_read_are_refused_by_name(ending, schema, tmp_path):
    path = tmp_path / f"site.{ending}"
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"is not read"):
        read(path, schema("text"))


def test_an_empty_file_and_one_that_is_not_utf_8_are_told(schema, write, tmp_path):
    with pytest.raises(DataError, match="the file is empty"):
        read(write(), schema("text"))
    path = tmp_path / "latin.jsonl"
    path.write_bytes('{"text": "é", "site": "a"}\n'.encode("latin-1"))
    with pytest.raises(DataError, match="line 1 seems to be in Latin-1"):
        read(path, schema("text"))


def test_persons_stay_on_one_side_and_an_empty_person_is_an_error(schema, write):
    terms = dataclasses.replace(schema("text"), person="who", max_rows_per_person=2)
    rows = [{"text": f"note {n}", "site": "a", "who": f"p{n // 2}"} for n in range(40)]
    parts = split(read(write(*rows), terms), terms)
    assert not set(parts.train.persons) & set(parts.held_out.persons)
    with pytest.raises(DataError, match="line 2, column who: empty; every row must name its"):
        read(write(rows[0], {**rows[1], "who": None}), terms)


def test_repeats_and_leaks_of_conversations_are_counted(schema, write):
    said = [turns(("u", f"Q {n // 2}"), ("a", f"A {n // 2} "), id=n) for n in range(40)]
    terms = schema("messages")
    facts = gather(write(*said), terms)
    assert facts.errors == () and facts.records == 40
    assert facts.repeats.rows == 0 and facts.repeats.texts == 20 and facts.repeats.leaked > 0
    parts = split(read(write(*said), terms), terms)
    assert find_repeats(parts) == facts.repeats
    topics = [(one.weight, one.topic) for one in findings(facts, terms)]
    assert ("warning", "repeats") in topics
    assert "labels" not in {topic for _, topic in topics}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "x", " text": "y", "site": "a"}', "line 1: a field occurs twice"),
        ('{"text": "x", "site": "a", "\u00e9": 1, "e\u0301": 2}', "line 1: a field occurs twice"),
        ('{"text": "x", "site": "a", "more": {"\u00e9": 1, "e\u0301": 2}}', "in it occurs twice"),
        ('{"text": "x", "site": "a", "\\ud800": 1}', "line 1, a name: holds half of a character"),
    ],
)
def test_two_names_that_are_one_and_half_a_letter_are_told_by_line(schema, write, line, said):
    with pytest.raises(DataError, match=said):
        read(write(line), schema("text"))


def test_nesting_of_any_depth_is_a_cell_or_one_error(schema, write):
    deep = []
    for depth in (100, 700, 900, 950, 990, 3000):
        nested = "[" * depth + "]" * depth
        path = write('{"text": "x", "site": "a", "more": ' + nested + "}")
        try:
            read(path, schema("text"))
        except DataError as error:
            deep.append(str(error))

    assert deep
    assert all("nested too deeply" in said for said in deep)


def test_a_table_that_looks_like_a_number_is_another_row(schema, write):
    values = (5, {"number": "5e0"}, {"number": ["5e0"]}, {"number": 5}, {"number": {"number": 5}})
    paths = [
        write({"text": "x", "site": "a", "more": {"x": value}}, name=f"{place}.jsonl")
        for place, value in enumerate(values)
    ]

    assert len({read(path, schema("text")).fingerprint for path in paths}) == len(values)


def test_an_input_that_is_away_and_an_empty_one_are_the_same_row(schema, write):
    said = {"instruction": "do", "output": "done", "site": "a"}
    paths = [
        write({**said, **more}, name=f"{place}.jsonl")
        for place, more in enumerate(({}, {"input": None}, {"input": ""}))
    ]

    assert len({read(path, schema("instruction")).fingerprint for path in paths}) == 1


@pytest.mark.parametrize(
    "spelled",
    ["12345678901234567890", "1e999", "-0.10", "7", "1E-7", "-0", "123456789.123456789123456789",
     '{"number": "5e0"}', '{"number": ["5e0"]}', '{"number": 5}', '[{"number": [[1.5]]}, "5e0"]'],
)  # fmt: skip
def test_turns_that_are_written_again_are_the_same_record(spelled, schema, tmp_path):
    terms = schema("messages")
    turns = '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "at": %s}]'
    path, again = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_text('{"site": "a", "messages": ' + turns % spelled + "}\n")
    ((_, row),) = raw_rows(path, terms)
    again.write_text(line_of(row, terms.content) + "\n")
    json.loads(again.read_text(), parse_constant=pytest.fail)  # JSON has no Infinity
    ((_, read_again),) = raw_rows(again, terms)
    assert read_again == row


def test_a_number_whose_exponent_nobody_can_hold_is_one_error(schema, write):
    line = '{"text": "x", "site": "a", "more": [1e9999999999]}'
    with pytest.raises(DataError, match="exponent"):
        read(write(line), schema("text"))
