"""A run directory as its examiners read it: charter, evidence, and the tables they imply.

Layout of `runs/<id>/`: charter.json, evidence.json, the adapter, and what is derived from them:
gate.json, the reports and cards (`PAGES`), manifest.json with the coordinator's signature, and
approvals.json once somebody approved, withdrawal.json once somebody took it back.
comparisons.json where a simulation wrote one;
benchmarks.jsonl where public benchmarks were asked (`fedethics benchmark --keep`);
metrics.jsonl and events.jsonl for people; sites/<name>/ledger.db for the sites.

The adapter lies in adapter/ only when it is released; until then it lies in withheld/adapter/.

One file of a release by name, hash and size.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedethics import canonical
from fedethics.charter import document
from fedethics.charter.model import Charter, Member
from fedethics.charter_sums import FAIRNESS, layout_of
from fedethics.errors import CharterError, FairnessError, ReleaseError
from fedethics.fairness.layout import Tables
from fedethics.release import durable, evidence
from fedethics.release.evidence import Evidence
from fedethics.terms import KEY, term

CHARTER = "charter.json"
EVIDENCE = "evidence.json"
GATE = "gate.json"
REPORT = "report.html"
MANIFEST = "manifest.json"
COMPARISONS = "comparisons.json"
BENCHMARKS = "benchmarks.jsonl"
METRICS = "metrics.jsonl"
# Written when the census was opened, before anything was trained.
CENSUS = "census.html"
SIGNATURE = "manifest.signature.json"
APPROVALS = "approvals.json"
WITHDRAWAL = "withdrawal.json"
ADAPTER_DIR = "adapter"
WITHHELD = "withheld"
# Named as they lie in a release; `located` says where they are now.
ADAPTER = "adapter/adapter_model.safetensors"
ADAPTER_CONFIG = "adapter/adapter_config.json"
CARD = "adapter/README.md"
DATA_CARD = "data-card.md"
REPORT_PRIVACY = "report-privacy.html"
REPORT_REGULATOR = "report-regulator.html"
REPORT_SITE = "report-site.html"
REPORT_RESEARCHER = "report-researcher.html"
REPORT_JSON = "report.json"
# One page of A4 for each role.
SUMMARY = "summary-ethics.html"
SUMMARY_PRIVACY = "summary-privacy.html"
SUMMARY_REGULATOR = "summary-regulator.html"
SUMMARY_SITE = "summary-site.html"
SUMMARY_RESEARCHER = "summary-researcher.html"
# Written for readers, from the rest; written again when somebody approves.
PAGES = (
    CARD, DATA_CARD, REPORT, REPORT_PRIVACY, REPORT_REGULATOR, REPORT_SITE, REPORT_RESEARCHER,
    SUMMARY, SUMMARY_PRIVACY, SUMMARY_REGULATOR, SUMMARY_SITE, SUMMARY_RESEARCHER, REPORT_JSON,
)  # fmt: skip


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


def located(path: Path, name: str) -> Path:
    """Return where a file of the release lies now: what is in adapter/ may be withheld."""
    if name.startswith(f"{ADAPTER_DIR}/") and not (path / ADAPTER_DIR).exists():
        return path / WITHHELD / name
    return path / name


def load(path: Path) -> Folder:
    """Open a run directory.

    Raises:
        ReleaseError: not a run directory, a file is missing or malformed, or the tables do not
            have the size that the charter's layout says.
        CharterError: charter.json is not a charter.
    """
    if not path.is_dir():
        raise ReleaseError(f"{path} is not a directory; give the run's own, as in runs/<id>")
    _require_own_folders(path)
    charter_bytes = durable.read(path / CHARTER)
    evidence_bytes = durable.read(path / EVIDENCE)
    charter = document.parse(charter_bytes)
    if not charter.roster:
        raise CharterError(f"{path / CHARTER} has no roster, so no run can have used it")
    found = evidence.parse(evidence_bytes, where=str(path / EVIDENCE))
    return Folder(
        path=path,
        charter=charter,
        charter_sha256=canonical.sha256_hex(charter_bytes),
        evidence=found,
        evidence_sha256=canonical.sha256_hex(evidence_bytes),
        tables=tables_of(charter, found),
    )


def with_evidence(opened: Folder, found: Evidence) -> Folder:
    """Return the same run with other evidence: what a reader would judge if it lay there.

    Raises:
        ReleaseError: its tables do not have the size that the charter's layout says.
    """
    return dataclasses.replace(
        opened,
        evidence=found,
        evidence_sha256=canonical.sha256_hex(evidence.encode(found)),
        tables=tables_of(opened.charter, found),
    )


def _require_own_folders(path: Path) -> None:
    """Refuse a folder of the adapter that is a link: its files would be read from elsewhere."""
    for part in (ADAPTER_DIR, WITHHELD, f"{WITHHELD}/{ADAPTER_DIR}"):
        if (path / part).is_symlink():
            raise ReleaseError(
                f"{path / part} is a link, so the adapter could be replaced; put the folder itself "
                "there"
            )


def tables_of(charter: Charter, found: Evidence) -> Tables:
    """Return the opened group tables of a run.

    Raises:
        ReleaseError: they do not have the size that the charter's layout says.
    """
    opened = [entry for entry in found.rounds if entry.kind == FAIRNESS]
    members = [m for m in charter.roster if not opened or m.site in opened[-1].survivors]
    layout = layout_of(charter)
    for entry in found.progress:
        if len(entry.counts) != layout.progress_length:
            raise ReleaseError(
                f"{EVIDENCE}: the progress of round {entry.round} holds {len(entry.counts)} "
                f"integers, but the charter's task measures {layout.progress_length}"
            )
    if len(found.counts) != layout.counts_length:
        raise ReleaseError(
            f"{EVIDENCE}: counts hold {len(found.counts)} integers, but the charter's layout has "
            f"{layout.counts_length}"
        )
    try:
        return Tables.from_vector(
            np.array([*found.counts, *found.histogram, *found.explanation], dtype=np.int64),
            layout=layout,
            counts_variance=found.counts_variance,
            histogram_variance=found.histogram_variance,
            sites=len(members),
            absent=tuple(_declared_absent(member) for member in members),
            effects_variance=found.effects_variance,
            flips_variance=found.flips_variance,
        )
    except FairnessError as error:
        raise ReleaseError(f"{EVIDENCE}: the tables do not fit the charter: {error}") from error


def _declared_absent(member: Member) -> frozenset[tuple[str, str]]:
    pairs = (group.split("=", 1) for group in member.absent_groups)
    return frozenset((feature, group) for feature, group in pairs)


@dataclass(frozen=True, kw_only=True, slots=True)
class FileHash:
    """One file of the release, by its path inside the run directory."""

    path: str = term(nonempty=True)
    sha256: str = term(pattern=KEY)
    size: int = term(at_least=0)


def hash_file(run_dir: Path, name: str) -> FileHash:
    """Return the hash of a file of the release, wherever it lies now.

    Raises:
        ReleaseError: missing or unreadable.
    """
    path = located(run_dir, name)
    digest = durable.file_sha256(path)
    try:
        size = path.lstat().st_size
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read: {error.strerror}") from error
    return FileHash(path=name, sha256=digest, size=size)


def hash_bytes(name: str, data: bytes) -> FileHash:
    """Return the hash of what a file will hold."""
    return FileHash(path=name, sha256=canonical.sha256_hex(data), size=len(data))
