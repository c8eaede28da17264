"""Whether the adapter is released: the gate's verdict and people's approval together.

The gate judges evidence; people decide. A failed gate is final. A gate that cannot conclude
withholds too, unless somebody who may approve takes the decision on record, saying why.

approvals.json: who approved a release, why, and over which manifest.

Guarantee: an approval holds for one manifest, one verdict, one reason and the pages that its
approver was shown; a changed byte of the release voids it. Nobody can approve a failed gate.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fedethics import canonical, terms, texts
from fedethics.charter.model import Charter
from fedethics.charter.signing import Signer, SignerRole, named, required_signers
from fedethics.errors import (
    EXIT_AWAITING_PEOPLE,
    EXIT_CANNOT_CONCLUDE,
    EXIT_GATE_FAILED,
    EXIT_OK,
    EXIT_RELEASED_UNCERTAIN,
    EXIT_WITHDRAWN,
    ReleaseError,
)
from fedethics.identity import Identity, public_key_term, verify
from fedethics.release import durable, withdrawal_note
from fedethics.release.folder import ADAPTER_DIR, APPROVALS, MANIFEST, WITHHELD, FileHash, Folder
from fedethics.release.rules.rule import Outcome
from fedethics.release.withdrawal_note import Withdrawal
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
    who = f"The approval of {named(approval.role, approval.name)}"
    signer = Signer(role=approval.role, name=approval.name, public_key=approval.public_key)
    if signer not in approvers(charter):
        return f"{who} is by a key that the charter does not let approve."
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


State = Literal["released", "awaiting approval", "withheld", "withdrawn"]
# What a scheduler learns of a release: each standing that there is, and no other.
EXIT_CODES: dict[tuple[Outcome, State], int] = {
    ("pass", "released"): EXIT_OK,
    ("pass", "awaiting approval"): EXIT_AWAITING_PEOPLE,
    ("pass", "withdrawn"): EXIT_WITHDRAWN,
    ("cannot conclude", "released"): EXIT_RELEASED_UNCERTAIN,
    ("cannot conclude", "withheld"): EXIT_CANNOT_CONCLUDE,
    ("cannot conclude", "withdrawn"): EXIT_WITHDRAWN,
    ("fail", "withheld"): EXIT_GATE_FAILED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Where a release stands.

    Attributes:
        approvals: those that count, in order.
        missing: who must still approve, in words.
        sentence: all of that, for a reader without the other fields.
        withdrawal: by whom and why it was taken back; None where it was not.
    """

    state: State
    approvals: tuple[Approval, ...]
    missing: tuple[str, ...]
    sentence: str
    withdrawal: Withdrawal | None = None

    @property
    def released(self) -> bool:
        """Whether the adapter may lie in the release."""
        return self.state == "released"

    @property
    def pages(self) -> tuple[FileHash, ...]:
        """The reports and cards as people wrote them again last; none where nobody did."""
        last = self._last
        return last.pages if last else ()

    @property
    def renderer_sha256(self) -> str:
        """Of the code and packages that wrote those pages; "" where nobody did."""
        last = self._last
        return last.renderer_sha256 if last else ""

    @property
    def _last(self) -> Approval | Withdrawal | None:
        return self.withdrawal or (self.approvals[-1] if self.approvals else None)


def decide(charter: Charter, verdict: Outcome, approvals: Sequence[Approval]) -> Decision:
    """Decide from the approvals that count (see `approvals.fault`)."""
    missing = _missing(charter, approvals) if verdict != "fail" else ()
    state: State = "withheld"
    if verdict != "fail" and not missing:
        state = "released"
    elif verdict == "pass":
        state = "awaiting approval"
    return Decision(
        state=state,
        approvals=tuple(approvals),
        missing=missing,
        sentence=_sentence(state, verdict, approvals, missing),
    )


