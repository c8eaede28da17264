"""Secure aggregation, protocol `fes/1`: bytes in, bytes out; see docs/secagg.md.

A name is imported when it is first asked for: a charter asks this room for its bound of honest
sites only, and commands that read charters start without the protocol.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedethics.secagg.checked import CheckedSum, pack_missed, unpack_missed
    from fedethics.secagg.coordinator import CoordinatorSecagg
    from fedethics.secagg.coordinator_round import CoordinatorRound
    from fedethics.secagg.masking import Quantiser
    from fedethics.secagg.outcomes import Opened, Opening, Result
    from fedethics.secagg.revocation import revocation_notice
    from fedethics.secagg.site import SiteSecagg
    from fedethics.secagg.store import OpenedRound, SiteStore
    from fedethics.secagg.terms import SecaggTerms, SumSpec

__all__ = [
    "CheckedSum",
    "CoordinatorRound",
    "CoordinatorSecagg",
    "Opened",
    "OpenedRound",
    "Opening",
    "Quantiser",
    "Result",
    "SecaggTerms",
    "SiteSecagg",
    "SiteStore",
    "SumSpec",
    "pack_missed",
    "revocation_notice",
    "unpack_missed",
]
_HOMES = {
    "checked": ("CheckedSum", "pack_missed", "unpack_missed"),
    "coordinator": ("CoordinatorSecagg",),
    "coordinator_round": ("CoordinatorRound",),
    "masking": ("Quantiser",),
    "outcomes": ("Opened", "Opening", "Result"),
    "revocation": ("revocation_notice",),
    "site": ("SiteSecagg",),
    "store": ("OpenedRound", "SiteStore"),
    "terms": ("SecaggTerms", "SumSpec"),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            found: object = getattr(importlib.import_module(f"{__name__}.{home}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
