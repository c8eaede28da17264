"""Every text of every document that fedethics reads, found by walking the code, not by a list."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fedethics.terms import kebab

_ROOT = Path(__file__).parents[2]
_PACKAGES = ("fedethics", "server", "simulations")
_READERS = {"read", "parse"}


@dataclass(frozen=True)
class Field:
    """One text of a document: the class that declares it, its key, and what it may be."""

    owner: type
    name: str
    many: bool
    prose: bool

    def __str__(self) -> str:
        return f"{self.owner.__name__}.{self.name}"

    def table(self, text: str) -> dict[str, object]:
        """A table that holds nothing but this text."""
        return {kebab(self.name): [text] if self.many else text}


@cache
def text_fields() -> tuple[Field, ...]:
    """All texts of all documents that are read through `fedethics.terms`."""
    seen: set[type] = set()
    return tuple(field for root in document_classes() for field in _fields(root, seen))


@cache
def document_classes() -> tuple[type, ...]:
    """The dataclasses that some module hands to `terms.read` or `terms.parse`."""
    found: dict[str, type] = {}
    for package in _PACKAGES:
        for path in sorted((_ROOT / package).rglob("*.py")):
            for name in _read_classes(ast.parse(path.read_text(encoding="utf-8"))):
                module = ".".join(path.relative_to(_ROOT).with_suffix("").parts)
                cls = getattr(importlib.import_module(module), name)
                if dataclasses.is_dataclass(cls):
                    found[f"{cls.__module__}.{name}"] = typing.cast(type, cls)
    return tuple(found.values())


def _read_classes(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if (
            not isinstance(node, ast.Call)
            or not node.args
            or not isinstance(node.args[0], ast.Name)
        ):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if called in _READERS and node.args[0].id[0].isupper():
            yield node.args[0].id


def _fields(cls: type, seen: set[type]) -> Iterator[Field]:
    if cls in seen:
        return
    seen.add(cls)
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        yield from _in_hint(hints[field.name], cls, field, seen, many=False)


def _in_hint(
    hint: Any,
    cls: type,
    field: dataclasses.Field[Any],
    seen: set[type],
    *,
    many: bool,
) -> Iterator[Field]:
    if hint is str:
        prose = bool(field.metadata.get("prose"))
        yield Field(owner=cls, name=field.name, many=many, prose=prose)
    elif dataclasses.is_dataclass(hint):
        yield from _fields(typing.cast(type, hint), seen)
    elif typing.get_origin(hint) is not typing.Literal:
        for part in typing.get_args(hint):
            yield from _in_hint(
                part, cls, field, seen, many=many or typing.get_origin(hint) is tuple
            )
