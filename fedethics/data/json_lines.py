"""A file of JSON lines: one record a line, each a table of fields.

Guarantee: a message names the line and the field and never a value. Numbers keep every digit, and
text keeps its blanks; what is a column, label or person is stripped, as a cell of a CSV file is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fedethics.charter.data_terms import FORM_FIELDS, MAX_CELL, ContentTerms, DataTerms
from fedethics.charter.spelling import composed, exact_number
from fedethics.data.file_terms import FileTerms
from fedethics.data.files import FileKind, Rows, needed_fields
from fedethics.data.records import CellProblem
from fedethics.errors import DataError

# One spelling: row identity rests on it.
_CANONICAL: dict[str, Any] = {
    "sort_keys": True, "separators": (",", ":"), "ensure_ascii": False, "allow_nan": False
}  # fmt: skip
# One line; bounds memory.
_MOST_READ = 16 * 2**20
# Beyond, a number is written with its exponent.
_ZEROS = 16


def json_rows(path: Path, terms: DataTerms, _read: FileTerms) -> Rows:
    """Yield each record's line and its cells by field; see `reading.raw_rows`.

    Raises:
        OSError: unreadable.
        UnicodeDecodeError: not UTF-8.
        CellProblem: a line is no JSON table, or lacks a field that the charter names.
    """
    cells, found = CellsOf(terms), False
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for number, line in _lines(file):
            if line.strip():
                found = True
                yield number, cells(_table(line, number), number)
    if not found:
        raise CellProblem("the file is empty")


class CellsOf:
    """Makes a record's fields its cells, by a charter's schema."""

    def __init__(self, terms: DataTerms) -> None:
        """Take over which fields must be there, and which are free text or turns."""
        self._needed, self._content = needed_fields(terms), terms.content
        self._fields = set(terms.content.fields) if terms.content else set[str]()
        messages = terms.content is not None and terms.content.form == "messages"
        self._turns = self._fields if messages else set[str]()
        self._written = self._fields - self._turns

    def __call__(self, record: dict[str, Any], number: int) -> dict[str, str]:
        """Return the cells of a record whose numbers are `Number`.

        Raises:
            CellProblem: a field that the charter names is absent, or of another type.
        """
        missing = [name for name in self._needed if name not in record]
        if missing:
            hint = _other_form(record, self._content)
            raise CellProblem(f"line {number}: no field {', '.join(missing)}{hint}")
        # A field that may be away is empty then: programs write the one for the other.
        cells = dict.fromkeys(self._fields.difference(record), "")
        for name, value in record.items():
            where = f"line {number}, field {name}"
            plain = name in self._written
            cells[name] = (
                _written(value, where) if plain else cell(value, where, turns=name in self._turns)
            )
        return cells


def _lines(file: Any) -> Iterator[tuple[int, str]]:  # noqa: ANN401  a text file
    number = 0
    while line := file.readline(_MOST_READ + 1):
        number += 1
        if len(line) > _MOST_READ:
            raise CellProblem(f"line {number}: longer than {_MOST_READ} characters")
        yield number, line


def _table(line: str, number: int) -> dict[str, Any]:
    try:
        record = json.loads(
            line,
            object_pairs_hook=unique_fields,
            # Numbers as they are written: ids are longer than a float is exact.
            parse_int=Number,
            parse_float=Number,
            parse_constant=_no_number,
        )
    except FieldTwice as problem:
        raise CellProblem(f"line {number}: a field occurs twice") from problem
    except json.JSONDecodeError as problem:
        raise CellProblem(
            f"line {number}: no JSON (at character {problem.pos + 1}); each line must be one record"
        ) from problem
    except RecursionError as problem:
        raise CellProblem(f"line {number}: nested too deeply") from problem
    except _NoNumber as problem:
        raise CellProblem(f"line {number}: holds NaN or Infinity, which is no JSON") from problem
    if not isinstance(record, dict):
        raise CellProblem(f"line {number}: a list or a value, where a record's fields must be")
    named = {_bounded(name.strip(), f"line {number}, a name"): one for name, one in record.items()}
    if len(named) < len(record):  # "a" and " a ", or a letter in its two forms
        raise CellProblem(f"line {number}: a field occurs twice")
    if not all(named):
        raise CellProblem(f"line {number}: a field has no name")
    return named


class Number(str):
    """A number as the file spells it."""

    __slots__ = ()


class FieldTwice(ValueError):
    """A JSON table holds a name twice; which of the two was meant is unknown."""


class _NoNumber(ValueError):
    pass


def unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON table, as an `object_pairs_hook`.

    Raises:
        FieldTwice: a name stands in it twice.
    """
    table = dict(pairs)
    if len(table) < len(pairs):
        raise FieldTwice
    return table


def _no_number(_word: str) -> Any:  # noqa: ANN401
    raise _NoNumber


