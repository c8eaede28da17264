"""window.json: what one window opened, with the sites' receipts, signed by the coordinator.

A window's folder is that of its run: charter.json, window.json, verdict.json, and alarm.json where
it drifted. All windows of one charter lie side by side; `history` reads them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from fedethics import canonical, terms
from fedethics.aggregates.aggregate import sum_sha256
from fedethics.aggregates.monitoring import MONITORING, WindowLayout, terms_of, window_number
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.charter.signing import CharterSignature, standing
from fedethics.errors import ReleaseError
from fedethics.identity import Identity, verify
from fedethics.privacy.ledger import Receipt
from fedethics.privacy.plan import make_plan
from fedethics.release import durable, receipts
from fedethics.release.evidence import Countersignature, OpenedSum, SignedReceipt
from fedethics.release.receipts import Heads, countersignature_faults
from fedethics.release.rules import integrity
from fedethics.terms import KEY, SIGNATURE, TIME, term

WINDOW = "window.json"
_PURPOSE = "monitoring-window"


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowEvidence:
    """What one window opened.

    Attributes:
        window: its number, from 1.
        release_manifest_sha256, model_sha256: of the release and of the adapter that is watched.
        variance: of the noise on each of `counts`.
        opened: the one sum of the run; `counts` are its integers (`WindowLayout`).
        signature: by the coordinator over all other fields; empty only while it is being made.
    """

    run_id: str = term(nonempty=True)
    window: int = term(at_least=1)
    finished: str = term(pattern=TIME)
    charter_hash: str = term(pattern=KEY)
    release_manifest_sha256: str = term(pattern=KEY)
    model_sha256: str = term(pattern=KEY)
    variance: float = term(at_least=0)
    test_mode: bool = term(default=False)
    opened: OpenedSum = term()
    counts: tuple[int, ...] = term(nonempty=True)
    receipts: tuple[SignedReceipt, ...] = term(default=())
    countersignatures: tuple[Countersignature, ...] = term(default=())
    charter_signatures: tuple[CharterSignature, ...] = term(default=())
    signature: str = term(default="", pattern=f"({SIGNATURE})?")


def signed(evidence: WindowEvidence, identity: Identity) -> WindowEvidence:
    """Return the evidence with the coordinator's signature."""
    signature = identity.sign(_message(evidence), purpose=_PURPOSE).hex()
    return dataclasses.replace(evidence, signature=signature)


def write(evidence: WindowEvidence, folder: Path) -> None:
    """Write window.json durably."""
    durable.write(folder / WINDOW, canonical.encode(terms.document(evidence)))


def load(folder: Path) -> tuple[Charter, WindowEvidence]:
    """Return the charter and the evidence of a window's folder, checked for form only.

    Raises:
        ReleaseError: no window, or malformed.
        CharterError: its charter is none.
    """
    path = folder / WINDOW
    charter = document.load(folder / "charter.json")
    found = terms.parse(WindowEvidence, durable.read(path), what=str(path), error=ReleaseError)
    if charter.monitoring is None or len(found.counts) != WindowLayout.of(charter).length:
        raise ReleaseError(f"{path} holds no window of its charter")
    return charter, found


def faults(charter: Charter, found: WindowEvidence) -> tuple[str, ...]:
    """Return what is wrong with a window's evidence, each a sentence; nothing is wrong: empty."""
    problems = [*_of_charter(charter, found), *_of_receipts(charter, found)]
    signature = bytes.fromhex(found.signature)
    if not verify(charter.coordinator_key, _message(found), signature, purpose=_PURPOSE):
        problems.append("The window does not bear the coordinator's signature.")
    if sum_sha256(found.counts) != found.opened.sum_sha256:
        problems.append("The counts are not the sum that was opened.")
    if set(found.opened.survivors) != set(charter.site_names):
        problems.append("The sum is not over the whole roster.")
    problems += integrity.sum_faults(charter, found.opened)
    return tuple(problems)


