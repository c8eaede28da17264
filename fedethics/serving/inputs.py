"""What a client asks: JSON read strictly, and records worded as the charter says.

Guarantee: a message names the field or the column and what is allowed, and never a value that a
client sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fedethics.charter.data_terms import DataTerms
from fedethics.data.content import ROLES, Completion, Content, Conversation, Turn
from fedethics.data.json_lines import CellsOf, FieldTwice, Number, unique_fields
from fedethics.data.records import CellProblem
from fedethics.scoring.new_records import NewRecord, unlabelled, worded

MOST_RECORDS = 1000
_MOST_TURNS = 200
# What other servers do and this one does not; refused, never overlooked.
_REFUSED: Mapping[str, tuple[object, ...]] = {
    "temperature": (0, 0.0),
    "top_p": (1, 1.0),
    "n": (1,),
    "stop": (),
    "tools": ([],),
    "functions": ([],),
    "logprobs": (False,),
    "response_format": ({"type": "text"},),
    "presence_penalty": (0, 0.0),
    "frequency_penalty": (0, 0.0),
    "logit_bias": ({},),
}


class Refused(Exception):
    """A request that is not answered.

    Attributes:
        status: of HTTP.
        message: for the client; holds nothing that it sent.
    """

    def __init__(self, status: int, message: str) -> None:
        """Say why."""
        super().__init__(message)
        self.status, self.message = status, message


def table(body: bytes) -> dict[str, Any]:
    """Return the JSON table of a request.

    Raises:
        Refused: no JSON, a name twice, or no table.
    """
    try:
        found = json.loads(body, object_pairs_hook=unique_fields, parse_constant=_no_number)
    except FieldTwice:
        raise Refused(400, "a field occurs twice in the request's JSON") from None
    except (ValueError, RecursionError):
        raise Refused(400, "the request's body is no JSON") from None
    if not isinstance(found, dict):
        raise Refused(400, "the request's body must be a JSON object")
    return found


def records(asked: Mapping[str, Any], terms: DataTerms) -> list[NewRecord]:
    """Return the records that `{"records": [{column: value}, ...]}` holds.

    Raises:
        Refused: none, too many, or one is not as the charter says.
    """
    rows = asked.get("records")
    if not isinstance(rows, list) or not rows:
        raise Refused(400, "records: a list of objects, one a record, each with the columns' names")
    if len(rows) > MOST_RECORDS:
        raise Refused(413, f"records: at most {MOST_RECORDS} in one request")
    schema = unlabelled(terms)
    cells = CellsOf(schema)
    found, problems = [], list[str]()
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise Refused(400, f"records: number {number} is no object")
        try:
            named = {name: _as_written(value) for name, value in row.items()}
            found.append(worded(number, cells(named, number), schema, problems))
        except CellProblem as problem:
            problems.append(str(problem))
        if problems:
            raise Refused(422, problems[0].replace("line ", "record ", 1))
    return found


def conversation(asked: Mapping[str, Any], *, plain: bool) -> Content:
    """Return what `{"messages": [...]}` asks, an empty place for the answer at its end.

    Args:
        asked: the request.
        plain: whether the charter's own words stand around one prompt, without turns.

    Raises:
        Refused: not as OpenAI's clients write it, or asks for what is not built.
    """
    for name, allowed in _REFUSED.items():
        if asked.get(name) is not None and asked[name] not in allowed:
            raise Refused(400, f"{name}: not built; answers are the likeliest ones (greedy)")
    messages = asked.get("messages")
    if not isinstance(messages, list) or not 0 < len(messages) <= _MOST_TURNS:
        raise Refused(400, f"messages: a list of 1 to {_MOST_TURNS} messages")
    turns = [_turn(number, one) for number, one in enumerate(messages, start=1)]
    if turns[-1].role != "user":
        raise Refused(400, "messages: the last one must have role user")
    if not plain:
        return Conversation((*turns, Turn("assistant", "")))
    if len(turns) > 1:
        raise Refused(400, "messages: this model was trained on single prompts; send one message")
    return Completion(turns[0].text, "")


def most_tokens(asked: Mapping[str, Any], *, limit: int) -> int:
    """Return how many tokens an answer may have.

    Raises:
        Refused: no whole number, or more than this server gives.
    """
    named = [
        name for name in ("max_completion_tokens", "max_tokens") if asked.get(name) is not None
    ]
    if not named:
        return limit
    most = asked[named[0]]
    if type(most) is not int or not 1 <= most <= limit:
        raise Refused(400, f"{named[0]}: a whole number from 1 to {limit}")
    return most


def _turn(number: int, message: object) -> Turn:
    where = f"messages: number {number}"
    if not isinstance(message, dict):
        raise Refused(400, f"{where} is no object")
    role, text = message.get("role"), message.get("content")
    if isinstance(text, list):
        parts = [one.get("text") if isinstance(one, dict) else None for one in text]
        kinds = [one.get("type") if isinstance(one, dict) else None for one in text]
        if any(kind != "text" for kind in kinds) or not all(
            isinstance(part, str) for part in parts
        ):
            raise Refused(400, f"{where}: content has parts other than text")
        text = "".join(str(part) for part in parts)
    if role not in ROLES:
        raise Refused(400, f"{where}: role must be one of {', '.join(ROLES)}")
    if not isinstance(text, str) or not text:
        raise Refused(400, f"{where}: content must be a text")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Refused(400, f"{where}: content holds half a character (a lone surrogate)") from None
    return Turn(role, text)


def _as_written(value: object) -> object:
    """Return a JSON value as the reader of files has it: numbers as they are spelled."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return Number(json.dumps(value))


def _no_number(_word: str) -> Any:  # noqa: ANN401
    raise ValueError
