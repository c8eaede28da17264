"""The changes by name. An unknown one is refused with those that are known."""

from __future__ import annotations

from typing import Final

from fedethics.counterfactuals.change import WordChange
from fedethics.counterfactuals.changes import Flips, LossChange
from fedethics.errors import FairnessError

_CHANGES: Final = {change.name: change for change in (Flips(), LossChange())}


def change_names() -> tuple[str, ...]:
    """Return the name of each change that can be measured."""
    return tuple(_CHANGES)


def find_change(name: str) -> WordChange:
    """Return the change called `name`.

    Raises:
        FairnessError: there is none.
    """
    if name not in _CHANGES:
        raise FairnessError(f"change {name!r} is unknown; known: {', '.join(_CHANGES)}")
    return _CHANGES[name]
