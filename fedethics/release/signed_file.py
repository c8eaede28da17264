"""A file's detached signature beside it: who signed exactly these bytes.

Guarantee: a signature holds for one purpose and one spelling of the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedethics import canonical, terms
from fedethics.errors import ReleaseError
from fedethics.identity import Identity, public_key_term, verify
from fedethics.release import durable
from fedethics.terms import SIGNATURE, term


@dataclass(frozen=True, kw_only=True, slots=True)
class DetachedSignature:
    """A signature over the bytes of a file that is named elsewhere."""

    public_key: str = public_key_term()
    signature: str = term(pattern=SIGNATURE)


def sign_file(file: Path, signature: Path, *, identity: Identity, purpose: str) -> None:
    """Sign the bytes of `file` and write the signature durably.

    Raises:
        ReleaseError: unreadable, or the signature cannot be written.
    """
    made = DetachedSignature(
        public_key=identity.public_key,
        signature=identity.sign(durable.read(file), purpose=purpose).hex(),
    )
    durable.write(signature, canonical.encode(terms.document(made)))


def signature_fault(file: Path, signature: Path, *, public_key: str, purpose: str) -> str:
    """Return what is wrong with the signature as one sentence, or "" if it holds."""
    try:
        raw, message = durable.read(signature), durable.read(file)
        found = terms.parse(DetachedSignature, raw, what=signature.name, error=ReleaseError)
    except ReleaseError as error:
        return f"{error}."
    if found.public_key != public_key:
        return f"{file.name} is signed by {found.public_key[:12]}, not by {public_key[:12]}."
    if not verify(public_key, message, bytes.fromhex(found.signature), purpose=purpose):
        return f"The signature of {file.name} is not over its bytes."
    return ""