def _of_charter(charter: Charter, found: WindowEvidence) -> list[str]:
    agreed = terms_of(charter)
    problems = []
    if document.hash_of(charter) != found.charter_hash:
        problems.append("The window was read under another charter.")
    if (
        found.release_manifest_sha256 != agreed.release
        or found.model_sha256 != charter.adapter.from_
    ):
        problems.append("The window is of another release than the charter's.")
    if window_number(found.run_id) != found.window or found.window > agreed.windows:
        problems.append("The run's name tells another window.")
    if MONITORING.of(make_plan(charter).sums).noise.sum_variance != found.variance:
        problems.append("The noise is not that of the charter's plan.")
    if found.opened.kind != MONITORING.name:
        problems.append(f"The sum that was opened is one of {found.opened.kind}.")
    signers = standing(charter, found.charter_signatures)
    problems += signers.void
    # As the gate does: where the charter names stakeholders, all must have signed.
    if charter.ethics.stakeholders and signers.missing:
        problems.append(f"Not signed by {', '.join(one.label for one in signers.missing)}.")
    return problems


def _of_receipts(charter: Charter, found: WindowEvidence) -> list[str]:
    problems, missing = list[str](), set(charter.site_names)
    for signed_receipt in found.receipts:
        member = next(
            (m for m in charter.roster if m.public_key == signed_receipt.public_key), None
        )
        key = member.public_key if member else ""
        receipt = receipts.genuine(signed_receipt, roster_key=key) if member else None
        if member is None or receipt is None or receipt.site != member.site:
            problems.append("A receipt is not signed by the key of a member.")
            continue
        if member.site not in missing:
            problems.append(f"{member.site} has more than one receipt.")
        missing.discard(member.site)
        if (receipt.run_id, receipt.charter_hash) != (found.run_id, found.charter_hash):
            problems.append(f"The receipt of {member.site} is of another run.")
        problems += _of_sums(charter, found, receipt)
        problems += _of_spending(charter, found, receipt)
    if missing:
        problems.append(f"No receipt of {', '.join(sorted(missing))}.")
    if found.countersignatures and found.receipts:
        heads = Heads(run=found.run_id, charter_hash=found.charter_hash, receipts=found.receipts)
        keys = {member.site: member.public_key for member in charter.roster}
        problems += countersignature_faults(heads, found.countersignatures, keys)
    return problems


def _of_sums(charter: Charter, found: WindowEvidence, receipt: Receipt) -> list[str]:
    """Hold the one sum of a window against what a site signed of it."""
    site, entry = receipt.site, found.opened
    if [(one.kind, one.round) for one in receipt.sums] != [(MONITORING.name, entry.round)]:
        return [f"{site} does not say that it opened this sum and no other in the run."]
    (told,) = receipt.sums
    problems = [*integrity.contradictions(site, told, entry), *integrity.unsaid(site, told)]
    if told.adapter not in {None, found.model_sha256}:
        problems.append(f"The counts of {site} are of another adapter.")
    if told.slices == "failed":
        problems.append(f"The sum is false, by the check of {site}.")
    elif charter.secagg.verify_slices and told.slices != "passed":
        problems.append(f"{site} did not check the sum.")
    return problems


def _of_spending(charter: Charter, found: WindowEvidence, receipt: Receipt) -> list[str]:
    """Hold what a site's records paid for a window against the charter."""
    site, privacy, problems = receipt.site, charter.privacy, list[str]()
    agreed = (privacy.unit, privacy.neighbouring, privacy.delta)
    if (receipt.unit, receipt.neighbouring, receipt.delta) != agreed:
        problems.append(f"The receipt of {site} is of another unit, neighbour or delta.")
    if receipt.training_rounds:
        problems.append(f"{site} was charged for training, and a window trains nothing.")
    if receipt.fixed_noise and not found.test_mode:
        problems.append(f"{site} used fixed noise, and the window does not say so.")
    if found.test_mode or privacy.evaluation.mechanism == "none":
        return problems  # no epsilon was promised
    spent, allowed = receipt.evaluation_epsilon, terms_of(charter).epsilon
    if spent is None:
        problems.append(f"{site} spent without a bound.")
    elif spent > allowed:
        again = " (the window was charged more than once)"
        more = again if receipts.redone(receipt.evaluation_rounds) else ""
        problems.append(f"{site} spent {spent:.3f}, above {allowed:g}{more}.")
    return problems


def _message(evidence: WindowEvidence) -> bytes:
    return canonical.encode(terms.document(dataclasses.replace(evidence, signature="")))
