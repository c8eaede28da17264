"""A run directory as its examiners read it: charter, evidence, and the tables they imply.

Layout of `runs/<id>/`: charter.json, evidence.json, adapter/, and what is derived from them
(gate.json, report.html, adapter/README.md, manifest.json); comparisons.json where a simulation
wrote one; metrics.jsonl and events.jsonl for people; sites/<name>/ledger.db for the sites.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedethics import canonical
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.errors import CharterError, FairnessError, ReleaseError
from fedethics.fairness.tables import Tables
from fedethics.release import durable, evidence
from fedethics.release.evidence import Evidence
from fedethics.tasks import FAIRNESS, layout_of

CHARTER = "charter.json"
EVIDENCE = "evidence.json"
GATE = "gate.json"
REPORT = "report.html"
MANIFEST = "manifest.json"
COMPARISONS = "comparisons.json"
METRICS = "metrics.jsonl"
ADAPTER = "adapter/adapter_model.safetensors"
ADAPTER_CONFIG = "adapter/adapter_config.json"
CARD = "adapter/README.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """A run directory, opened and validated.

    Attributes:
        charter_sha256, evidence_sha256: of the files' bytes as they lie on the disk.
        tables: the opened, noised group tables, with their layout from the charter.
    """

    path: Path
    charter: Charter
    charter_sha256: str
    evidence: Evidence
    evidence_sha256: str
    tables: Tables


def load(path: Path) -> Folder:
    """Open a run directory.

    Raises:
        ReleaseError: not a run directory, a file is missing or malformed, or the tables do not
            have the size that the charter's layout says.
        CharterError: charter.json is not a charter.
    """
    if not path.is_dir():
        raise ReleaseError(f"{path} is not a directory; give the run's own, as in runs/<id>")
    charter_bytes = durable.read(path / CHARTER)
    evidence_bytes = durable.read(path / EVIDENCE)
    charter = document.parse(charter_bytes)
    if not charter.roster:
        raise CharterError(f"{path / CHARTER} has no roster; no run can have followed it")
    found = evidence.parse(evidence_bytes, where=str(path / EVIDENCE))
    return Folder(
        path=path,
        charter=charter,
        charter_sha256=canonical.sha256_hex(charter_bytes),
        evidence=found,
        evidence_sha256=canonical.sha256_hex(evidence_bytes),
        tables=_tables(charter, found),
    )


def _tables(charter: Charter, found: Evidence) -> Tables:
    opened = [entry for entry in found.rounds if entry.kind == FAIRNESS]
    sites = len(opened[-1].survivors if opened else charter.roster)
    layout = layout_of(charter)
    if len(found.counts) != layout.counts_length:
        raise ReleaseError(
            f"{EVIDENCE}: counts hold {len(found.counts)} integers, but the charter's layout has "
            f"{layout.counts_length}"
        )
    try:
        return Tables.from_vector(
            np.array([*found.counts, *found.histogram], dtype=np.int64),
            layout=layout,
            counts_variance=found.counts_variance,
            histogram_variance=found.histogram_variance,
            sites=sites,
        )
    except FairnessError as error:
        raise ReleaseError(f"{EVIDENCE}: the tables do not fit the charter: {error}") from error
