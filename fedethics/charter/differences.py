"""What two charters differ in: key, old, new, and what that means for people where it is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from fedethics import terms, texts
from fedethics.canonical import Json
from fedethics.charter.change_meanings import meaning
from fedethics.charter.model import Charter

ABSENT = "absent"
# Lists whose items have a name: matched by it, so that a moved item is no change.
_NAMED_BY: dict[str, tuple[str, ...]] = {
    "ethics.objectives": ("metric", "feature"),
    "ethics.stakeholders": ("role", "name"),
    "data.columns": ("name",),
    "data.sensitive": ("name",),
    "roster": ("site",),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One difference.

    Attributes:
        key: full key; items of a list by name, as "roster[hungary].declared-records".
        meaning: one sentence on what it means for people or privacy; empty where nothing is known.
    """

    key: str
    old: str
    new: str
    meaning: str


def differences(before: Charter, after: Charter) -> tuple[Change, ...]:
    """Return every difference, in the order of the charter's tables; empty for equal charters."""
    old, new = terms.document(before), terms.document(after)
    return tuple(
        Change(key=key, old=_shown(was), new=_shown(now), meaning=meaning(key, was, now, context))
        for key, was, now, context in _walk("", old, new, {})
    )


Step = tuple[str, Json, Json, Mapping[str, Json]]


def _walk(key: str, old: Json, new: Json, context: Mapping[str, Json]) -> Iterator[Step]:
    """Yield what differs below `key`; `context` is the table that an item stands in."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys((*old, *new)):
            where = f"{key}.{name}" if key else name
            yield from _walk(where, old.get(name), new.get(name), new)
    elif key in _NAMED_BY and isinstance(old, list) and isinstance(new, list):
        first, second = _by_name(key, old), _by_name(key, new)
        for name in dict.fromkeys((*first, *second)):
            yield from _walk(f"{key}[{name}]", first.get(name), second.get(name), {})
    else:
        yield key, old, new, context


def _by_name(key: str, items: list[Json]) -> dict[str, Json]:
    tables = cast("list[dict[str, Json]]", items)
    return {
        " by ".join(str(item[part]) for part in _NAMED_BY[key] if item.get(part)): item
        for item in tables
    }


def _shown(value: Json) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return "; ".join(_shown(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items() if item != "")
    return texts.in_line(str(value))
