"""Hashes, versions and seeds: enough to check the release, and to make it again."""

from __future__ import annotations

from fedethics.release.folder import Folder
from fedethics.release.sections.block import Table


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
    seeds = ", ".join(f"{seed.name} {seed.value}" for seed in found.seeds) or "none"
    rows = (
        ("Run", found.run_id),
        ("Started", found.started),
        ("Finished", found.finished),
        ("Charter", f"{charter.name}, version {charter.charter.version}"),
        ("Industry", charter.charter.industry),
        ("Data", charter.data.source),
        ("Partition into sites", found.partition),
        ("Sites", ", ".join(charter.site_names)),
        ("Rounds", str(charter.training.rounds)),
        ("Public seeds (noise has none)", seeds),
    )
    return Table(head=("Fact", "Value"), rows=rows)
