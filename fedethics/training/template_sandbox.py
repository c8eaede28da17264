"""Jinja in which the same values give the same text, in every process and at every time.

It runs in a process of its own (`template_process`), which imports this and nothing else of ours.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range


class _Generation(Extension):
    """`{% generation %}`, by which some templates mark the assistant's words: read and passed."""

    tags = {"generation"}  # noqa: RUF012  jinja2's own declaration

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Function:
    """Something to call, whose text does not say where in memory it lies."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *values: Any, **named: Any) -> Any:  # noqa: ANN401
        return self._function(*values, **named)

    def __repr__(self) -> str:
        return "<function>"


# What draws at random, or has a text of its own that tells an address.
_CHANGING = ("lipsum", "cycler", "joiner")
# Their results are iterators, whose text tells an address.
_ITERATING = (
    "batch", "items", "map", "reject", "rejectattr", "reverse", "select", "selectattr", "slice",
    "unique",
)  # fmt: skip
_FUNCTIONS = (types.FunctionType, types.MethodType, types.BuiltinMethodType)


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja in which the same values give the same text, in every process and at every time.

    Danger: a template is the charter's, so the coordinator may have written it. One that could read
    an address could let a record's text follow from how many records were read before it.
    """

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        for name in _CHANGING:
            del self.globals[name]
        del self.filters["random"]
        for name in _ITERATING:
            self.filters[name] = _listed(self.filters[name])
        self.filters["tojson"] = _to_json
        self.globals["range"] = _Function(safe_range)
        self.globals["raise_exception"] = _Function(_refuse)

    def getattr(self, obj: Any, attribute: str) -> Any:  # noqa: ANN401
        """Return an attribute as the sandbox does, without its address."""
        return _without_address(super().getattr(obj, attribute))

    def getitem(self, obj: Any, argument: Any) -> Any:  # noqa: ANN401
        """Return an item as the sandbox does, without its address."""
        return _without_address(super().getitem(obj, argument))


def _without_address(value: Any) -> Any:  # noqa: ANN401
    said: object = type(value).__repr__
    tells = isinstance(value, _FUNCTIONS) or said is object.__repr__
    return _Function(value) if tells else value


def _listed(of: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(of)  # what Jinja hands to it is noted on it
    def listed(*values: Any, **named: Any) -> Any:  # noqa: ANN401
        found = of(*values, **named)
        return list(found) if isinstance(found, Iterator) else found

    return listed


def _refuse(_said: str) -> None:
    raise TemplateError


def _to_json(value: Any, indent: int | None = None, **_more: object) -> str:  # noqa: ANN401
    return json.dumps(value, ensure_ascii=False, indent=indent)
