"""A text from outside is text and nothing more, in every field of every document we read."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedethics import terms, texts
from tests.texts.fields import Field, document_classes, text_fields

DRAFT = Path(__file__).parents[2] / "configs" / "heart.charter.toml"
# By Unicode's property Default_Ignorable_Code_Point and its categories; see UAX #44.
IGNORED = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\ufe00\U000e0100"
COMMANDS = st.characters(categories=["Cc"], exclude_characters="\n\t")
HIDDEN = st.characters(categories=["Cf"], exclude_characters="\u200c\u200d") | st.sampled_from(
    IGNORED
)
BREAKS = st.characters(categories=["Zl", "Zp"])
UNKNOWN = st.characters(categories=["Cn", "Co", "Cs"])
MORE_THAN_TEXT = COMMANDS | HIDDEN | BREAKS | UNKNOWN
PLAIN = st.text(st.characters(categories=["L", "Nd"], exclude_characters=IGNORED), max_size=5)

SCRIPTS = [
    "two lines\n\tand a tab",
    "می‌خواهم بروم",
    "קוֹל שָׁלוֹם",
    "क्‍ष नमस्ते",
    "中文，测试　二",
    "Zażółć gęślą jaźń; Za\u0307",
    "❤️‍🔥 👨‍👩‍👧 1️⃣",
    "ภาษาไทย ที่นี่",
    "50 % | <b> _x_ `y` $z$ = + - @",
]


def problems_of(field: Field, text: str) -> list[str]:
    """What the reader says about this key; other keys of the table are missing and do not count."""
    found: list[str] = []
    terms.read(field.owner, field.table(text), path="x", problems=found)
    return [one for one in found if one.startswith(f"x.{terms.kebab(field.name)}")]


def test_the_walk_finds_the_documents_of_every_officer():
    names = {cls.__name__ for cls in document_classes()}
    assert {"Charter", "Policy", "SiteFile", "Scenario", "Evidence", "ApprovalFile"} <= names
    assert {"SiteRequest", "Invitation", "Notice", "Receipt", "SignatureFile"} <= names
    assert len(text_fields()) > 100


@pytest.mark.parametrize("field", text_fields(), ids=str)
@settings(max_examples=20)
@given(before=PLAIN, char=MORE_THAN_TEXT, after=PLAIN)
@example(before="owned", char="\x1b", after="]0;owned")
@example(before="", char="\u202e", after="desrever")
@example(before="", char="\x9b", after="2J")
@example(before="a", char="\U000e0041", after="")
def test_no_field_takes_a_character_that_is_more_than_text(field, before, char, after):
    found = problems_of(field, before + char + after)
    assert found
    # The refusal itself may be shown anywhere.
    for sentence in found:
        assert texts.printed(sentence, one_line=True) == sentence
        assert char not in sentence


@pytest.mark.parametrize("field", [one for one in text_fields() if not one.prose], ids=str)
def test_a_name_stands_on_one_line_and_looks_like_no_other(field):
    for char in "\n\t\u00a0\u3000\u200d\u200c\ufe0f":
        assert problems_of(field, f"a{char}b"), repr(char)


@pytest.mark.parametrize("field", [one for one in text_fields() if one.prose], ids=str)
def test_prose_in_the_scripts_of_the_world_is_taken_as_it_is(field):
    for words in SCRIPTS:
        assert not [one for one in problems_of(field, words) if "U+" in one], words


@given(st.text(st.characters(categories=["L", "Nd", "P", "S"], exclude_characters=IGNORED)))
def test_letters_digits_and_signs_of_every_script_make_a_name(text):
    assert texts.fault(text) == ""


@given(st.characters(categories=["Mn", "Me"], exclude_characters=IGNORED + "\ufe0e\ufe0f"))
def test_a_mark_needs_a_character_and_a_character_bears_eight(mark):
    if mark in texts._BLANK:  # variation selectors count as marks in Unicode
        return
    assert texts.fault(mark) and texts.fault(f" {mark}") and texts.fault(f"a\n{mark}", prose=True)
    assert texts.fault(f"a{mark * 8}") == ""
    assert texts.fault(f"a{mark * 9}")


@pytest.mark.parametrize(
    "text", ["\u200d", "a\u200d\u200d", "a \u200cb", "\ufe0fa", "a\ufe0f\ufe0f"]
)
def test_a_joiner_that_joins_nothing_is_refused_in_prose_too(text):
    assert texts.fault(text, prose=True)


def test_the_rule_decides_about_every_character_of_unicode():
    refused = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
    for code in range(0x110000):
        char = chr(code)
        category = unicodedata.category(char)
        if category in refused and char not in "\n\t\u200c\u200d":
            assert texts.fault(f"a{char}", prose=True), f"U+{code:04X}"


def test_a_key_that_nobody_declared_is_shown_harmless():
    found: list[str] = []
    terms.read(document_classes()[0], {"a\x1b]0;owned\n": 1}, path="", problems=found)
    assert all(texts.printed(one, one_line=True) == one for one in found)


def test_digits_of_other_scripts_make_no_time():
    assert problems_of(
        next(one for one in text_fields() if str(one) == "Evidence.started"),
        "٢٠٢٦-٠١-٠٢T٠٣:٠٤:٠٥Z",
    )