def _written(value: Any, where: str) -> str:  # noqa: ANN401  JSON
    """Return free text as it was written."""
    if value is not None and (not isinstance(value, str) or isinstance(value, Number)):
        raise CellProblem(f"{where}: no text")
    return _bounded(value or "", where)


def cell(value: Any, where: str, *, turns: bool = False) -> str:  # noqa: ANN401  JSON
    """Return a value as a cell of a CSV file would hold it."""
    if turns and not isinstance(value, list | None):
        raise CellProblem(f"{where}: no list of turns")
    if isinstance(value, str):
        return _bounded(value.strip(), where)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    # Canonical, so that one record has one hash however its JSON is laid out.
    try:
        return _bounded(json.dumps(_plain(value), **_CANONICAL), where)
    except FieldTwice as problem:
        raise CellProblem(f"{where}: a field in it occurs twice") from problem
    except _NoNumber as problem:
        raise CellProblem(f"{where}: a number whose exponent has over 9 digits") from problem
    except RecursionError as problem:
        raise CellProblem(f"{where}: nested too deeply") from problem


def _plain(value: Any) -> Any:  # noqa: ANN401  JSON
    """Return a value in which equal ones are spelled alike, and no others."""
    if isinstance(value, dict):
        table = {composed(name): _plain(inner) for name, inner in value.items()}
        if len(table) < len(value):
            raise FieldTwice
        # A table that looks like a number, below, is none.
        return {"number": [table["number"]]} if set(table) == {"number"} else table
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, Number):
        # No text: a turn that says a number is refused. Every digit counts.
        if (number := exact_number(value)) is None:
            raise _NoNumber
        return {"number": number}
    return composed(value) if isinstance(value, str) else value


def line_of(row: Mapping[str, str], content: ContentTerms) -> str:
    """Return a record as a line of JSON, its turns as a list again.

    Guarantee: read again, the line has the same cells, every digit of a number too.

    Raises:
        DataError: the turns hold NaN or Infinity, which is no JSON, or are nested too deeply.
    """
    turns = content.messages if content.form == "messages" else None
    fields = (
        f"{_text(name)}: {_respelled(said, name) if name == turns else _text(said)}"
        for name, said in row.items()
    )
    return f"{{{', '.join(fields)}}}"


def _respelled(turns: str, name: str) -> str:
    try:
        return _spelled(
            json.loads(turns, parse_int=Number, parse_float=Number, parse_constant=_no_number)
        )
    except _NoNumber as problem:
        raise DataError(
            f"field {name}: holds NaN or Infinity, which is no JSON. Nothing was written"
        ) from problem
    except RecursionError as problem:
        raise DataError(f"field {name}: nested too deeply. Nothing was written") from problem


def _spelled(value: object) -> str:
    """Return JSON in which numbers stand as they are: no float is between; undoes `_plain`."""
    if isinstance(value, Number):
        return value
    if isinstance(value, list):
        return f"[{', '.join(_spelled(inner) for inner in value)}]"
    if not isinstance(value, dict):
        return _text(value)
    inner = value.get("number")
    if set(value) == {"number"} and isinstance(inner, str) and not isinstance(inner, Number):
        return _decimal(inner)
    if set(value) == {"number"} and isinstance(inner, list) and len(inner) == 1:
        value = {"number": inner[0]}
    pairs = (f"{_text(key)}: {_spelled(one)}" for key, one in value.items())
    return f"{{{', '.join(pairs)}}}"


def _decimal(exact: str) -> str:
    """Return a number that `exact_number` spelled, without an exponent where it is short."""
    digits, _, power = exact.partition("e")
    places = int(power or "0")
    if 0 <= places <= _ZEROS:
        return digits + "0" * places
    if -_ZEROS <= places < 0:
        sign, digits = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
        digits = digits.rjust(1 - places, "0")
        return f"{sign}{digits[:places]}.{digits[places:]}"
    return exact


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _bounded(text: str, where: str) -> str:
    if len(text) > MAX_CELL:
        raise CellProblem(f"{where}: longer than {MAX_CELL} characters")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CellProblem(f"{where}: holds half of a character (a lone surrogate)") from error
    return composed(text)


def _other_form(record: dict[str, Any], content: ContentTerms | None) -> str:
    """Say that a line has another form than the charter's, where it can be recognised."""
    if content is None:
        return ""
    for form, fields in FORM_FIELDS.items():
        names = [str(getattr(content, field)) for field in fields if field != "input"]
        if form != content.form and all(name in record for name in names):
            return (
                f"; the line has the form {form!r}, and the charter's data.content.form is "
                f"{content.form!r}. One file has one form"
            )
    return ""


JSON_LINES = FileKind(
    format="json-lines", name="JSON lines", endings=(".jsonl", ".ndjson"), rows=json_rows
)
