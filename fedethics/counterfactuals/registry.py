"""The changes by name. An unknown one is refused with those that are known."""

from __future__ import annotations

from fedethics.counterfactuals.change import WordChange
from fedethics.counterfactuals.changes import Flips, LossChange
from fedethics.errors import FairnessError
from fedethics.registry import Registry

_CHANGES: Registry[WordChange] = Registry("change", FairnessError, Flips(), LossChange())
change_names, find_change = _CHANGES.names, _CHANGES.find
