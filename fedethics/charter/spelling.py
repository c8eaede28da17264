"""When two spellings are the same value: numbers exactly, letters composed, nothing invisible.

A value that is an identity (a person, a row, a category, a group, a label) is compared as text or
as an exact decimal, never as a floating-point number: two ids of 18 digits are the same float.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from functools import lru_cache
from typing import Any

# As files spell numbers: no blanks, underscores, other scripts' digits, "inf" or "nan".
_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,9}))?", re.ASCII)
_COMMA = re.compile(r"[+-]?[0-9][0-9.]*,[0-9,.]*[0-9]", re.ASCII)
# Characters that a screen shows as nothing: format characters, controls, line separators.
_UNSEEN = frozenset({"Cf", "Cc", "Zl", "Zp"})
# What programs and people write where nothing was recorded, in small letters.
MEANS_NOTHING = frozenset(
    {"?", "-", "--", ".", "na", "n/a", "nan", "nil", "none", "null", "unknown", "missing",
     "not recorded", "not known"}
)  # fmt: skip
# Spellings of one yes and one no.
YES = frozenset({"1", "1.0", "yes", "y", "true", "t"})
NO = frozenset({"0", "0.0", "no", "n", "false", "f"})
# An "=" after these is most likely part of the value, as in "<=12 years".
_COMPARING = ("<", ">", "!", "~")


def composed(text: str) -> str:
    """Return `text` in Unicode's composed form (NFC), in which letters that look alike are alike.

    A Mac may write an umlaut as two characters where others write one.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def composed_all(table: Any) -> Any:  # noqa: ANN401  parsed TOML or JSON
    """Return a parsed table with every text in it, keys too, in composed form."""
    if isinstance(table, dict):
        return {composed_all(key): composed_all(value) for key, value in table.items()}
    if isinstance(table, list):
        return [composed_all(value) for value in table]
    return composed(table) if isinstance(table, str) else table


def exact_number(text: str) -> str | None:
    """Return the one spelling of the exact decimal that `text` is, or None if it is no number.

    "7", "007", "7.0" and "0.7e1" give the same; no digit is ever lost, however many there are.
    """
    match = _NUMBER.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        return None
    sign, whole, fraction, exponent = match[1], match[2], match[3] or "", int(match[4] or "0")
    digits = (whole + fraction).lstrip("0")
    kept = digits.rstrip("0")
    if not kept:
        return "0"
    power = exponent - len(fraction) + len(digits) - len(kept)
    return f"{'-' if sign == '-' else ''}{kept}e{power}"


@lru_cache(maxsize=4096)
def shown_pair(entry: str) -> tuple[str, str]:
    r"""Return the two sides of an entry `raw=shown`; the second is empty where there is no "=".

    The first "=" divides; one that belongs to the value itself is written "\=".
    """
    raw, _, shown = entry.replace(r"\=", "\0").partition("=")
    return raw.replace("\0", "="), shown.replace("\0", "=")


def pair_problem(entry: str) -> str:
    """Return what makes an entry `raw=shown` mean two things, or nothing at all; or ""."""
    plain = entry.replace(r"\=", "")
    before = plain.partition("=")[0]
    raw, shown = shown_pair(entry)
    if not raw:
        return f"{entry!r} has no value; an empty cell is never a value"
    if plain.count("=") > 1 or ("=" in plain and before.endswith(_COMPARING)):
        escaped = entry.replace(r"\=", "=").replace("=", r"\=")
        return (
            f"{entry!r} would be read as the value {raw!r} shown as {shown!r}; if the = belongs to "
            rf"the value, write it with a backslash: '{escaped}' (in TOML between single quotes)"
        )
    if raw != raw.strip():
        return (
            f"{entry!r} has a blank at an end; blanks are removed from every cell, so no cell can "
            "match it"
        )
    return ""


def invisible(text: str) -> str:
    """Return the name of the first character that a screen does not show, or ""."""
    for character in text:
        if unicodedata.category(character) in _UNSEEN:
            name = unicodedata.name(character, "control character")
            return f"U+{ord(character):04X} {name}"
    return ""


def why_unlike(raw: str, allowed: Collection[str]) -> str:
    """Return why `raw`, which is none of `allowed`, may look as if it were; or "".

    It never holds `raw`.
    """
    if hidden := invisible(raw):
        return f"it holds {hidden}, which is invisible; remove it"
    number = exact_number(raw)
    if number is not None and number in set(map(exact_number, allowed)):
        return (
            "it is an agreed number in another spelling, such as 1.0 for 1; save the column as "
            "text, or as whole numbers"
        )
    if raw.casefold() in {one.casefold() for one in allowed}:
        return "it differs from an agreed value only in small and capital letters"
    if _plain(raw) in set(map(_plain, allowed)):
        return "it looks like an agreed value, but has other characters or blanks"
    return ""


def escaped(value: str) -> str:
    """Return a value as it stands in an entry where "=" divides."""
    return value.replace("=", r"\=")


def alike(raw: str, allowed: Collection[str]) -> str:
    """Return the one of `allowed` that `raw` is another spelling of, or ""."""
    number = exact_number(raw)
    for one in allowed:
        if _plain(raw) == _plain(one) or (number is not None and number == exact_number(one)):
            return one
    return ""


def comma_in_number(text: str) -> bool:
    """Say whether `text` would be a number but for a decimal comma or a thousands mark."""
    return _COMMA.fullmatch(text) is not None


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
