"""A policy's `[personal]`: texts are redacted or refused before anything else, accounts stay."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedethics.charter import document
from fedethics.charter.data_terms import Column, ContentTerms, DataTerms, SensitiveColumn
from fedethics.cli.data import app
from fedethics.data.content import parts
from fedethics.data.file_terms import DataFile
from fedethics.data.personal_terms import PersonalTerms
from fedethics.data.reading import read_records
from fedethics.data.records import split
from fedethics.errors import DataError, PolicyError, RecordsRefusal
from fedethics.policy.model import load_policy
from fedethics.policy.template import policy_text
from fedethics.site.records import facts_or_refusal

CHARTER = Path(__file__).parents[2] / "configs" / "redditbias.charter.toml"
PLANTED = ("anna@ward.example.org", "+46 8 123 456 78", "219-09-9998", "MRN1234567")
KINDS = ("mail", "phone", "us-ssn")
GROUP = SensitiveColumn(name="site", column="site", groups=("a", "b"))
SITE = Column(name="site", kind="category", values=("a", "b"))


def personal(found, **changes):
    return PersonalTerms(
        found=found, **({"kinds": KINDS, "record_number": "MRN[0-9]{7}"} | changes)
    )


def schema(form="", *columns):
    content = ContentTerms(form=form, max_characters=900, max_turns=4) if form else None
    return DataTerms(
        source="made up", holdout_fraction=0.5, split_salt="salt/1", content=content,
        columns=(SITE, *columns), sensitive=(GROUP,),
    )  # fmt: skip


def said_of(number, text):
    turns = [("user", f"Call\n{text}"), ("assistant", f"{text}, noted {number}")]
    return {
        "messages": [{"role": role, "content": said} for role, said in turns],
        "prompt": f"Who is {text}?", "completion": f"{text} of ward {number}", "text": f"x {text}",
        "chosen": f"{text} {number}", "rejected": f"no {text}",
        "instruction": f"Answer {text}", "input": text, "output": f"{number} {text}",
    }  # fmt: skip


@pytest.fixture
def file(tmp_path):
    """Every second record of twelve holds all that is planted, in every field."""
    path = tmp_path / "site.jsonl"
    lines = [
        json.dumps({"site": "ab"[n % 3 == 0], **said_of(n, ", ".join(PLANTED) if n % 2 else "all")})
        for n in range(12)
    ]
    path.write_text("\n".join(lines) + "\n")
    return DataFile(path)


@pytest.mark.parametrize(
    "form", ["text", "messages", "prompt-completion", "instruction", "preference"]
)
def test_texts_of_every_form_hold_no_planted_number_in_training_and_evaluation(file, form):
    terms = schema(form)
    plain, redacted = (
        split(read_records(one, terms, task="causal-lm"), terms)
        for one in (file, file.under(personal("redact")))
    )
    for before, after in ((plain.train, redacted.train), (plain.held_out, redacted.held_out)):
        # The split and both accounts are those of the file, whatever the policy says of texts.
        assert before.row_hashes == after.row_hashes
        assert before.fingerprint == after.fingerprint
        assert before.source_fingerprint == after.source_fingerprint
        assert (before.personal, after.personal) == (0, 6)
        for was, now in zip(before.texts, after.texts, strict=True):
            # One by one, by hand: each value stands once or more, and has one name in the record.
            names = ("[MAIL-1]", "[PHONE-1]", "[US-SSN-1]", "[RECORD-NUMBER-1]")
            wanted = list(parts(was))
            for value, name in zip(PLANTED, names, strict=True):
                wanted = [one.replace(value, name) for one in wanted]
            assert list(parts(now)) == wanted and type(now) is type(was)
    assert any("MRN" in one for text in plain.train.texts for one in parts(text))


def test_text_columns_are_redacted_in_the_text_and_in_the_values(tmp_path):
    note = Column(name="note", kind="text", max_chars=60, phrase="note {value}")
    more = Column(name="more", kind="text", max_chars=60, phrase="more {value}")
    path = tmp_path / "site.csv"
    path.write_text("site,note,more\na,b@x.org and a@x.org,a@x.org\nb,nothing,a@x.org\n")
    found = read_records(DataFile(path, personal=personal("redact")), schema("", note, more))
    assert found.texts == (
        "note [MAIL-1] and [MAIL-2], more [MAIL-2]", "note nothing, more [MAIL-1]",
    )  # fmt: skip
    assert found.values[0]["note"] == "[MAIL-1] and [MAIL-2]" and found.personal == 2


def test_a_record_is_redacted_alike_whatever_else_the_file_holds(file, tmp_path):
    terms, lines = schema("messages"), file.path.read_text().splitlines()
    whole = read_records(file.under(personal("redact")), terms, task="causal-lm").texts
    for number, line in enumerate(lines):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(f"{line}\n")
        alone = read_records(DataFile(path, personal=personal("redact")), terms, task="causal-lm")
        assert alone.texts == (whole[number],)


def test_refuse_names_lines_and_kinds_and_no_value_and_allow_changes_nothing(file):
    terms = schema("messages")
    with pytest.raises(DataError) as caught:
        read_records(file.under(personal("refuse")), terms, task="causal-lm")
    said = str(caught.value)
    assert "line 2, field messages: personal data (mail, phone, record-number, us-ssn)" in said
    assert not any(value in said for value in PLANTED)
    allowed = read_records(file.under(personal("allow")), terms, task="causal-lm")
    assert allowed.texts == read_records(file, terms, task="causal-lm").texts
    assert allowed.personal == 6


@pytest.fixture
def comments(tmp_path):
    path = tmp_path / "comments.csv"
    rows = [f"mail {n}@x.org now,{'women' if n % 2 else 'muslims'},{n % 2}" for n in range(40)]
    path.write_text("\n".join(["comment,target,biased", *rows]) + "\n")
    return path


def test_at_a_site_the_refusal_is_the_one_of_all_that_reads_records(comments):
    charter, file = document.load(CHARTER), DataFile(comments)
    refused = facts_or_refusal(file.under(personal("refuse")), charter)
    assert isinstance(refused, RecordsRefusal) and refused.lasting
    redacted, plain = (
        facts_or_refusal(one, charter) for one in (file.under(personal("redact")), file)
    )
    # The same accounts: who turns redaction on and off gets no second budget.
    assert redacted == plain and not isinstance(plain, RecordsRefusal)


def test_data_check_says_how_many_records_a_policy_redacts(comments, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text(policy_text() + '[personal]\nfound = "redact"\nkinds = ["mail"]\n')
    words = ["check", str(comments), "--charter", str(CHARTER), "--policy", str(policy)]
    ended = CliRunner().invoke(app, words)
    assert re.search(
        r"40 records with personal data of the policy's\s+kinds, redacted", ended.output
    )
    assert "x.org" not in ended.output


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('found = "redact"', "personal: found = 'redact' with nothing to look for: list kinds"),
        ('found = "refuse"', "nothing to look for"),
        ('found = "redact"\nkinds = ["soul"]', "'soul' is unknown; known: mail"),
        ('found = "hide"\nkinds = ["mail"]', "personal.found"),
        ('found = "redact"\nrecord-number = "["', "record-number is no regular expression"),
        ('found = "redact"\nrecord-number = "[0-9]*"', "record-number matches an empty text"),
        ('kinds = ["mail"]', "personal.found"),
    ],
)
def test_a_policy_that_could_not_hold_is_one_error(tmp_path, table, said):
    path = tmp_path / "policy.toml"
    path.write_text(f"{policy_text()}[personal]\n{table}\n")
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    assert said in str(caught.value)


def test_without_the_table_nothing_is_looked_for_and_the_example_in_the_file_is_valid(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(policy_text())
    assert load_policy(path).personal is None
    path.write_text(re.sub(r"^# (\[personal\]|found = \"redact\"$|kinds = \[\"m|record-)", r"\1",
                           policy_text(), flags=re.M))  # fmt: skip
    assert load_policy(path).personal == PersonalTerms(
        found="redact", kinds=("mail", "phone", "birth-date"), record_number="MRN[0-9]{7}"
    )
