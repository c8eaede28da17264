"""What each site says a run cost its data: the ledgers' receipts, as evidence carries them.

Guarantee: a receipt that is `genuine` was signed by the site whose roster key it is; its numbers
are that site's own ledger speaking, not the coordinator's word.

Countersigned ledger heads: every site holds every other site's receipt, and says so.

A receipt names the head of its site's ledger. Once the members of a run have each other's receipts
and have signed the list of them, a site that puts back an older ledger contradicts what others
hold, however far it has grown since: every receipt names those given before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from fedethics import canonical, terms
from fedethics.errors import LedgerTampered, ReleaseError
from fedethics.identity import Identity, verify
from fedethics.privacy.ledger import Receipt
from fedethics.privacy.ledger.receipt import read_receipt
from fedethics.release.evidence import Countersignature, SignedReceipt
from fedethics.terms import KEY, NAME, term


def from_envelope(data: bytes) -> SignedReceipt:
    """Return a ledger's receipt as evidence carries it, without checking its signature.

    Raises:
        ReleaseError: not the envelope that a ledger writes.
    """
    return terms.parse(SignedReceipt, data, what="a receipt", error=ReleaseError)


def genuine(signed: SignedReceipt, *, roster_key: str) -> Receipt | None:
    """Return the receipt if the holder of `roster_key` signed exactly this body, else None."""
    return _genuine(signed, roster_key)


@lru_cache(maxsize=4096)
def _genuine(signed: SignedReceipt, roster_key: str) -> Receipt | None:
    """Do `genuine` once for the same receipt: each member checks those of all others."""
    if signed.public_key != roster_key:
        return None
    try:
        return read_receipt(canonical.encode(terms.document(signed)), public_key=roster_key)
    except LedgerTampered:
        return None


def redone(rounds: tuple[int, ...]) -> tuple[int, ...]:
    """Return the rounds that were charged more than once, in order."""
    return tuple(sorted({number for number in rounds if rounds.count(number) > 1}))


HEADS_PURPOSE = "ledger-heads"


@dataclass(frozen=True, kw_only=True, slots=True)
class Heads:
    """The receipts of one run, as they are countersigned: all of them or none."""

    run: str = term(pattern=NAME)
    charter_hash: str = term(pattern=KEY)
    receipts: tuple[SignedReceipt, ...] = term(nonempty=True)


def encode_heads(heads: Heads) -> bytes:
    """Return the canonical bytes that members sign."""
    return canonical.encode(terms.document(heads))


def parse_heads(data: bytes) -> Heads:
    """Read heads back.

    Raises:
        LedgerTampered: not the canonical bytes of heads.
    """
    return _heads(data)


@lru_cache(maxsize=4)
def _heads(data: bytes) -> Heads:
    return terms.parse(Heads, data, what="the list of ledger heads", error=LedgerTampered)


def read_receipts(heads: Heads, roster: Mapping[str, str]) -> dict[str, Receipt]:
    """Return each site's receipt, once all are genuine and of this run.

    Args:
        heads: as received.
        roster: site -> public key.

    Raises:
        LedgerTampered: a receipt by nobody of the roster, of another run or charter, or two by one.
    """
    found: dict[str, Receipt] = {}
    # The first of a key that stands twice.
    owners = {key: site for site, key in reversed(list(roster.items()))}
    for signed in heads.receipts:
        owner = owners.get(signed.public_key)
        receipt = genuine(signed, roster_key=signed.public_key) if owner else None
        if receipt is None or receipt.site != owner:
            raise LedgerTampered(
                "the list of ledger heads holds a receipt that no member signed; it was not "
                "countersigned"
            )
        if (receipt.run_id, receipt.charter_hash) != (heads.run, heads.charter_hash):
            raise LedgerTampered(
                f"the list of ledger heads holds a receipt of {receipt.site} for another run; it "
                "was not countersigned"
            )
        if receipt.site in found:
            raise LedgerTampered(f"the list of ledger heads holds two receipts of {receipt.site}")
        found[receipt.site] = receipt
    return found


def countersign(data: bytes, *, site: str, identity: Identity) -> Countersignature:
    """Return a member's signature over the list as it stands."""
    signature = identity.sign(data, purpose=HEADS_PURPOSE).hex()
    return Countersignature(site=site, signature=signature)


def read_countersignature(data: bytes) -> Countersignature:
    """Return what a member answered, without checking its signature.

    Raises:
        ReleaseError: not the canonical bytes of a countersignature.
    """
    return terms.parse(Countersignature, data, what="a countersignature", error=ReleaseError)


def countersignature_faults(
    heads: Heads, signatures: Sequence[Countersignature], roster: Mapping[str, str]
) -> tuple[str, ...]:
    """Return which countersignatures do not hold, each as a sentence."""
    data = encode_heads(heads)
    return tuple(
        f"The countersignature of {one.site} does not hold."
        for one in signatures
        if one.site not in roster
        or not verify(roster[one.site], data, bytes.fromhex(one.signature), purpose=HEADS_PURPOSE)
    )
