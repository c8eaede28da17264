"""A charter's TOML with new values for some of its keys; comments, order and layout do not change.

Guarantee: the text that is returned, parsed, is the given one with these keys changed and nothing
else; where the layout does not allow that, there is an error and no text.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedethics.errors import CharterError

_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]\]?\s*(?:#.*)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One key of a charter and its new value.

    Attributes:
        table: where it stands, such as "data.label", or "data.columns" for one of several.
        name: which of several tables: its `name`; empty for the only one.
        key: in it.
        value: a text, a number, or a list of texts.
    """

    table: str
    name: str
    key: str
    value: str | float | list[str]

    @property
    def line(self) -> str:
        """The line as a charter has it."""
        return f"{self.key} = {toml_value(self.value)}"

    @property
    def header(self) -> str:
        """The table that the line belongs to."""
        if not self.name:
            return f"[{self.table}]"
        return f"[[{self.table}]] # name = {toml_value(self.name)}"


def toml_value(value: object) -> str:
    """Return a text, a number or a list of them as TOML, which spells them as JSON does."""
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


def fragment(changes: Sequence[Change]) -> str:
    """Return the changes as lines to be put into a charter by hand."""
    lines: list[str] = []
    for header in dict.fromkeys(change.header for change in changes):
        lines += ["", header, *(one.line for one in changes if one.header == header)]
    return "\n".join([*lines[1:], ""])


def patch(before: str, after: str, *, name: str) -> str:
    """Return the difference of two texts for `git apply` and `patch`, in the charter's folder."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}"
    )
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def amended(text: str, changes: Sequence[Change]) -> str:
    """Return a charter's text with the changes in it.

    Raises:
        CharterError: a table is not there, or not written under a header of its own.
    """
    expected = tomllib.loads(text)
    for change in changes:
        _set(expected, change)
        text = _replaced(text, change)
    try:
        right = tomllib.loads(text) == expected
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise CharterError(_by_hand(changes[0].table))
    return text


def _by_hand(table: str) -> str:
    return f"the charter's [{table}] is laid out in a way that is not changed here; edit it by hand"


def _set(table: dict[str, Any], change: Change) -> None:
    *path, last = change.table.split(".")
    place: Any = table
    for part in path:
        place = place.get(part, {})
    found = place.get(last)
    if isinstance(found, list):
        found = next((one for one in found if one.get("name") == change.name), None)
    if not isinstance(found, dict):
        raise CharterError(_by_hand(change.table))
    found[change.key] = change.value


def _replaced(text: str, change: Change) -> str:
    lines = text.splitlines(keepends=True)
    for start, end in _blocks(lines, change.table):
        table = _table(lines[start:end])
        if table is not None and (not change.name or table.get("name") == change.name):
            lines[start:end] = _with(lines[start:end], change)
            return "".join(lines)
    raise CharterError(_by_hand(change.table))


def _blocks(lines: Sequence[str], table: str) -> Iterator[tuple[int, int]]:
    """Yield where each table of that name begins, behind its header, and where it ends."""
    headers = [
        (number, match[2])
        for number, line in enumerate(lines)
        if (match := _HEADER.fullmatch(line.rstrip("\r\n")))
    ]
    ends = [number for number, _ in headers[1:]] + [len(lines)]
    for (number, name), end in zip(headers, ends, strict=True):
        if name == table:
            yield number + 1, end


def _table(lines: Sequence[str]) -> Mapping[str, Any] | None:
    try:
        return tomllib.loads("".join(lines))
    except tomllib.TOMLDecodeError:
        return None


def _with(lines: list[str], change: Change) -> list[str]:
    """Return a table's lines with the key in it."""
    starts = re.compile(rf"\s*{re.escape(change.key)}\s*=")
    filled = [
        number for number, line in enumerate(lines) if line.strip() and line.lstrip()[0] != "#"
    ]
    for number in filled:
        if starts.match(lines[number]):
            end = number + 1
            while end < len(lines) and _table(lines[number:end]) is None:
                end += 1
            comment = _comment(lines[number:end])
            return [*lines[:number], f"{change.line}{comment}\n", *lines[end:]]
    place = filled[-1] + 1 if filled else 0
    before = lines[:place]
    if before and not before[-1].endswith("\n"):
        before[-1] += "\n"
    return [*before, f"{change.line}\n", *lines[place:]]


def _comment(lines: Sequence[str]) -> str:
    """Return the comment behind a value, with a blank before it; or ""."""
    whole, last = _table(lines), lines[-1].rstrip()
    for place in (match.start() for match in re.finditer("#", last)):
        if _table([*lines[:-1], last[:place]]) == whole:
            return f" {last[place:]}"
    return ""
