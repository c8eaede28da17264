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
    rows = (
        ("Run", found.run_id),
        ("Started, by the coordinator’s clock", found.started),
        ("Finished, by the coordinator’s clock", found.finished),
        ("Charter", f"{charter.name}, version {charter.charter.version}"),
        ("Industry", charter.charter.industry),
        ("Data, and the partition into sites", charter.data.source),
        ("Sites", ", ".join(charter.site_names)),
        ("Rounds", str(charter.training.rounds)),
        ("Public seed of the adapter (noise has none)", str(charter.adapter.seed)),
    )
    return Table(head=("Fact", "Value"), rows=rows)
