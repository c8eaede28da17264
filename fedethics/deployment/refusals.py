"""Why a SuperNode ended, told from its own words, so that an operator need not read Flower's log.

Flower answers an unknown node and a node that it still counts as present with the same code, so
only time tells the two apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto


class Refused(Enum):
    """What an ended SuperNode means."""

    FOR_GOOD = auto()
    MAYBE = auto()
    NO = auto()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a SuperNode ended, in one sentence."""

    kind: Refused
    sentence: str


_SIGNS: tuple[tuple[str, Refused, str], ...] = (
    (
        r"certificate has expired",
        Refused.FOR_GOOD,
        "the coordinator's certificate has expired (or this clock is wrong): no connection was "
        "made. The coordinator must renew it.",
    ),
    (
        r"certificate is not yet valid",
        Refused.FOR_GOOD,
        "the coordinator's certificate is not valid yet: compare this machine's clock.",
    ),
    (
        r"[Hh]ostname mismatch|IP address mismatch",
        Refused.FOR_GOOD,
        "the coordinator's certificate is for another address than `[node] superlink` names: no "
        "connection was made.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        Refused.FOR_GOOD,
        "the coordinator's certificate is not signed by the authority in `[node] ca`: no "
        "connection was made. Compare the fingerprint with the coordinator.",
    ),
    (
        r"Unable to parse the private key",
        Refused.FOR_GOOD,
        "`[node] key` is not an elliptic-curve key in OpenSSH's form.",
    ),
    (
        r"code: 2004\]",
        Refused.MAYBE,
        "the coordinator refuses this node: its key is not on the roster, or a node of this key "
        "was killed and is still counted as present (up to 60 s).",
    ),
    (
        r"\b401\b|Invalid SuperNode authentication",
        Refused.MAYBE,
        "the coordinator refuses this node's signature: its key is not on the roster, or the "
        "clocks are more than 5 minutes apart.",
    ),
)


def why_it_ended(output: str) -> Ended:
    """Return what the last words of a SuperNode mean."""
    for pattern, kind, sentence in _SIGNS:
        if re.search(pattern, output):
            return Ended(kind, sentence)
    return Ended(Refused.NO, "the SuperNode ended; it is started again.")
