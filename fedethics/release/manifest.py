"""manifest.json: the hash of every file of a release, and of what it was made from.

Guarantee: after `verify_manifest` returns no problem, each listed file has the bytes it had when
the coordinator signed the manifest, but for the pages that an approval wrote again and vouches for;
and nothing else lies in the release's folder, least of all with the adapter, where those who load
it would run or read it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from fedethics import canonical, terms
from fedethics.charter import document
from fedethics.errors import ReleaseError
from fedethics.identity import Identity
from fedethics.release import durable, folder, gate
from fedethics.release.evidence import Package
from fedethics.release.file_hash import FileHash, hash_file
from fedethics.release.folder import (
    ADAPTER,
    ADAPTER_CONFIG,
    CHARTER,
    COMPARISONS,
    EVIDENCE,
    GATE,
    MANIFEST,
    METRICS,
    PAGES,
    SIGNATURE,
    located,
)
from fedethics.release.pages import renderer_sha256
from fedethics.release.rules.rule import Outcome
from fedethics.release.signed_file import sign_file, signature_fault
from fedethics.release.strangers import strangers
from fedethics.terms import KEY, term

_PURPOSE = "release-manifest"
REQUIRED = (CHARTER, EVIDENCE, GATE, ADAPTER, ADAPTER_CONFIG)
# Not listed: the sites' ledgers, which grow with later runs (receipts hold their heads), and
# events.jsonl, which is still written to.
OPTIONAL = (*PAGES, COMPARISONS, METRICS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a release consists of, and what it was made from, by hash.

    Attributes:
        renderer_sha256: of the code and packages that wrote the pages (`renderer`).
    """

    run_id: str = term(nonempty=True)
    finished: str = term(nonempty=True)
    verdict: Outcome = term()
    charter_sha256: str = term(pattern=KEY)
    schema_sha256: str = term(pattern=KEY)
    code_sha256: str = term(pattern=KEY)
    base_model_sha256: str = term(pattern=KEY)
    adapter_sha256: str = term(pattern=KEY)
    renderer_sha256: str = term(pattern=KEY)
    versions: tuple[Package, ...] = term()
    files: tuple[FileHash, ...] = term(nonempty=True)


def write_manifest(run_dir: Path, coordinator: Identity) -> Manifest:
    """Hash the files of `run_dir`, write manifest.json durably and sign it.

    Raises:
        ReleaseError: a required file is missing.
    """
    opened = folder.load(run_dir)
    files = tuple(hash_file(run_dir, path) for path in REQUIRED) + tuple(
        hash_file(run_dir, path) for path in OPTIONAL if located(run_dir, path).is_file()
    )
    found = opened.evidence
    manifest = Manifest(
        run_id=found.run_id,
        finished=found.finished,
        verdict=gate.recorded(run_dir).verdict,
        charter_sha256=opened.charter_sha256,
        schema_sha256=document.schema_hash(opened.charter),
        code_sha256=found.code_hash,
        base_model_sha256=found.base_model_sha256,
        adapter_sha256=durable.file_sha256(located(run_dir, ADAPTER)),
        renderer_sha256=renderer_sha256(),
        versions=found.versions,
        files=tuple(sorted(files, key=lambda file: file.path)),
    )
    durable.write(run_dir / MANIFEST, canonical.encode(terms.document(manifest)))
    sign_file(run_dir / MANIFEST, run_dir / SIGNATURE, identity=coordinator, purpose=_PURPOSE)
    return manifest


def manifest_signature_fault(run_dir: Path, *, coordinator_key: str) -> str:
    """Return what is wrong with the coordinator's signature of the manifest, or ""."""
    return signature_fault(
        run_dir / MANIFEST, run_dir / SIGNATURE, public_key=coordinator_key, purpose=_PURPOSE
    )


def read_manifest(run_dir: Path) -> Manifest:
    """Return the manifest of `run_dir`.

    Raises:
        ReleaseError: missing, not canonical, or malformed.
    """
    path = run_dir / MANIFEST
    return terms.parse(Manifest, durable.read(path), what=str(path), error=ReleaseError)


def verify_manifest(
    run_dir: Path, *, besides: Collection[str] = (), rewritten: Collection[FileHash] = ()
) -> tuple[str, ...]:
    """Return one sentence for each file that is missing, changed or unlisted; empty if none.

    Args:
        run_dir: the release.
        besides: files that are about to be rewritten, and so may differ.
        rewritten: pages that the latest approval vouches for, in place of the manifest's.

    Raises:
        ReleaseError: the manifest itself is missing or malformed.
    """
    manifest = read_manifest(run_dir)
    pages = {file.path: file for file in rewritten if file.path in PAGES}
    listed = {file.path: file for file in manifest.files} | pages
    problems = [f"{path} is not in the manifest." for path in REQUIRED if path not in listed]
    problems += [
        f"{path} is in the directory but not in the manifest."
        for path in OPTIONAL
        if path not in listed and path not in besides and located(run_dir, path).is_file()
    ]
    checked = (file for file in listed.values() if file.path not in besides)
    problems += filter(None, (_changed(run_dir, file) for file in checked))
    adapter = listed.get(ADAPTER)
    if adapter is not None and adapter.sha256 != manifest.adapter_sha256:
        problems.append("The manifest names two hashes for the adapter.")
    return (*problems, *strangers(run_dir))


def _changed(run_dir: Path, file: FileHash) -> str:
    if file.path not in REQUIRED + OPTIONAL:
        # A path from a manifest is not followed outside the files that a release can have.
        return f"{file.path} is listed, but no release has such a file."
    try:
        actual = hash_file(run_dir, file.path)
    except ReleaseError as error:
        return f"{file.path} is listed in the manifest but cannot be read: {error}."
    if actual != file:
        return (
            f"{file.path} has changed: its SHA-256 is {actual.sha256[:12]}, signed was "
            f"{file.sha256[:12]}."
        )
    return ""
