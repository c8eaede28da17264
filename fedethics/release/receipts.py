"""What each site says a run cost its data: the ledgers' receipts, as evidence carries them.

Guarantee: a receipt that is `genuine` was signed by the site whose roster key it is; its numbers
are that site's own ledger speaking, not the coordinator's word.
"""

from __future__ import annotations

from fedethics import canonical, terms
from fedethics.errors import LedgerTampered, ReleaseError
from fedethics.privacy.ledger.receipt import Receipt, read_receipt
from fedethics.release.evidence import SignedReceipt


def from_envelope(data: bytes) -> SignedReceipt:
    """Return a ledger's receipt as evidence carries it, without checking its signature.

    Raises:
        ReleaseError: not the envelope that a ledger writes.
    """
    return terms.parse(SignedReceipt, data, what="a receipt", error=ReleaseError)


def genuine(signed: SignedReceipt, *, roster_key: str) -> Receipt | None:
    """Return the receipt if the holder of `roster_key` signed exactly this body, else None."""
    if signed.public_key != roster_key:
        return None
    try:
        return read_receipt(canonical.encode(terms.document(signed)), public_key=roster_key)
    except LedgerTampered:
        return None


def redone(rounds: tuple[int, ...]) -> tuple[int, ...]:
    """Return the rounds that were charged more than once, in order."""
    return tuple(sorted({number for number in rounds if rounds.count(number) > 1}))