def withdrawn(decision: Decision, note: Withdrawal) -> Decision:
    """Return the decision after somebody took the release back."""
    return dataclasses.replace(
        decision,
        state="withdrawn",
        missing=(),
        sentence=f"{note.sentence} Before: {decision.sentence}",
        withdrawal=note,
    )


def decided(opened: Folder, verdict: Outcome) -> tuple[Decision, tuple[str, ...]]:
    """Return where a run directory stands, and a sentence for each note that does not count.

    Raises:
        ReleaseError: approvals.json or withdrawal.json is malformed.
    """
    listed, note = load(opened.path), withdrawal_note.load(opened.path)
    if not listed and note is None:
        return decide(opened.charter, verdict, ()), ()
    path = opened.path / MANIFEST
    manifest = durable.file_sha256(path) if os.path.lexists(path) else ""
    checked = [
        (one, fault(one, opened.charter, verdict=verdict, manifest_sha256=manifest))
        for one in listed
    ]
    counted = tuple(one for one, why in checked if not why)
    faults = tuple(why for _, why in checked if why)
    found = decide(opened.charter, verdict, counted)
    if note is None:
        return found, faults
    void = withdrawal_note.fault(note, approvers(opened.charter), manifest_sha256=manifest)
    if void or verdict == "fail":  # what failed was never released
        return found, (*faults, *filter(None, (void,)))
    return withdrawn(found, note), faults


def place(run_dir: Path, decision: Decision) -> None:
    """Move the adapter to where the decision says: into the release, or out of it.

    Raises:
        ReleaseError: the folder cannot be moved.
    """
    held, free = run_dir / WITHHELD / ADAPTER_DIR, run_dir / ADAPTER_DIR
    source, target = (held, free) if decision.released else (free, held)
    if not source.exists():
        return
    try:
        target.parent.mkdir(exist_ok=True)
        os.rename(source, target)
        if decision.released:
            (run_dir / WITHHELD).rmdir()
    except OSError as error:
        raise ReleaseError(f"{source} cannot be moved to {target}: {error.strerror}") from error


def placement_fault(run_dir: Path, decision: Decision) -> str:
    """Return what is wrong with where the adapter lies, or ""."""
    free = (run_dir / ADAPTER_DIR).exists()
    if free and not decision.released:
        return f"{ADAPTER_DIR}/ is in the release, although: {decision.sentence}"
    if decision.released and not free:
        return f"The adapter is still in {WITHHELD}/, though it was approved; approve it again."
    return ""


def _missing(charter: Charter, approvals: Sequence[Approval]) -> tuple[str, ...]:
    given = {one.role for one in approvals}
    if charter.ethics.approval_by:
        return tuple(f"a {role}" for role in charter.ethics.approval_by if role not in given)
    if approvals:
        return ()
    if not charter.ethics.stakeholders:
        return ("a site or the coordinator",)
    return (" or ".join(signer.label for signer in approvers(charter)),)


def _unseen(approval: Approval) -> str:
    return f", with {', '.join(approval.not_checked)} not checked" if approval.not_checked else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentence(
    state: State, verdict: Outcome, approvals: Sequence[Approval], missing: Sequence[str]
) -> str:
    if verdict == "fail":
        return "Withheld: a failed gate cannot be approved."
    given = " ".join(
        f"{_capital(named(one.role, one.name))} approved it on {one.approved[:10]}"
        f"{', despite the uncertainty' if one.despite_uncertainty else ''}{_unseen(one)}: "
        f"“{texts.in_line(one.reason)}”"
        for one in approvals
    )
    if state == "released":
        return f"Released. {given}"
    open_ = f"not approved yet by {'; '.join(missing)}"
    if verdict == "pass":
        return f"Awaiting approval: {open_}. Until then the adapter is withheld. {given}".strip()
    return (
        f"Withheld: the gate cannot conclude, and it was not approved despite this ({open_}). "
        f"{given}"
    ).strip()
