"""Signed papers that people send each other: a request, an invitation, a notice of leaving.

Guarantee: `open_paper` returns a body only if the key named in the paper signed exactly these bytes
for this purpose. Whether that key belongs to whom it should is the reader's question: fingerprints
compared by telephone, or a roster, answer it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeVar

from fedethics import canonical, terms
from fedethics.errors import EnrolmentError, EnrolmentForged
from fedethics.identity import Identity, key_fault, verify
from fedethics.terms import KEY, SIGNATURE

T = TypeVar("T")
# A charter with a schema of thousands of columns and hundreds of sites stays well below this.
MAX_PAPER_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Paper:
    """What a paper says, as text, and the key that signed it."""

    body: bytes
    public_key: str

    def read(self, cls: type[T], *, what: str) -> T:
        """Return the body as the dataclass `cls`.

        Raises:
            EnrolmentError: it is not one; every problem is listed.
        """
        problems: list[str] = []
        try:
            found = terms.read(cls, canonical.parse(self.body), path=what, problems=problems)
        except ValueError as error:
            raise EnrolmentError(f"the {what} is damaged: {error}") from error
        if found is None or problems:
            raise EnrolmentError(f"the {what} is damaged: " + "; ".join(problems))
        return found


def sign_paper(content: object, *, purpose: str, identity: Identity) -> bytes:
    """Return the canonical bytes of a dataclass's text, the signer's key and the signature."""
    body = canonical.encode(terms.document(content))
    signed: dict[str, canonical.Json] = {
        "body": body.decode("utf-8"),
        "purpose": purpose,
        "public-key": identity.public_key,
        "signature": identity.sign(body, purpose=purpose).hex(),
    }
    return canonical.encode(signed) + b"\n"


def open_paper(data: bytes, *, purpose: str, what: str) -> Paper:
    """Return what a paper says, once its signature holds.

    Args:
        data: the file's bytes.
        purpose: what the signature must have been made for.
        what: the paper's name in messages.

    Raises:
        EnrolmentError: not such a paper at all.
        EnrolmentForged: not signed by the key that it names.
    """
    if len(data) > MAX_PAPER_BYTES:
        raise EnrolmentError(f"the {what} has {len(data)} bytes; none is larger than 16 MiB")
    try:
        table = canonical.parse(data.removesuffix(b"\n"))
        if not isinstance(table, dict) or table.get("purpose") != purpose:
            raise ValueError(f"it is not a paper for {purpose!r}")
        body, key = str(table["body"]).encode("utf-8"), _spelled(table["public-key"], KEY)
        if fault := key_fault(key):
            raise ValueError(f"its public key {fault}")
        signature = bytes.fromhex(_spelled(table["signature"], SIGNATURE))
    except (ValueError, KeyError) as error:
        raise EnrolmentError(f"the {what} is damaged, or another file: {error}") from error
    if not verify(key, body, signature, purpose=purpose):
        raise EnrolmentForged(
            f"the {what} is not signed by the key {key[:16]} that it names: it was changed on the "
            "way or forged. Nothing was written; ask for it again"
        )
    return Paper(body, key)


def _spelled(value: canonical.Json, pattern: str) -> str:
    # One spelling only: hex digits in capitals would be the same key in other bytes.
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ValueError(f"{value!r} does not match {pattern}")
    return value
