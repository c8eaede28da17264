"""manifest.json: the hash of every file of a release, and of what it was made from.

Guarantee: after `verify_manifest` returns no problem, each listed file has the bytes it had when
the coordinator signed the manifest, except for the pages that an approval wrote again and signed
for; and nothing else lies in the release's folder, least of all with the adapter, where those who
load it would run or read it.

A file's detached signature, next to it: who signed exactly these bytes.

Guarantee: a signature holds for one purpose and one spelling of the file.

What lies in a release's folder and does not belong there, by name and by kind.

A person who receives a release opens the files in it. So nothing may lie there that no hash covers:
no other file, no second spelling of a name, no link, pipe or device. The folders of a finished
run's own work (the sites' homes of a simulation, a job's rounds) are not part of the release and
are not looked into; nothing is read from them but ledgers, whose heads receipts hold.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from fedethics import canonical, plain_file, terms, texts
from fedethics.charter import document
from fedethics.errors import ReleaseError
from fedethics.identity import Identity, public_key_term, verify
from fedethics.release import durable, folder, gate
from fedethics.release.evidence import Package
from fedethics.release.folder import (
    ADAPTER,
    ADAPTER_CONFIG,
    ADAPTER_DIR,
    APPROVALS,
    BENCHMARKS,
    CARD,
    CENSUS,
    CHARTER,
    COMPARISONS,
    EVIDENCE,
    GATE,
    MANIFEST,
    METRICS,
    PAGES,
    SIGNATURE,
    WITHDRAWAL,
    WITHHELD,
    FileHash,
    hash_file,
    located,
)
from fedethics.release.pages import renderer_sha256
from fedethics.release.rules.rule import Outcome
from fedethics.terms import KEY, term


@dataclass(frozen=True, kw_only=True, slots=True)
class DetachedSignature:
    """A signature over the bytes of a file that is named elsewhere."""

    public_key: str = public_key_term()
    signature: str = term(pattern=terms.SIGNATURE)


def sign_file(file: Path, signature: Path, *, identity: Identity, purpose: str) -> None:
    """Sign the bytes of `file` and write the signature durably.

    Raises:
        ReleaseError: unreadable, or the signature cannot be written.
    """
    made = DetachedSignature(
        public_key=identity.public_key,
        signature=identity.sign(durable.read(file), purpose=purpose).hex(),
    )
    durable.write(signature, canonical.encode(terms.document(made)))


def signature_fault(file: Path, signature: Path, *, public_key: str, purpose: str) -> str:
    """Return what is wrong with the signature as one sentence, or "" if it holds."""
    try:
        raw, message = durable.read(signature), durable.read(file)
        found = terms.parse(DetachedSignature, raw, what=signature.name, error=ReleaseError)
    except ReleaseError as error:
        return f"{error}."
    if found.public_key != public_key:
        return f"{file.name} is signed by {found.public_key[:12]}, not by {public_key[:12]}."
    if not verify(public_key, message, bytes.fromhex(found.signature), purpose=purpose):
        return f"The signature of {file.name} is not over its bytes."
    return ""


RELEASED = frozenset(
    {
        APPROVALS,
        BENCHMARKS,
        CENSUS,
        CHARTER,
        COMPARISONS,
        EVIDENCE,
        GATE,
        MANIFEST,
        METRICS,
        SIGNATURE,
        WITHDRAWAL,
        *PAGES,
    }
)
# Of the job, beside its release: its log, its committed state, and the lock of its process.
WORKING = frozenset({"events.jsonl", "state.json", "lock"})
FOLDERS = frozenset({ADAPTER_DIR, WITHHELD})
# Of the job and of a simulation: their own work, which a release may leave behind.
WORKPLACES = frozenset({"coordinator", "protocol", "rounds", "sites", "stakeholders", "sums"})
_MOST_LISTED = 1000


def foreign_files(run_dir: Path) -> tuple[str, ...]:
    """Return one sentence for each thing in a release's folder that no release has there."""
    try:
        top = _names(run_dir)
        found = [*_at_the_top(run_dir, top)]
        for root in sorted(FOLDERS & top):
            found += _with_the_adapter(run_dir, run_dir / root)
    except _Unlistable as error:
        return (f"{error}.",)
    return tuple(found)


class _Unlistable(Exception):
    """A folder that cannot be listed, or holds too much to be a release's."""


def _at_the_top(run_dir: Path, names: Collection[str]) -> Iterator[str]:
    files, folders = RELEASED | WORKING, FOLDERS | WORKPLACES
    spelled = {_folded(name): name for name in files | folders}
    for name in sorted(names):
        path, shown = run_dir / name, texts.printed(name)
        if name in files:
            unfit = plain_file.fault(path, limit=durable.FILE_LIMIT)
            if unfit:
                yield f"{shown} {unfit}."
        elif name in folders:
            if not _is_folder(path):
                yield f"{shown} is no folder, or a link to one; remove it."
        elif _folded(name) in spelled:
            yield (
                f"{shown} differs from {spelled[_folded(name)]} only in how it is spelled, and on "
                "some systems the two are one file; remove it."
            )
        else:
            yield f"{shown} does not belong to the release; remove it."


def _with_the_adapter(run_dir: Path, root: Path) -> Iterator[str]:
    """Look at every single thing beside the adapter, at any depth."""
    # Sensitive: a weights file of another format, or a module, would be loaded by its name.
    known = {located(run_dir, name) for name in (ADAPTER, ADAPTER_CONFIG, CARD)}
    limits = {located(run_dir, ADAPTER): durable.ADAPTER_LIMIT}
    folders = {run_dir / ADAPTER_DIR, run_dir / WITHHELD, run_dir / WITHHELD / ADAPTER_DIR}
    waiting = [root]
    looked_at = 0
    while waiting:
        path = waiting.pop()
        looked_at += 1
        if looked_at > _MOST_LISTED:
            raise _Unlistable(f"{texts.printed(root.name)} holds more than {_MOST_LISTED} files")
        where = texts.printed(path.relative_to(run_dir).as_posix())
        if _is_folder(path):
            if path not in folders:
                yield f"{where} does not belong to the release; remove it."
            waiting += [path / name for name in sorted(_names(path), reverse=True)]
        elif path in known:
            unfit = plain_file.fault(path, limit=limits.get(path, durable.FILE_LIMIT))
            if unfit:
                yield f"{where} {unfit}."
        else:
            yield f"{where} does not belong to the release; remove it."


def _names(folder: Path) -> set[str]:
    names: set[str] = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                names.add(entry.name)
                if len(names) > _MOST_LISTED:
                    raise _Unlistable(f"{folder} holds more than {_MOST_LISTED} files")
    except OSError as error:
        raise _Unlistable(f"{folder} cannot be listed: {error.strerror}") from error
    return names


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _folded(name: str) -> str:
    """Return a name as file systems see it that ignore case and the forms of Unicode."""
    return unicodedata.normalize("NFKC", name).casefold()


_PURPOSE = "release-manifest"
REQUIRED = (CHARTER, EVIDENCE, GATE, ADAPTER, ADAPTER_CONFIG)
# Not listed: the sites' ledgers, which grow with later runs (receipts hold their heads), and
# events.jsonl, which is still written to.
OPTIONAL = (*PAGES, BENCHMARKS, CENSUS, COMPARISONS, METRICS)


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
    return (*problems, *foreign_files(run_dir))


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
