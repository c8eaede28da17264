"""Federated, private and fair fine-tuning of language models across institutions.

The names below are the public API; every module is private and may change without notice. They are
imported when they are first asked for, so that `import fedethics` costs nothing and a budget is
planned without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedethics.api import (
        DataSetSpend,
        Run,
        Spend,
        Sweep,
        epsilon,
        examine,
        load_charter,
        read_ledger,
        simulate,
        sweep,
    )
    from fedethics.errors import FedethicsError
    from fedethics.fairness import Estimate, aggregate, by_group, overall

__version__ = "0.1.0"
__all__ = [
    "DataSetSpend",
    "Estimate",
    "FedethicsError",
    "Run",
    "Spend",
    "Sweep",
    "__version__",
    "aggregate",
    "by_group",
    "epsilon",
    "examine",
    "load_charter",
    "overall",
    "read_ledger",
    "simulate",
    "sweep",
]
_HOMES = {
    "fedethics.errors": ("FedethicsError",),
    "fedethics.fairness": ("Estimate", "aggregate", "by_group", "overall"),
    "fedethics.api": (
        "DataSetSpend",
        "Run",
        "Spend",
        "Sweep",
        "epsilon",
        "examine",
        "load_charter",
        "read_ledger",
        "simulate",
        "sweep",
    ),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            found: object = getattr(importlib.import_module(home), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module 'fedethics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
