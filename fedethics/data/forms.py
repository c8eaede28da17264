"""The forms that free text comes in, each read from a record's cells or refused.

Guarantee: a message names the field and the turn, and what is allowed; never a word of a record.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, get_args

from fedethics.charter.data_terms import ContentForm, ContentTerms
from fedethics.data.content import (
    ROLES,
    Completion,
    Content,
    Conversation,
    Preference,
    Turn,
    characters,
)
from fedethics.data.json_lines import FieldTwice, unique_fields
from fedethics.data.records import CellProblem

Cells = Mapping[str, str]


def read_content(cells: Cells, terms: ContentTerms) -> Content:
    """Return what a record says, in the charter's form.

    Args:
        cells: of the record, by field.
        terms: the charter's `data.content`.

    Raises:
        CellProblem: something is empty, of another type, out of order or too long.
    """
    content = FORMS[terms.form](cells, terms)
    if characters(content) > terms.max_characters:
        raise CellProblem(
            f"field {', '.join(terms.fields)}: more than the {terms.max_characters} characters of "
            "data.content.max-characters; a record is never cut here"
        )
    return content


def read_prompt(cells: Cells, terms: ContentTerms) -> Content:
    """Return what a record asks, with an empty place for the answer; an answer is not read.

    Args:
        cells: of the record, by field; the answer's may be missing.
        terms: the charter's `data.content`.

    Raises:
        CellProblem: the form asks nothing, or the prompt is empty, out of order or too long.
    """
    if terms.form not in PROMPTS:
        raise CellProblem(f"records of form {terms.form} ask nothing")
    content = PROMPTS[terms.form](cells, terms)
    if characters(content) > terms.max_characters:
        raise CellProblem(
            f"more than the {terms.max_characters} characters of data.content.max-characters"
        )
    return content


def _text(cells: Cells, terms: ContentTerms) -> Content:
    return _said(cells, terms.text)


def _prompt_completion(cells: Cells, terms: ContentTerms) -> Content:
    return Completion(_said(cells, terms.prompt), _said(cells, terms.completion))


def _instruction(cells: Cells, terms: ContentTerms) -> Content:
    asked, more = _said(cells, terms.instruction), _plain(cells, terms.input)
    prompt = f"{asked}\n\n{more}" if more.strip() else asked
    return Completion(prompt, _said(cells, terms.output))


def _preference(cells: Cells, terms: ContentTerms) -> Content:
    prompt = _plain(cells, terms.prompt)
    chosen, rejected = _said(cells, terms.chosen), _said(cells, terms.rejected)
    if chosen == rejected:
        raise CellProblem(
            f"field {terms.chosen}, {terms.rejected}: the same text, so nothing is preferred"
        )
    return Preference(prompt, chosen, rejected)


def _messages(cells: Cells, terms: ContentTerms) -> Content:
    turns = _turns(cells, terms)
    _check_order(turns, f"field {terms.messages}")
    return Conversation(turns)


def _asked_messages(cells: Cells, terms: ContentTerms) -> Content:
    turns, where = _turns(cells, terms), f"field {terms.messages}"
    if turns[-1].role == "assistant":
        turns = turns[:-1]
    if not turns or turns[-1].role != "user":
        raise CellProblem(f"{where}: no question of a user at its end")
    _check_order((*turns, Turn("assistant", "answer")), where)
    return Conversation((*turns, Turn("assistant", "")))


def _asked_prompt(cells: Cells, terms: ContentTerms) -> Content:
    return Completion(_said(cells, terms.prompt), "")


def _asked_instruction(cells: Cells, terms: ContentTerms) -> Content:
    asked, more = _said(cells, terms.instruction), _plain(cells, terms.input)
    return Completion(f"{asked}\n\n{more}" if more.strip() else asked, "")


def _turns(cells: Cells, terms: ContentTerms) -> tuple[Turn, ...]:
    where = f"field {terms.messages}"
    try:
        listed = json.loads(cells.get(terms.messages, ""), object_pairs_hook=unique_fields)
    except FieldTwice as error:
        raise CellProblem(f"{where}: a name occurs twice in a turn") from error
    except (ValueError, RecursionError) as error:
        raise CellProblem(f"{where}: no list of turns") from error
    if not isinstance(listed, list) or not listed:
        raise CellProblem(f"{where}: no list of turns, or an empty one")
    if len(listed) > terms.max_turns:
        raise CellProblem(
            f"{where}: more than the {terms.max_turns} turns of data.content.max-turns"
        )
    return tuple(
        _turn(one, f"{where}, turn {number}", terms) for number, one in enumerate(listed, start=1)
    )


def _turn(raw: Any, where: str, terms: ContentTerms) -> Turn:  # noqa: ANN401  JSON
    if not isinstance(raw, dict):
        raise CellProblem(f"{where}: no table of {terms.role} and {terms.content}")
    for name in (terms.role, terms.content):
        if name not in raw:
            raise CellProblem(f"{where}: no {name}")
    role = next((one for one in ROLES if one == raw[terms.role]), None)
    if role is None:
        raise CellProblem(f"{where}: a {terms.role} that is none of {', '.join(ROLES)}")
    text = _spoken(raw[terms.content], f"{where}: {terms.content}")
    if not text.strip():
        kind = "completion" if role == "assistant" else "turn"
        raise CellProblem(f"{where}: an empty {kind}")
    return Turn(role, text)


def _spoken(raw: Any, where: str) -> str:  # noqa: ANN401  JSON
    """Return a turn's text; some files give it as a list of parts."""
    if isinstance(raw, str):
        return raw
    if not isinstance(raw, list) or not all(isinstance(part, dict) for part in raw):
        raise CellProblem(f"{where} is no text")
    if any(part.get("type") != "text" for part in raw):
        raise CellProblem(f"{where} holds a part that is no text, as an image is; it is not read")
    pieces = [part.get("text") for part in raw]
    if not all(isinstance(piece, str) for piece in pieces):
        raise CellProblem(f"{where} holds a part without text")
    return "".join(map(str, pieces))


def _check_order(turns: tuple[Turn, ...], where: str) -> None:
    roles = [turn.role for turn in turns]
    if "system" in roles[1:]:
        raise CellProblem(f"{where}: a system's turn that is not the first one")
    spoken = roles[1:] if roles[0] == "system" else roles
    if not spoken or spoken[0] != "user":
        raise CellProblem(f"{where}: the first turn but a system's is not the user's")
    if "assistant" not in spoken:
        raise CellProblem(f"{where}: no assistant's turn, so there is nothing to learn from it")


def _plain(cells: Cells, field: str) -> str:
    return cells.get(field, "")


def _said(cells: Cells, field: str) -> str:
    text = _plain(cells, field)
    if not text.strip():
        raise CellProblem(f"field {field}: empty")
    return text


FORMS: Mapping[ContentForm, Callable[[Cells, ContentTerms], Content]] = {
    "text": _text,
    "messages": _messages,
    "prompt-completion": _prompt_completion,
    "instruction": _instruction,
    "preference": _preference,
}
if set(FORMS) != set(get_args(ContentForm)):
    raise TypeError("each form of content needs its reader")

PROMPTS: Mapping[ContentForm, Callable[[Cells, ContentTerms], Content]] = {
    "messages": _asked_messages,
    "prompt-completion": _asked_prompt,
    "instruction": _asked_instruction,
}
