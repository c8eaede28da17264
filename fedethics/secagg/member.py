"""Who speaks: a member's name, key and terms, and the signing of its messages."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fedethics.identity import Identity
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from fedethics.secagg.terms import SecaggTerms

Clock = Callable[[], float]
SYSTEM_CLOCK: Final[Clock] = time.time


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A site or the coordinator, under one charter; `now_s` gives seconds since 1970."""

    name: str
    identity: Identity
    terms: SecaggTerms
    random_bytes: Callable[[int], bytes]
    now_s: Clock = SYSTEM_CLOCK

    def message(
        self,
        kind: Kind,
        body: bytes | memoryview = b"",
        *,
        root: bytes | None = None,
        **fields: object,
    ) -> bytes:
        """Return a signed message of this member; `root` is the body's tree hash, if known."""
        header: dict[str, Any] = {"charter": self.terms.charter_hash, "sender": self.name, **fields}
        return framing.encode(kind, header, body, identity=self.identity, root=root)
