"""approvals.json: who approved a release, why, and over which manifest.

Guarantee: an approval holds for one manifest, one verdict, one reason and the pages that its
approver was shown; a changed byte of the release voids it. Nobody can approve a failed gate.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fedethics import canonical, terms
from fedethics.charter.model import Charter
from fedethics.charter.signing import Signer, SignerRole, required_signers
from fedethics.errors import ReleaseError
from fedethics.identity import Identity, public_key_term, verify
from fedethics.release import durable
from fedethics.release.file_hash import FileHash
from fedethics.release.folder import APPROVALS
from fedethics.release.rules.rule import Outcome
from fedethics.terms import KEY, SIGNATURE, TIME, term

_PURPOSE = "release-approval"


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """One person's decision that a release may leave.

    Attributes:
        approved: when, by the approver's own clock.
        despite_uncertainty: given although the gate could not conclude.
        manifest_sha256: of the manifest that the approval is for.
        pages: the reports and cards as they were written again with this approval in them.
        renderer_sha256: of the code and packages that wrote them (`renderer`).
        not_checked: what `verify` could not check at the approver's machine, by name.
        signature: by `public_key` over all other fields; empty only while it is being made.
    """

    role: SignerRole = term()
    name: str = term(nonempty=True)
    public_key: str = public_key_term()
    approved: str = term(pattern=TIME)
    verdict: Outcome = term()
    despite_uncertainty: bool = term()
    reason: str = term(nonempty=True, prose=True)
    manifest_sha256: str = term(pattern=KEY)
    pages: tuple[FileHash, ...] = term(default=())
    renderer_sha256: str = term(default="", pattern=f"({KEY})?")
    not_checked: tuple[str, ...] = term(default=())
    signature: str = term(default="", pattern=f"({SIGNATURE})?")


@dataclass(frozen=True, kw_only=True, slots=True)
class ApprovalFile:
    """All approvals of a release, in the order in which they were given."""

    approvals: tuple[Approval, ...] = term(default=())


def approvers(charter: Charter) -> tuple[Signer, ...]:
    """Return who may approve: the stakeholders, or, where none is named, sites and coordinator."""
    named = required_signers(charter)
    people = tuple(one for one in named if one.role not in {"site", "coordinator"})
    return people or named


def signed(approval: Approval, identity: Identity) -> Approval:
    """Return the approval with its signature."""
    return dataclasses.replace(
        approval, signature=identity.sign(_message(approval), purpose=_PURPOSE).hex()
    )


def load(run_dir: Path) -> tuple[Approval, ...]:
    """Return what approvals.json lists, checked for form only; none where there is no file.

    Raises:
        ReleaseError: not canonical, or malformed.
    """
    path = run_dir / APPROVALS
    if not os.path.lexists(path):  # a link or pipe is no "none"
        return ()
    found = terms.parse(ApprovalFile, durable.read(path), what=str(path), error=ReleaseError)
    return found.approvals


def write(approvals: Iterable[Approval], run_dir: Path) -> None:
    """Write approvals.json durably."""
    file = ApprovalFile(approvals=tuple(approvals))
    durable.write(run_dir / APPROVALS, canonical.encode(terms.document(file)))


def fault(approval: Approval, charter: Charter, *, verdict: Outcome, manifest_sha256: str) -> str:
    """Return why an approval does not count, as one sentence, or "" if it does."""
    who = f"The approval of {approval.role} {approval.name}"
    signer = Signer(role=approval.role, name=approval.name, public_key=approval.public_key)
    if signer not in approvers(charter):
        return f"{who} is by nobody whom the charter lets approve."
    if not verify(
        approval.public_key,
        _message(approval),
        bytes.fromhex(approval.signature),
        purpose=_PURPOSE,
    ):
        return f"{who} does not bear that signature."
    if approval.manifest_sha256 != manifest_sha256:
        return f"{who} is for another release: manifest {approval.manifest_sha256[:12]}."
    if approval.verdict != verdict:
        return f"{who} is for the verdict {approval.verdict!r}."
    if verdict == "fail":
        return f"{who} is void: a failed gate cannot be approved."
    if verdict == "cannot conclude" and not approval.despite_uncertainty:
        return f"{who} does not say that it is given despite the uncertainty."
    return ""


def _message(approval: Approval) -> bytes:
    return canonical.encode(terms.document(dataclasses.replace(approval, signature="")))
