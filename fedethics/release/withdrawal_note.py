"""withdrawal.json: who took a released adapter back, when and why, signed over its manifest.

Guarantee: a withdrawal by anyone who may approve the release ends it permanently, in every folder
where the note lies: the adapter moves out, it is neither scored nor started from, and no later
approval counts. It needs no verdict and no verification, so that nothing can stand in its way.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from fedethics import canonical, terms, texts
from fedethics.charter.signing import Signer, SignerRole, named
from fedethics.errors import ReleaseError
from fedethics.identity import Identity, public_key_term, verify
from fedethics.release import durable
from fedethics.release.folder import WITHDRAWAL, FileHash
from fedethics.terms import KEY, SIGNATURE, TIME, term

_PURPOSE = "release-withdrawal"
# Notes that sites are sent at once.
MOST_TOLD = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Withdrawal:
    """One person's word that a release is not to be used any more.

    Attributes:
        withdrawn: when, by that person's own clock.
        manifest_sha256: of the manifest of the release.
        pages: the reports and cards as they were written again, so that each says it.
        renderer_sha256: of the code and packages that wrote them.
        signature: by `public_key` over all other fields; empty only while it is being made.
    """

    role: SignerRole = term()
    name: str = term(nonempty=True)
    public_key: str = public_key_term()
    withdrawn: str = term(pattern=TIME)
    reason: str = term(nonempty=True, prose=True)
    manifest_sha256: str = term(pattern=KEY)
    pages: tuple[FileHash, ...] = term(default=())
    renderer_sha256: str = term(pattern=KEY)
    signature: str = term(default="", pattern=f"({SIGNATURE})?")

    @property
    def sentence(self) -> str:
        """Who, when and why, for a reader of nothing else."""
        return (
            f"Withdrawn by {named(self.role, self.name)} on {self.withdrawn[:10]}: "
            f"“{texts.in_line(self.reason)}” Do not use this adapter."
        )


def signed(withdrawal: Withdrawal, identity: Identity) -> Withdrawal:
    """Return the withdrawal with its signature."""
    signature = identity.sign(_message(withdrawal), purpose=_PURPOSE).hex()
    return dataclasses.replace(withdrawal, signature=signature)


def load(run_dir: Path) -> Withdrawal | None:
    """Return what withdrawal.json says, checked for form only; None where there is no file.

    Raises:
        ReleaseError: not canonical, or malformed.
    """
    path = run_dir / WITHDRAWAL
    if not os.path.lexists(path):  # a link or pipe is no "none"
        return None
    return terms.parse(Withdrawal, durable.read(path), what=str(path), error=ReleaseError)


def write(withdrawal: Withdrawal, run_dir: Path) -> None:
    """Write withdrawal.json durably."""
    durable.write(run_dir / WITHDRAWAL, canonical.encode(terms.document(withdrawal)))


def fault(withdrawal: Withdrawal, allowed: Collection[Signer], *, manifest_sha256: str) -> str:
    """Return why a withdrawal does not count, as one sentence, or "" if it does.

    Args:
        withdrawal: as it lies there.
        allowed: who may approve the release, and so may withdraw it.
        manifest_sha256: of the release it lies in.
    """
    who = f"The withdrawal by {named(withdrawal.role, withdrawal.name)}"
    signer = Signer(role=withdrawal.role, name=withdrawal.name, public_key=withdrawal.public_key)
    if signer not in allowed:
        return f"{who} does not count: the charter does not let that key approve."
    signature = bytes.fromhex(withdrawal.signature)
    if not verify(withdrawal.public_key, _message(withdrawal), signature, purpose=_PURPOSE):
        return f"{who} does not bear that signature."
    if withdrawal.manifest_sha256 != manifest_sha256:
        return f"{who} is for another release: manifest {withdrawal.manifest_sha256[:12]}."
    return ""


def _message(withdrawal: Withdrawal) -> bytes:
    return canonical.encode(terms.document(dataclasses.replace(withdrawal, signature="")))
