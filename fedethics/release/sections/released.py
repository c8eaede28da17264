"""What was released and charged, who signed, and the hashes by which to check it.

Hashes, versions and seeds: enough to check the release, and to make it again.

Who stood behind the charter before the run, and who approved the release after it.
"""

from __future__ import annotations

from fedethics.aggregates.registry import AGGREGATES
from fedethics.charter.cohorts import words
from fedethics.charter.signing import required_signers, standing
from fedethics.identity import fingerprint
from fedethics.privacy.plan import make_plan
from fedethics.release.decision import Decision
from fedethics.release.folder import Folder
from fedethics.release.rules import signatures
from fedethics.release.sections.block import NARROW, NOTHING, Table, number


def build(folder: Folder) -> Table:
    """Return one row for each opened sum, in the order in which they were opened."""
    charter, sums = folder.charter, make_plan(folder.charter).sums
    rows = {name: AGGREGATES[name].left(charter, plan, number) for name, plan in sums.items()}
    return Table(
        head=("After", "Released as a sum", "Records that paid", "Mechanism", "Sites in the sum"),
        rows=tuple(
            (
                f"round{NARROW}{entry.round}",
                *rows[entry.kind],
                f"{len(entry.survivors)} of {len(entry.cohort)}",
            )
            for entry in folder.evidence.rounds
        ),
    )


def hashes(folder: Folder) -> Table:
    """Return the SHA-256 of everything that the release was made from."""
    found = folder.evidence
    rows = (
        ("Charter", folder.charter_sha256),
        ("Data schema", found.schema_hash),
        (f"Base model, {folder.charter.model.name}", found.base_model_sha256),
        ("Adapter", found.model_hash),
        ("Code of fedethics, server and clients", found.code_hash),
        ("Evidence", folder.evidence_sha256),
    )
    return Table(head=("What", "SHA-256"), rows=rows)


def versions(folder: Folder) -> Table:
    """Return the packages of the coordinator."""
    rows = tuple((package.name, package.version) for package in folder.evidence.versions)
    return Table(head=("Package", "Version"), rows=rows)


def facts(folder: Folder) -> Table:
    """Return when, what and with which public seeds."""
    found, charter = folder.evidence, folder.charter
    quorum = charter.secagg.quorum
    rows = (
        ("Run", found.run_id),
        ("Started, by the coordinator’s clock", found.started),
        ("Finished, by the coordinator’s clock", found.finished),
        ("Charter", f"{charter.name}, version {charter.charter.version}"),
        ("Industry", charter.charter.industry),
        ("Data, and the partition into sites", charter.data.source),
        ("Sites", ", ".join(charter.site_names)),
        ("Rounds", str(charter.training.rounds)),
        *([("Sites that train", cohorts)] if (cohorts := words(charter)) else []),
        *([("Tables may lack sites, quorum", str(quorum))] if quorum is not None else []),
        ("Public seed of the adapter (noise has none)", str(charter.adapter.seed)),
        *(
            [("Released adapter that training started from, SHA-256", charter.adapter.from_)]
            if charter.adapter.from_
            else []
        ),
    )
    return Table(head=("Fact", "Value"), rows=rows)


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
