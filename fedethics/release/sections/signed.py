"""Who stood behind the charter before the run, and who approved the release after it."""

from __future__ import annotations

from fedethics.charter.signing import required_signers, standing
from fedethics.identity import fingerprint
from fedethics.release.decision import Decision
from fedethics.release.folder import Folder
from fedethics.release.rules import signatures
from fedethics.release.sections.block import NOTHING, Table


def signers(folder: Folder) -> Table:
    """Return one row for each whom the charter names, with the time and key of the signature."""
    found = standing(folder.charter, folder.evidence.charter_signatures)
    by_key = {(one.role, one.public_key): one for one in found.valid}
    rows = []
    for signer in required_signers(folder.charter):
        made = by_key.get((signer.role, signer.public_key))
        state = "no signature" if made is None else "simulated" if made.simulated else "signed"
        when = made.signed if made else NOTHING
        rows.append((signer.name, signer.role, state, when, fingerprint(signer.public_key)))
    return Table(
        head=("Name", "Role", "Signature", "When, by the signer's clock", "Key's fingerprint"),
        rows=tuple(rows),
    )


def summary(folder: Folder) -> str:
    """Return the gate's sentence on the charter's signatures."""
    (rule,) = signatures.examine(folder)
    return rule.sentence


def approvals(decision: Decision) -> Table | None:
    """Return one row for each approval that counts; None where there is none."""
    if not decision.approvals:
        return None
    rows = tuple(
        (
            one.name,
            one.role,
            one.approved,
            "despite uncertainty" if one.despite_uncertainty else "on a passing gate",
            one.reason,
        )
        for one in decision.approvals
    )
    return Table(head=("Name", "Role", "When", "How", "Reason"), rows=rows)
