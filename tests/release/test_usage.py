"""The model card's code means the charter's words, whatever they hold."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

from fedethics.charter.document import load
from fedethics.release.sections import usage

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
HOSTILE = 'a\\<!-- b ```\n``` \'""" \u202e {x}'


def test_hostile_words_stay_strings_of_the_code():
    draft = load(CONFIGS / "heart.charter.toml")
    label = dataclasses.replace(draft.data.label, positive_name=HOSTILE, negative_name="no")
    charter = dataclasses.replace(
        draft,
        model=dataclasses.replace(draft.model, name=HOSTILE),
        data=dataclasses.replace(draft.data, label=label),
    )
    code = usage.of_adapter(charter)
    assert not [line for line in code.splitlines() if line.startswith("```")]
    assert "<!--" not in code and "\u202e" not in code
    constants = [one.value for one in ast.walk(ast.parse(code)) if isinstance(one, ast.Constant)]
    assert HOSTILE in constants


def test_every_example_is_made_of_the_charter_alone():
    charter = load(CONFIGS / "heart.charter.toml")
    text = usage.example_text(charter.data)
    assert text == usage.example_text(charter.data)
    phrases = [one.phrase for one in charter.data.columns if one.phrase]
    assert all(phrase.split("{value}")[0] in text for phrase in phrases)
