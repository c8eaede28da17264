"""Texts that people read: which characters may enter, and how a text leaves by each way out.

Charters, policies, requests, receipts, data and file names come from others. A text is more than
text where a character of it moves the cursor, turns the line round, hides, or ends the cell that
it stands in. So there is one rule for what enters (`fault`), and one escaping for each way out:
`printed` for terminals, `json_text` for JSON and YAML, `markdown` and `code` for Markdown, `cell`
for CSV, `label` for Prometheus. HTML is escaped by jinja2 (`fedethics.release.pages`).

The rule, by Unicode's own categories (UAX #44; Unicode Technical Report 36 on what goes wrong):

- a name is one line: letters, marks, digits, punctuation and symbols of any script, and the plain
  space;
- prose may hold newlines, tabs and every kind of space besides, and the joiners that Persian, Indic
  scripts and emoji need: one variation selector 15 or 16 and one zero-width (non-)joiner after a
  visible character;
- refused in both: control, escape, bidirectional and other format characters, line and paragraph
  separators, private use, surrogates, what is not assigned, what shows nothing, a combining mark
  without a base character, and more than 8 of them on one character.

Arabic and Hebrew need no bidirectional controls: terminals and browsers order them by themselves.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_MOST_MARKS = 8
_JOINERS = frozenset("\u200c\u200d")
_SELECTORS = frozenset("\ufe0e\ufe0f")
_BREAKS = frozenset("\n\t")
_NO_BREAKS = str.maketrans(dict.fromkeys(_BREAKS, " "))
# They show nothing, though Unicode counts them as letters, marks or symbols (property
# Default_Ignorable_Code_Point, and the blank Braille pattern).
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, range(0xFE00, 0xFE10)))
    + "".join(map(chr, range(0xE0100, 0xE01F0)))
)
_WHY = {
    "Cc": "a control character can move the cursor or command a terminal",
    "Cf": "it is invisible, and can turn or hide the text around it",
    "Cn": "it is not an assigned character of Unicode",
    "Co": "its appearance depends on a font",
    "Cs": "it is half a character",
    "Zl": "it begins a new line invisibly",
    "Zp": "it begins a new line invisibly",
}
# Escaped wherever they stand in Markdown; a backslash before them gives the character itself.
_MARKDOWN = re.compile(r"[\\`*\[\]<>|~&$]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")
# These begin a heading, a rule or a list at the start of a line; a negative number does not.
_MARKDOWN_START = re.compile(r"^(?:([#=]|[-+](?![0-9.]))|(\d{1,9})([.)])(?=\s|$))")
# A spreadsheet runs a cell that begins so (OWASP, "CSV injection").
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def fault(text: str, *, prose: bool = False) -> str:
    """Return what is wrong with a text that comes in, as a sentence about it, or "".

    Args:
        text: from anybody.
        prose: several lines and the joiners of world scripts are allowed; a name has neither.
    """
    for place, why in _refused(text, prose=prose):
        return f"has {_named(text[place])} as character {place + 1}: {why}. Write it without"
    return ""


def printed(text: str, *, one_line: bool = False) -> str:
    r"""Return a text as a terminal or page may show it: what `fault` refuses in prose is spelled.

    Refused characters come out as in a Python string, for example `\x1b` and `\u202e`.

    Args:
        text: from anybody.
        one_line: newlines and tabs are spelled as well.
    """
    refused = {place for place, _ in _refused(text, prose=True)}
    if not refused and not (one_line and _BREAKS & set(text)):
        return text
    return "".join(
        _spelled(char) if place in refused or (one_line and char in _BREAKS) else char
        for place, char in enumerate(text)
    )


def in_line(text: str) -> str:
    """Return prose as part of a line: its breaks become spaces, so that it can begin no other."""
    return printed(" ".join(text.split()))


def message(text: str) -> str:
    """Return an error's message as a terminal may show it; a new line is an item of a list only.

    Messages quote names of files and headers that others chose, and those may hold newlines.
    """
    first, *items = text.split("\n  - ")
    return "\n  - ".join(printed(part, one_line=True) for part in (first, *items))


def json_text(document: object, *, indent: int | None = None) -> str:
    """Return JSON that a terminal can show; a JSON or YAML reader gets every character back.

    Raises:
        ValueError: a number is not finite.
    """
    spelled = json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False)
    # Outside of strings JSON is ASCII, so what is replaced stands in a string.
    return "".join(
        char
        if char == "\n" or (char.isprintable() and char not in _BLANK)
        else json.dumps(char)[1:-1]
        for char in spelled
    )


def markdown(text: str) -> str:
    """Return a text as one run of Markdown that renders as itself and ends nothing.

    Newlines become spaces, as they do on a page, so that no line of it can begin a heading.
    Source: CommonMark 0.31, sections 2.4 (backslash escapes) and 4 (blocks); GitHub's tables.
    """
    plain = in_line(text)
    escaped = _MARKDOWN.sub(lambda found: f"\\{found.group()}", plain)
    return _MARKDOWN_START.sub(
        lambda found: (
            f"\\{found.group(1)}" if found.group(1) else f"{found.group(2)}\\{found.group(3)}"
        ),
        escaped,
    )


def code(text: str) -> str:
    """Return a text as a code span of Markdown, whatever backticks it holds."""
    plain = in_line(text)
    runs = {len(run) for run in re.findall(r"`+", plain)}
    fence = "`" * next(n for n in range(1, len(runs) + 2) if n not in runs)
    pad = " " if plain.startswith("`") or plain.endswith("`") or not plain else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def cell(value: object) -> object:
    """Return a value as a cell of CSV that no spreadsheet runs; numbers are left as they are."""
    if not isinstance(value, str):
        return value
    plain = printed(value, one_line=True)
    # The apostrophe tells a spreadsheet that text follows.
    return f"'{plain}" if plain.lstrip().startswith(_FORMULA) else plain


def label(text: str) -> str:
    """Return a text as the value of a Prometheus label, without its quotation marks.

    Source: Prometheus text exposition format 0.0.4.
    """
    plain = printed(text)
    return plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _refused(text: str, *, prose: bool) -> Iterator[tuple[int, str]]:
    """Yield each place of a refused character, and why it is refused."""
    # Most texts are of such characters alone, and none of these is refused.
    plain = text.translate(_NO_BREAKS) if prose else text
    if plain.isascii() and plain.isprintable():
        return
    stack = _Stack()
    for place, char in enumerate(text):
        why = stack.put(char, prose=prose)
        if why:
            yield place, why


@dataclass(slots=True)
class _Stack:
    """What stands at the end of a text so far: a visible character, marks on it, joiners after it.

    Attributes:
        base: a visible character is there for marks and joiners.
        marks: how many combining marks it carries.
        joiner, selector: the last character was one.
    """

    base: bool = False
    marks: int = 0
    joiner: bool = False
    selector: bool = False

    def put(self, char: str, *, prose: bool) -> str:
        """Add a character; return why it is refused, or ""."""
        if char in _JOINERS or char in _SELECTORS:
            return self._join(char, prose=prose)
        self.joiner = self.selector = False
        category = unicodedata.category(char)
        if category[0] == "M" and char not in _BLANK:
            self.marks += 1
            if not self.base:
                return "a combining mark has no base character"
            full = self.marks > _MOST_MARKS
            return f"more than {_MOST_MARKS} marks are on one character" if full else ""
        self.marks = 0
        self.base = category[0] in "LNPS"
        if char == " " or (prose and char in _BREAKS):
            return ""
        if char in _BLANK:
            return "it shows nothing"
        if category == "Zs":
            return "" if prose else "a name may hold only the plain space"
        return _WHY.get(category, "")

    def _join(self, char: str, *, prose: bool) -> str:
        again = self.joiner or (self.selector and char in _SELECTORS)
        self.joiner, self.selector = char in _JOINERS, char in _SELECTORS
        if not prose:
            return "it is invisible, and two names would look alike"
        return "" if self.base and not again else "it joins nothing"


def _named(char: str) -> str:
    name = unicodedata.name(char, "")
    return f"U+{ord(char):04X}{f' ({name})' if name else ''}"


def _spelled(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def readable(value: float, digits: int = 4) -> str:
    """Return a number as people read it; an infinite epsilon is spelled out."""
    return "infinite" if math.isinf(value) else f"{value:.{digits}g}"


def event_line(entry: Mapping[str, object]) -> str:
    """Return one entry of a log in words: the event, then what it says; the time is left out."""
    said = [
        f"{in_words(key.replace('-', ' '))} {in_words(value)}"
        for key, value in entry.items()
        if key not in ("time", "event")
    ]
    event = in_words(entry.get("event", "event"))
    return f"{event}: {', '.join(said)}" if said else event


def in_words(value: object) -> str:
    """Return a value of a JSON document as people read it, on one line."""
    if isinstance(value, Mapping):
        if set(value) == {"value", "low", "high"}:
            ends = f"{in_words(value['low'])} to {in_words(value['high'])}"
            return f"{in_words(value['value'])} ({ends})"
        return (
            ", ".join(f"{in_words(key)} ({in_words(item)})" for key, item in value.items())
            or "none"
        )
    if isinstance(value, list | tuple):
        return ", ".join(in_words(item) for item in value) or "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return readable(value) if isinstance(value, float) else in_line(str(value))
