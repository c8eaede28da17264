"""Approve a release: check it whole, record who and why, write the pages again, free the adapter.

Guarantee: nothing is recorded for a release that does not verify, that failed its gate, or by a key
that the charter does not let approve.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

from fedethics import texts
from fedethics.charter.signing import Signer
from fedethics.errors import ApprovalRefused
from fedethics.identity import Identity
from fedethics.release import decision, durable, folder, gate, readers
from fedethics.release.decision import Approval, Decision, decide, decided, place
from fedethics.release.folder import MANIFEST, Folder, hash_bytes, located
from fedethics.release.gate import GateReport
from fedethics.release.pages import renderer_sha256
from fedethics.release.verification import PLACEMENT, Check, verify


def approve(
    run_dir: Path,
    identity: Identity,
    *,
    role: str,
    reason: str,
    despite_uncertainty: bool = False,
    not_checked: Collection[str] = (),
    approved: datetime | None = None,
) -> Decision:
    """Record an approval, signed over the manifest's hash; an earlier one of this key is replaced.

    Args:
        run_dir: the release.
        identity: the approver's key.
        role: as the charter names its holder.
        reason: why; printed in every report.
        despite_uncertainty: although the gate cannot conclude.
        not_checked: checks that `verify` cannot carry out here and that the approver does without,
            by their topics, such as "pages".
        approved: when; now, if not given.

    Returns:
        Where the release stands now.

    Raises:
        ApprovalRefused: the release does not verify, its gate failed or cannot conclude (without
            `despite_uncertainty`), something of it cannot be checked here and is not named in
            `not_checked`, the key may not approve, or no reason is given.
        ReleaseError: a file is missing or malformed, or cannot be written.
    """
    opened = folder.load(run_dir)
    judged = gate.judge(opened)
    signer = signer_of(opened, identity, role)
    before = _require_not_withdrawn(opened, judged)
    _require_verdict(judged, despite_uncertainty=despite_uncertainty)
    require_reason(reason)
    unseen = _require_verified(verify(opened.path), not_checked)
    made = Approval(
        role=signer.role,
        name=signer.name,
        public_key=signer.public_key,
        approved=(approved or datetime.now(UTC)).isoformat(timespec="seconds"),
        verdict=judged.verdict,
        despite_uncertainty=despite_uncertainty and judged.verdict == "cannot conclude",
        reason=" ".join(reason.split()),
        manifest_sha256=durable.file_sha256(run_dir / MANIFEST),
        renderer_sha256=renderer_sha256(),
        not_checked=unseen,
    )
    kept = tuple(one for one in before.approvals if one.public_key != made.public_key)
    taken = decide(opened.charter, judged.verdict, (*kept, made))
    pages = readers.pages_of(opened, judged, taken)
    hashes = tuple(hash_bytes(name, data) for name, data in pages.items())
    sealed = decision.signed(dataclasses.replace(made, pages=hashes), identity)
    for name, data in pages.items():
        durable.write(located(run_dir, name), data)
    decision.write((*kept, sealed), run_dir)
    place(run_dir, taken)
    return taken


def signer_of(opened: Folder, identity: Identity, role: str) -> Signer:
    """Return whom the charter names with this key and role.

    Raises:
        ApprovalRefused: nobody who may approve.
    """
    allowed = decision.approvers(opened.charter)
    for signer in allowed:
        if signer.public_key == identity.public_key and signer.role == role:
            return signer
    listed = ", ".join(signer.label for signer in allowed)
    raise ApprovalRefused(
        f"the key {identity.public_key[:16]} may not approve as {role}: the charter names "
        f"{listed}. Nothing was recorded"
    )


def _require_verdict(judged: GateReport, *, despite_uncertainty: bool) -> None:
    if judged.verdict == "fail":
        failed = ", ".join(rule.name for rule in judged.rules if rule.verdict == "fail")
        raise ApprovalRefused(
            f"the gate failed ({failed}); it cannot be approved, whatever the reason. Nothing was "
            "recorded, and the adapter stays withheld"
        )
    if judged.verdict == "cannot conclude" and not despite_uncertainty:
        undecided = sum(rule.verdict == "cannot conclude" for rule in judged.rules)
        raise ApprovalRefused(
            f"the gate cannot conclude on {undecided} rules. A release despite this is a separate "
            "decision: read the report, then give --despite-uncertainty and the reason in "
            "--reason. Nothing was recorded"
        )


def _require_not_withdrawn(opened: Folder, judged: GateReport) -> Decision:
    before, _ = decided(opened, judged.verdict)
    if before.withdrawal is not None:
        raise ApprovalRefused(
            f"the release cannot be approved again. {before.withdrawal.sentence} Nothing was "
            "recorded. Run the federation again for a new release"
        )
    return before


def require_reason(reason: str) -> None:
    """Refuse a reason that is empty, or that no page can print.

    Raises:
        ApprovalRefused: says which.
    """
    if not reason.strip():
        raise ApprovalRefused(
            "--reason is empty; it is printed in every report. Nothing was recorded"
        )
    # Checked here, or the file would hold an approval that every reader refuses.
    unfit = texts.fault(reason, prose=True)
    if unfit:
        raise ApprovalRefused(f"--reason {unfit}. Nothing was recorded")


def _require_verified(checks: Sequence[Check], not_checked: Collection[str]) -> tuple[str, ...]:
    """Refuse what is wrong, and what was not checked unless it is named; return all of the latter.

    Args:
        checks: of the whole release.
        not_checked: topics of checks that the approver does without.
    """
    problems = [
        problem
        for check in checks
        if check.name != PLACEMENT  # an approval that was cut short is completed by this one
        for problem in check.problems
    ]
    if problems:
        raise ApprovalRefused(
            "the release does not verify, so nothing was recorded: " + " ".join(problems)
        )
    topics = [check.topic for check in checks if check.undecided]
    unseen = tuple(thing for check in checks for thing in check.not_checked)
    left = [topic for topic in topics if topic not in not_checked]
    if left:
        options = " ".join(f"--not-checked {topic}" for topic in left)
        raise ApprovalRefused(
            f"not everything could be checked here; not checked: {', '.join(unseen)}. So it is not "
            "shown that they follow from the evidence. Nothing was recorded. Verify with the "
            "version of fedethics and its packages that wrote them; or read the figures from "
            f"`fedethics release gate` instead, and approve with {options}, which is recorded"
        )
    needless = sorted(set(not_checked) - set(topics))
    if needless:
        raise ApprovalRefused(
            f"--not-checked {', '.join(needless)}: this check was not left out here. Left out "
            f"were: {', '.join(topics) or 'none'}. Nothing was recorded"
        )
    return unseen
