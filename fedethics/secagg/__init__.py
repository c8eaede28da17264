"""Secure aggregation, protocol `fes/1`: bytes in, bytes out; see docs/secagg.md."""

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
