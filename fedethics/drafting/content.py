"""Which task the fields of a file suggest, and where its free text is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fedethics.charter.data_terms import MAX_CELL, ContentForm, ContentTerms
from fedethics.data.admitted import longer
from fedethics.data.content import Conversation, characters
from fedethics.data.forms import read_content
from fedethics.data.records import CellProblem
from fedethics.drafting.tasks import CLASSIFICATION, TASKS
from fedethics.errors import DataError
from fedethics.learning_tasks import find_task
from fedethics.simulation.partition import Row

# By form, the names that files commonly give its fields, the charter's own first.
_NAMES: Mapping[ContentForm, tuple[Mapping[str, str], ...]] = {
    "messages": tuple({"messages": name} for name in ("messages", "conversation", "conversations",
                                                      "dialog", "dialogue", "chat")),
    "preference": ({"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},),
    "prompt-completion": ({"prompt": "prompt", "completion": "completion"},
                          {"prompt": "prompt", "completion": "response"},
                          {"prompt": "question", "completion": "answer"}),
    "instruction": ({"instruction": "instruction", "input": "input", "output": "output"},),
    "text": ({"text": "text"},),
}  # fmt: skip
_TURNS = (("role", "content"), ("from", "value"), ("role", "text"), ("speaker", "text"))
# Above the longest conversation of a file.
_MORE_TURNS = 8


def recognised(
    row: Row, *, label: str, task: str, text: Sequence[str] = ()
) -> tuple[str, ContentTerms | None]:
    """Return the task that a file's fields suggest, and where its content is.

    Args:
        row: a record of the file.
        label: the column to be predicted, where one was named.
        task: that a person asks for; empty for what the fields say.
        text: columns of free text that a person named.

    Raises:
        DataError: no task fits the fields, or not the one asked for.
    """
    if task and task not in TASKS:
        raise DataError(f"--task {task!r} is none of {', '.join(TASKS)}. Nothing was written")
    chosen = task or (CLASSIFICATION.name if label else "")
    if chosen == CLASSIFICATION.name:
        if not label:
            raise DataError("--label: name the column to predict. Nothing was written")
        return chosen, None
    if label:
        raise DataError(
            f"--label and --task {chosen}: that task learns from the text alone. Give one of the "
            "two. Nothing was written"
        )
    for form, content in _found(row, text):
        for name in TASKS if not chosen else (chosen,):
            if form in find_task(name).forms:
                return name, content
    wanted = f"task {chosen!r} reads {' or '.join(find_task(chosen).forms)}" if chosen else (
        "no field says what is learnt (messages; prompt and completion; instruction and output; "
        "prompt, chosen and rejected; text): name the column to predict with --label"
    )  # fmt: skip
    fields = ", ".join(list(row)[:12])
    raise DataError(f"{wanted}. The file has {fields}. Nothing was written")


def _found(row: Row, text: Sequence[str]) -> Iterator[tuple[ContentForm, ContentTerms]]:
    if len(text) == 1:
        yield "text", ContentTerms(form="text", max_characters=MAX_CELL, text=text[0])
    for form, spellings in _NAMES.items():
        for names in spellings:
            if all(name in row for field, name in names.items() if field != "input"):
                content = replace(ContentTerms(form=form, max_characters=MAX_CELL), **_named(names))
                yield form, _with_turns(content, row) if form == "messages" else content
                break


def _named(names: Mapping[str, str]) -> dict[str, Any]:
    return {field: name for field, name in names.items() if field != name}


def _with_turns(content: ContentTerms, row: Row) -> ContentTerms:
    """Return it with the names that the turns of a record have."""
    try:
        first = json.loads(row[content.messages])[0]
    except (ValueError, LookupError, TypeError, RecursionError):
        return content  # what is wrong with the record is said where it is read
    names = set(first) if isinstance(first, dict) else set[str]()
    for role, spoken in _TURNS:
        if {role, spoken} <= names:
            return replace(content, role=role, content=spoken)
    return content


def bounded(content: ContentTerms, rows: Sequence[Row], *, called: str) -> ContentTerms:
    """Return it with limits just above the longest record.

    Raises:
        DataError: a record is not in the form; says which and why, never a word of it.
    """
    most, turns = 1, 1
    for number, row in enumerate(rows, start=1):
        try:
            read = read_content(row, replace(content, max_turns=1000))
        except CellProblem as problem:
            raise DataError(
                f"{called}, record {number}: {problem}. Nothing was written"
            ) from problem
        most = max(most, characters(read))
        turns = max(turns, len(read.turns) if isinstance(read, Conversation) else 1)
    limited = replace(content, max_characters=longer(most))
    return (
        replace(limited, max_turns=turns + _MORE_TURNS) if content.form == "messages" else limited
    )
