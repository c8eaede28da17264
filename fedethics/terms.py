"""Read a TOML table into a frozen dataclass, strictly, and write it back as a document.

One reader serves the charter, the site policy, the site file and the scenario, so that all four
refuse the same way: unknown keys, missing keys, wrong types, values out of range and characters
that are more than text are collected and reported together, each with its full key path. Keys are
kebab-case in files and snake_case in Python. A field's bounds stand in its declaration, through
`term(...)`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from fedethics import canonical, plain_file, texts
from fedethics.canonical import Json

T = TypeVar("T")
KEY = r"[0-9a-f]{64}"
NAME = r"[a-z0-9][a-z0-9-]{0,62}"
TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|\+00:00)"
# Every whole number of a document fits a signed 64-bit integer: databases and arrays hold it.
_MOST_TOLD = 20
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1
SIGNATURE = r"[0-9a-f]{128}"
_HINTS: dict[type, Mapping[str, Any]] = {}
_KIND = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def term(
    *,
    default: Any = dataclasses.MISSING,  # noqa: ANN401  any field type
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    pattern: str | None = None,
    nonempty: bool = False,
    prose: bool = False,
    check: Callable[[object], str] | None = None,
    one_of: Callable[[], tuple[str, ...]] | None = None,
) -> Any:  # noqa: ANN401  mirrors dataclasses.field
    """Declare a field with its bounds; without a default, the key is required.

    A text is a name, on one line, unless it is declared as `prose`; `fedethics.texts.fault` says
    which characters each may hold. `check` returns what else is wrong with a text, as a sentence,
    or "". `one_of` returns the names that a registry knows; any other text is refused.
    """
    bounds = {
        "above": above,
        "at_least": at_least,
        "below": below,
        "at_most": at_most,
        "pattern": pattern,
        "nonempty": nonempty,
        "prose": prose,
        "check": check,
        "one_of": one_of,
    }
    return dataclasses.field(default=default, metadata=bounds)


def load_toml(path: Path, error: Callable[[str], Exception]) -> dict[str, Any]:
    """Parse `path` as TOML; what goes wrong is raised as `error(message)`."""
    return parse_toml(plain_file.read(path, error, typed=True), path, error)


def parse_toml(content: bytes, path: Path, error: Callable[[str], Exception]) -> dict[str, Any]:
    """Parse bytes that were read from `path`; what goes wrong is raised as `error(message)`."""
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise error(f"{path} is not valid TOML: {problem}") from problem


def read(cls: type[T], table: object, *, path: str, problems: list[str]) -> T | None:
    """Build `cls` from `table`, adding one sentence to `problems` for each thing wrong.

    A class may define `problems(self) -> list[str]` for rules that span fields; each sentence it
    returns is prefixed with the key path. Rules that need only some of the fields may stand in a
    class method `partial_problems(values)`, which is called even when other fields are wrong;
    `values` lacks those. Returns None when anything in this table was wrong.
    """
    if not isinstance(table, dict):
        problems.append(f"{path or 'document'}: expected a table, got {_shown(table)}")
        return None
    before = len(problems)
    hints = _hints(cls)
    fields = {kebab(f.name): f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in sorted(set(table) - set(fields)):
        known = ", ".join(sorted(fields))
        problems.append(f"{_join(path, _spelled(key))}: unknown key; known here: {known}")
    values: dict[str, Any] = {}
    for key, field in fields.items():
        where = _join(path, key)
        if key in table:
            values[field.name] = _value(hints[field.name], table[key], where, field, problems)
        elif field.default is dataclasses.MISSING:
            problems.append(f"{where}: missing")
    partial = getattr(cls, "partial_problems", None)
    if partial is not None:
        problems.extend(partial({k: v for k, v in values.items() if v is not None}))
    if len(problems) > before:
        return None
    result = cls(**values)
    check = getattr(result, "problems", None)
    if check is not None:
        problems.extend(f"{path}: {sentence}" if path else sentence for sentence in check())
    return result


def _hints(cls: type) -> Mapping[str, Any]:
    """Return the types of a class's fields, worked out once: each message has files read."""
    if cls not in _HINTS:
        _HINTS[cls] = types.MappingProxyType(typing.get_type_hints(cls))
    return _HINTS[cls]


def parse(cls: type[T], data: bytes, *, what: str, error: Callable[[str], Exception]) -> T:
    """Build `cls` from its canonical bytes; what goes wrong is raised as `error(message)`.

    Args:
        cls: the class.
        data: bytes from anybody.
        what: what they are meant to be, for the message: a path, or "a receipt".
        error: makes the exception.
    """
    problems: list[str] = []
    try:
        found = read(cls, canonical.parse(data), path="", problems=problems)
    except ValueError as problem:
        raise error(f"{what} is not canonical JSON ({problem}); was it edited?") from problem
    if found is None or problems:
        # Bytes of strangers come here: the answer stays short whatever they hold.
        more = len(problems) - _MOST_TOLD
        told = [*problems[:_MOST_TOLD], *([f"and {more} more"] if more > 0 else [])]
        raise error(f"{what} is malformed: {'; '.join(told)}")
    return found


