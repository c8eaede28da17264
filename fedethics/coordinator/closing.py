"""Close a run: collect the sites' receipts, save the adapter, write the evidence, examine it.

The evidence is all that a release is judged by.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedethics import charter_sums
from fedethics.charter import document
from fedethics.coordinator.events import EventLog
from fedethics.coordinator.federation import Federation
from fedethics.coordinator.job import Job
from fedethics.errors import ReleaseError
from fedethics.installation import PACKAGED_APP, app_folder
from fedethics.privacy.ledger.receipt import Receipt
from fedethics.privacy.plan import PrivacyPlan
from fedethics.protocol import Action
from fedethics.release import durable, evidence, folder, receipts
from fedethics.release.evidence import (
    Countersignature,
    Evidence,
    Package,
    SignedReceipt,
)
from fedethics.release.plan_facts import plan_facts
from fedethics.release.publish import publish
from fedethics.release.receipts import (
    Heads,
    countersignature_faults,
    encode_heads,
    read_countersignature,
)
from fedethics.training.learner import Learner

_ROOTS = ("fedethics", "server", "clients")
PACKAGES = (
    "flwr", "torch", "opacus", "peft", "transformers", "numpy", "cryptography", "dp-accounting",
)  # fmt: skip


def close(
    job: Job,
    federation: Federation,
    learner: Learner,
    plan: PrivacyPlan,
    adapter: NDArray[np.float32],
    events: EventLog,
) -> None:
    """Write all that the run leaves behind."""
    taken = collect_receipts(job, federation)
    learner.save_adapter(adapter, job.path / folder.WITHHELD / folder.ADAPTER_DIR)
    witnesses = countersigned(job, federation, taken)
    found = _evidence(job, federation.run, plan, taken, witnesses)
    evidence.write(found, job.path / folder.EVIDENCE)
    report = publish(job.path, job.identity)
    events.write("closed", verdict=report.verdict)


def collect_receipts(job: Job, federation: Federation) -> tuple[tuple[SignedReceipt, Receipt], ...]:
    """Return the sites' signed receipts of this run, each by a key of the roster."""
    roster = {member.public_key: member.site for member in job.charter.roster}
    expected = (federation.run, job.charter_hash)
    found: list[tuple[SignedReceipt, Receipt]] = []

    def take(data: bytes) -> str:
        signed = receipts.from_envelope(data)
        site = roster.get(signed.public_key, "")
        receipt = receipts.genuine(signed, roster_key=signed.public_key) if site else None
        if receipt is None or receipt.site != site:
            raise ReleaseError("a receipt is not signed by the key that the roster gives its site")
        # One of another run would have every site refuse the list of all receipts.
        if (receipt.run_id, receipt.charter_hash) != expected:
            raise ReleaseError("a receipt is for another run")
        found.append((signed, receipt))
        return site

    asked: dict[str, dict[str, bytes]] = {site: {} for site in federation.sites}
    federation.leg(Action.RECEIPT, asked, "receipt", take)
    return tuple(found)


def countersigned(
    job: Job, federation: Federation, taken: tuple[tuple[SignedReceipt, Receipt], ...]
) -> tuple[Countersignature, ...]:
    """Give every site all receipts, and return who vouches for the list; none is needed."""
    if not taken:
        return ()
    heads = Heads(
        run=federation.run,
        charter_hash=job.charter_hash,
        receipts=tuple(signed for signed, _ in taken),
    )
    roster = {member.site: member.public_key for member in job.charter.roster}
    found: list[Countersignature] = []

    def take(data: bytes) -> str:
        one = read_countersignature(data)
        if countersignature_faults(heads, (one,), roster):
            raise ReleaseError("a countersignature does not hold")
        found.append(one)
        return one.site

    told = {site: {"heads": encode_heads(heads)} for site in federation.sites}
    federation.leg(Action.WITNESS, told, "countersignature", take)
    return tuple(found)


def _evidence(
    job: Job,
    run: str,
    plan: PrivacyPlan,
    taken: tuple[tuple[SignedReceipt, Receipt], ...],
    witnesses: tuple[Countersignature, ...],
) -> Evidence:
    charter, layout = job.charter, charter_sums.layout_of(job.charter)
    opened = job.state.fairness
    return Evidence(
        run_id=run,
        started=job.state.started,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        charter_hash=job.charter_hash,
        model_hash=durable.file_sha256(folder.located(job.path, folder.ADAPTER)),
        base_model_sha256=charter.model.sha256,
        schema_hash=document.schema_hash(charter),
        code_hash=code_hash(),
        versions=tuple(
            Package(name=name, version=number) for name, number in package_versions().items()
        ),
        test_mode=any(receipt.fixed_noise for _, receipt in taken),
        plan=plan_facts(charter),
        counts=opened[: layout.counts_length],
        histogram=opened[layout.counts_length : layout.tables_length],
        explanation=opened[layout.tables_length :],
        counts_variance=plan.fairness.counts.sum_variance,
        histogram_variance=plan.fairness.histogram.sum_variance,
        effects_variance=plan.fairness.effects.sum_variance,
        flips_variance=plan.fairness.flips.sum_variance,
        progress=job.state.progress,
        steering=job.state.steering,
        audit=job.state.audit,
        counted=job.state.counted,
        rounds=job.state.sums,
        receipts=tuple(signed for signed, _ in taken),
        countersignatures=witnesses,
        charter_signatures=job.signatures,
        trials=job.trials,
    )


def code_hash() -> str:
    """Return the SHA-256 over names and bytes of all sources, in sorted order.

    The same for a wheel and for the checkout that it was built from.
    """
    digest = hashlib.sha256()
    for root in _ROOTS:
        for place in _sources_of(root):
            for path in sorted(place.rglob("*.py")):
                within = path.relative_to(place)
                if (root, within.parts[0]) == ("fedethics", PACKAGED_APP.name):
                    continue  # counted as server and clients
                name = f"{root}/{within.as_posix()}".encode()
                data = path.read_bytes()
                digest.update(len(name).to_bytes(4, "big") + name)
                digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _sources_of(root: str) -> tuple[Path, ...]:
    """Return the folders of a package; where it is not on the path, the installed copy of it."""
    spec = find_spec(root)
    if spec is None:
        return (app_folder() / root,)
    return tuple(Path(each) for each in spec.submodule_search_locations or ())


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that the result depends on."""
    return {name: version(name) for name in PACKAGES}
