"""A JSON Schema of what `fedethics.terms` reads, so that editors complete charters and policies.

Guarantee: whatever the reader takes, the schema takes. It is looser: rules that span fields, and
what a text may hold beyond a pattern, are the reader's alone, which says everything at once.

Source: JSON Schema, draft 2020-12.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fedethics import terms
from fedethics.canonical import Json
from fedethics.terms import kebab

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_SCALARS: Final[Mapping[type, str]] = {
    int: "integer", float: "number", str: "string", bool: "boolean"
}  # fmt: skip
_BOUNDS: Final = {
    "above": "exclusiveMinimum",
    "at_least": "minimum",
    "below": "exclusiveMaximum",
    "at_most": "maximum",
}


def json_schema(cls: type[Any], *, title: str) -> dict[str, Json]:
    """Return the schema of a document that `terms.read` builds `cls` from.

    Args:
        cls: a dataclass whose fields are declared with `terms.term`.
        title: what the document is called.
    """
    tables: dict[str, Json] = {}
    _table(cls, tables)
    return {
        "$schema": DIALECT,
        "title": title,
        "$ref": f"#/$defs/{cls.__name__}",
        "$defs": tables,
    }


def _table(cls: type[Any], tables: dict[str, Json]) -> dict[str, Json]:
    """Add a table's schema to `tables` if it is not there, and return the reference to it."""
    name = cls.__name__
    if name not in tables:
        tables[name] = {}  # before its fields: a table may hold tables of its own kind
        hints, said = typing.get_type_hints(cls), dict(_explained(cls))
        fields = dataclasses.fields(cls)
        properties: dict[str, Json] = {
            kebab(field.name): {
                **_value(hints[field.name], field.metadata, tables),
                **_default(field),
                **({"description": said[field.name]} if field.name in said else {}),
            }
            for field in fields
        }
        tables[name] = {
            "type": "object",
            "description": inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0],
            "properties": properties,
            "required": [
                kebab(field.name) for field in fields if field.default is dataclasses.MISSING
            ],
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{name}"}


def _value(
    hint: Any,  # noqa: ANN401  a type expression
    bounds: Mapping[str, Any],
    tables: dict[str, Json],
) -> dict[str, Json]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if known := bounds.get("one_of"):
        return {"enum": list(known())}
    if origin is typing.Literal:
        return {"enum": list(args)}
    if origin in (types.UnionType, typing.Union):
        (inner,) = (arg for arg in args if arg is not type(None))
        return _value(inner, bounds, tables)
    if origin is tuple:
        # The bounds are each item's; that there is one is the list's.
        items: Json = _value(args[0], {**bounds, "nonempty": False}, tables)
        listed: dict[str, Json] = {"type": "array", "items": items}
        return listed | {"minItems": 1} if bounds.get("nonempty") else listed
    if dataclasses.is_dataclass(hint):
        return _table(typing.cast("type[Any]", hint), tables)
    return _scalar(hint, bounds)


def _scalar(kind: type, bounds: Mapping[str, Any]) -> dict[str, Json]:
    found: dict[str, Json] = {"type": _SCALARS[kind]}
    if kind is str and bounds.get("pattern"):
        found["pattern"] = f"^(?:{bounds['pattern']})$"
    elif kind is str and bounds.get("nonempty"):
        found["pattern"] = r"\S"
    if kind in (int, float):
        limits = {key: bounds.get(name) for name, key in _BOUNDS.items()}
        found |= {key: limit for key, limit in limits.items() if limit is not None}
    return found


def _default(field: dataclasses.Field[Any]) -> dict[str, Json]:
    if field.default is dataclasses.MISSING or field.default is None:
        return {}
    return {"default": terms.document(field.default)}


def _explained(cls: type[Any]) -> Iterator[tuple[str, str]]:
    """Yield each field that the class's own words explain, with the explanation."""
    _, _, told = inspect.cleandoc(cls.__doc__ or "").partition("\nAttributes:\n")
    entries = re.split(r"\n(?=    \S)", "\n" + told.rstrip())
    for entry in entries:
        names, colon, words = entry.strip().partition(": ")
        if colon and re.fullmatch(r"[a-z0-9_]+(, [a-z0-9_]+)*", names):
            for name in names.split(", "):
                yield name, " ".join(words.split())