def document(value: object) -> Json:
    """Return the canonical-encodable document of a dataclass: every key explicit, kebab-case."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            kebab(field.name): document(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if getattr(value, field.name) is not None
        }
    if isinstance(value, tuple | list):
        return [document(item) for item in value]
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    raise TypeError(f"{type(value).__name__} has no document form")


def kebab(name: str) -> str:
    """Return the TOML spelling of a Python field name; "from_" is "from", a word of Python."""
    return name.rstrip("_").replace("_", "-")


def _value(
    hint: Any,  # noqa: ANN401  a type expression
    raw: object,
    where: str,
    field: dataclasses.Field[Any],
    problems: list[str],
) -> object:
    origin = typing.get_origin(hint)
    if known := field.metadata.get("one_of"):
        return _choice(known(), raw, where, problems)
    if origin is typing.Literal:
        return _choice(typing.get_args(hint), raw, where, problems)
    if origin in (types.UnionType, typing.Union):
        kinds = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        # A table, or a plain value in its place.
        fit = (one for one in kinds if dataclasses.is_dataclass(one) == isinstance(raw, dict))
        inner = next(fit, kinds[0])
        return _value(inner, raw, where, field, problems)
    if origin is tuple:
        return _items(typing.get_args(hint)[0], raw, where, field, problems)
    if dataclasses.is_dataclass(hint):
        return read(typing.cast(type[object], hint), raw, path=where, problems=problems)
    return _scalar(hint, raw, where, field.metadata, problems)


def _choice(options: tuple[Any, ...], raw: object, where: str, problems: list[str]) -> object:
    if any(raw == option and type(raw) is type(option) for option in options):
        return raw
    listed = ", ".join(str(option) for option in options)
    problems.append(f"{where}: expected one of {listed}; got {_shown(raw)}")
    return None


def _items(
    item: Any,  # noqa: ANN401  a type expression
    raw: object,
    where: str,
    field: dataclasses.Field[Any],
    problems: list[str],
) -> object:
    if not isinstance(raw, list):
        problems.append(f"{where}: expected a list, got {_shown(raw)}")
        return None
    if field.metadata.get("nonempty") and not raw:
        problems.append(f"{where}: must not be empty")
    return tuple(
        _value(item, entry, f"{where}[{index}]", field, problems) for index, entry in enumerate(raw)
    )


def _scalar(
    kind: type, raw: object, where: str, bounds: typing.Mapping[str, Any], problems: list[str]
) -> object:
    if kind is float and type(raw) is int:
        try:
            raw = float(raw)
        except OverflowError:
            problems.append(f"{where}: {_figure(raw)} is too large")
            return None
    if type(raw) is not kind:
        problems.append(f"{where}: expected {_KIND[kind]}, got {_shown(raw)}")
        return None
    if type(raw) is int and not _SMALLEST <= raw <= _LARGEST:
        problems.append(f"{where}: {_figure(raw)} does not fit 64 bits")
        return None
    if isinstance(raw, float) and not math.isfinite(raw):
        problems.append(f"{where}: must be finite, got {raw}")
        return None
    if isinstance(raw, str):
        if unfit := texts.fault(raw, prose=bool(bounds.get("prose"))):
            problems.append(f"{where}: {unfit}")
            return None
        _check_text(raw, where, bounds, problems)
    elif not isinstance(raw, bool) and isinstance(raw, int | float):
        _check_number(raw, where, bounds, problems)
    return raw


def _check_text(
    raw: str, where: str, bounds: typing.Mapping[str, Any], problems: list[str]
) -> None:
    if bounds.get("nonempty") and not raw.strip():
        problems.append(f"{where}: must not be empty")
    pattern = bounds.get("pattern")
    # Digits of other scripts are no digits of a time or key.
    if pattern and not re.fullmatch(pattern, raw, re.ASCII):
        problems.append(f"{where}: {_brief(raw)} does not match {pattern}")
    elif pattern and TIME in pattern and raw and not _is_moment(raw):
        problems.append(f"{where}: {_brief(raw)} is no moment of any calendar")
    check = bounds.get("check")
    fault = check(raw) if check and raw.strip() else ""
    if fault:
        problems.append(f"{where}: {fault}")


def _is_moment(raw: str) -> bool:
    try:
        datetime.fromisoformat(raw)
    except ValueError:
        return False
    return True


def _check_number(
    raw: float, where: str, bounds: typing.Mapping[str, Any], problems: list[str]
) -> None:
    rules: list[tuple[str, str, Callable[[float, float], bool]]] = [
        ("above", "above", lambda x, limit: x > limit),
        ("at_least", "at least", lambda x, limit: x >= limit),
        ("below", "below", lambda x, limit: x < limit),
        ("at_most", "at most", lambda x, limit: x <= limit),
    ]
    for name, words, holds in rules:
        limit = bounds.get(name)
        if limit is not None and not holds(raw, limit):
            problems.append(f"{where}: must be {words} {limit:g}, got {_figure(raw)}")


def _figure(raw: float) -> str:
    try:
        return f"{raw:g}"
    except OverflowError:
        return f"a number of {len(str(raw))} digits"


def _shown(raw: object) -> str:
    return f"{_KIND.get(type(raw), type(raw).__name__)} {_brief(raw)}"


def _brief(raw: object) -> str:
    text = texts.printed(repr(raw), one_line=True)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _spelled(key: object) -> str:
    """Return a key that we did not choose: as it is only if it is plain."""
    text = str(key)
    return text if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", text) else _shown(key)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def toml_text(table: Mapping[str, Json]) -> str:
    """Return plain values and one level of tables as TOML, which spells them as JSON does."""
    lines = [
        f"{key} = {json.dumps(value, ensure_ascii=False)}"
        for key, value in table.items()
        if not isinstance(value, dict)
    ]
    for name, inner in table.items():
        if isinstance(inner, dict):
            lines += [f"[{name}]", toml_text(inner)]
    return "\n".join(lines) + "\n"
