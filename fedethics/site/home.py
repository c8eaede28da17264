"""A site's home directory: the one place where an institution's state and settings lie.

site.toml      which data, charter and policy; written by the operator
policy.toml    what this site allows; owned by the privacy officer
charter.json   the charter it agreed to, canonical bytes; charters/ keeps those before it
invitation     what it was invited with, signed by the coordinator; ca.crt is from it
identity.key   its signing key, mode 0600
node.key       the key that the coordinator's SuperLink admits its node by
ledger.db      what every data set here has ever spent
journal.db     answers drawn and not opened yet, self-tests, sums seen
secagg.db      sessions in flight and what was ever opened; secrets are wiped when a session ends
log.jsonl      what happened, without data

Every charter that was in force here, kept by hash in `charters/` beside the present one.

The ledger names charters by hash, so that a receipt of an old run needs the charter of that run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedethics import address, ownership, terms
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.charter.signing import CharterSignature, load_signatures, signatures_path
from fedethics.data.file_terms import DataFile, DataTable, data_file
from fedethics.errors import CharterError, LedgerError, PolicyError
from fedethics.identity import Identity
from fedethics.policy.signatures import signature_path as policy_signatures
from fedethics.privacy import search
from fedethics.scorers.folder import scorer_folders
from fedethics.storage import files
from fedethics.terms import KEY, term

_COULD = "change what this site agrees to or has spent, so the site refuses all work"
# SQLite puts back what such a journal beside a file says: writing one is writing the file.
_MEMORY = (
    *(
        f"{name}.db{end}"
        for name in ("ledger", "journal", "secagg")
        for end in ("", "-journal", "-wal", "-shm")
    ),
    "ledger.db.head",
    "log.jsonl",
)
# Charters that were in force, receipts that other sites gave, and notes of withdrawal.
_FOLDERS = ("charters", "witnessed", "withdrawn")


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeTable:
    """How this site's node reaches the coordinator: the table `[node]` of site.toml.

    Attributes:
        superlink: the coordinator's address, host:port; TLS always.
        ca: certificate (PEM) of the authority that signed the coordinator's; relative to the home.
        key: the node's own private key, ECDSA P-384 in OpenSSH's form, mode 0600.
    """

    superlink: str = term(check=address.problem)
    ca: str = term(default="ca.crt")
    key: str = term(default="node.key")


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteFile:
    """The operator's settings; relative paths are relative to the site's home.

    Attributes:
        site: the site's name on the roster.
        data: the records: the file's path, or a table that says how the file is read, too.
        monitored: the file of new records that a charter with `[monitoring]` watches, as `data`.
        model_dir: directory of the base model; empty for the embedded one.
        start_dir: directory of the release whose adapter the charter starts from; empty for none.
        scorer_dirs: directories of text classifiers that a charter pins, as "toxicity=/srv/models".
        test_noise_seed: fixes all noise, for tests. Anyone who knows it can subtract the noise, so
            nothing is private then: the policy must allow it, and no gate passes such a run.
        node: how to reach the coordinator; absent where the site is only simulated.
    """

    site: str = term(nonempty=True)
    data: str | DataTable = term(nonempty=True)
    monitored: str | DataTable | None = term(default=None)
    charter: str = term(default="charter.json")
    policy: str = term(default="policy.toml")
    model_dir: str = term(default="")
    start_dir: str = term(default="")
    scorer_dirs: tuple[str, ...] = term(default=(), pattern=r"[a-z][a-z0-9_]*=.+")
    test_noise_seed: str = term(default="")
    node: NodeTable | None = term(default=None)


@dataclass(frozen=True, slots=True)
class SiteHome:
    """Paths and settings of one site."""

    path: Path
    settings: SiteFile

    @classmethod
    def open(cls, path: Path, *, to_look: bool = False) -> SiteHome:
        """Read `path`/site.toml.

        Args:
            path: the home.
            to_look: only to show how the site stands: what others could change is not refused.

        Raises:
            PolicyError: missing or malformed, or another account could change or replace a file
                that a decision of this site rests on; the site refuses all work.
        """
        file = path / "site.toml"
        if not to_look:
            ownership.require_safe(file, PolicyError, what="site file", could=_COULD)
        problems: list[str] = []
        settings = terms.read(
            SiteFile, terms.load_toml(file, PolicyError), path="", problems=problems
        )
        if problems or settings is None:
            listed = "\n".join(f"  - {problem}" for problem in problems)
            raise PolicyError(f"{file} is not a valid site file; the site refuses:\n{listed}")
        home = cls(path, settings)
        found = () if to_look else ownership.of_all(home.rests_on())
        if found:
            listed = "\n".join(f"  - {fault}" for fault in found)
            raise PolicyError(
                f"the home {path} is not safe: others than its owner could {_COULD}. Nothing was "
                f"done:\n{listed}"
            )
        return home

    def rests_on(self) -> tuple[tuple[Path, bool], ...]:
        """Return every file that a decision of this site rests on, and whether it is a secret.

        Not the records and the base model: what they hold is charged by their content, and held to
        the charter's hash.
        """
        node = self.settings.node or NodeTable(superlink="none:1")
        return (
            (self.path / "site.toml", False),
            (self.policy_path, False),
            (policy_signatures(self.policy_path), False),
            (self.charter_path, False),
            (signatures_path(self.charter_path), False),
            (self.path / "invitation", False),
            (self.path / node.ca, False),
            (self.path / "identity.key", True),
            (self.path / node.key, True),
            *((self.path / name, False) for name in _MEMORY),
            *((self.path / name, False) for name in _FOLDERS),
            *((path, False) for name in _FOLDERS for path in sorted((self.path / name).glob("*"))),
        )

    @property
    def data(self) -> DataFile:
        """The records, and how their file is read."""
        return data_file(self.settings.data, self.path)

    @property
    def monitored(self) -> DataFile | None:
        """The new records that are watched after a release; None where none are named."""
        named = self.settings.monitored
        return None if not named else data_file(named, self.path)

    @property
    def data_path(self) -> Path:
        """Where the records lie."""
        return self.data.path

    @property
    def charter_path(self) -> Path:
        """The charter that this site agreed to; absent before it joins and after it leaves."""
        return self.path / self.settings.charter

    @property
    def ledger_path(self) -> Path:
        """What every data set here has ever spent."""
        return self.path / "ledger.db"

    @property
    def policy_path(self) -> Path:
        """The site's policy."""
        return self.path / self.settings.policy

    @property
    def model_dir(self) -> Path | None:
        """Directory of the base model, or None for the embedded one."""
        return self.path / self.settings.model_dir if self.settings.model_dir else None

    @property
    def start_dir(self) -> Path | None:
        """Directory of the release that the charter starts from, or None."""
        return self.path / self.settings.start_dir if self.settings.start_dir else None

    @property
    def scorer_dirs(self) -> Mapping[str, Path]:
        """Directory of each text classifier, by its name in charters."""
        return scorer_folders(self.settings.scorer_dirs, self.path)

    @property
    def opened_sums(self) -> Path:
        """What was ever opened here; made with the home and never again.

        Raises:
            LedgerError: it is gone; a new one would let a round be opened a second time.
        """
        path = self.path / "secagg.db"
        if not path.exists():
            raise LedgerError(
                f"{path} is missing; it records which sums were opened, and a new file would not. "
                "Nothing was done. Restore it from a backup, or enrol with a new key"
            )
        return path

    def identity(self) -> Identity:
        """Load the site's signing key."""
        return Identity.load(self.path / "identity.key")

    def charter_signatures(self) -> tuple[CharterSignature, ...]:
        """Load what was signed over the charter; none where there is no such file next to it."""
        return load_signatures(signatures_path(self.charter_path))

    def charter(self, expected_hash: str) -> Charter:
        """Load the charter that this site agreed to, or that of a run of its search.

        Raises:
            CharterError: no charter here, or another one than `expected_hash`.
        """
        agreed = document.load(self.charter_path)
        charter = search.of_hash(agreed, expected_hash)
        if charter is None:
            raise CharterError(
                f"the request names charter {expected_hash[:16]}..., this site agreed to "
                f"{document.hash_of(agreed)[:16]}...; nothing was done. Compare the two with the "
                "coordinator"
            )
        return charter


CHARTERS = "charters"


def archive_charter(charter_path: Path) -> None:
    """Keep a copy of a charter, and move what was signed over it beside the copy.

    Raises:
        CharterError: there is none, or it cannot be kept.
    """
    charter = document.load(charter_path)
    kept = _path(charter_path, document.hash_of(charter))
    signed = signatures_path(charter_path)
    try:
        kept.parent.mkdir(mode=0o700, exist_ok=True)
        if not kept.exists():
            files.replace(kept, document.encode(charter))
        if signed.exists():
            files.move(signed, signatures_path(kept))
    except OSError as error:
        raise CharterError(f"{kept} cannot be written: {error.strerror}") from error


def charter_of(home: SiteHome, charter_hash: str) -> Charter:
    """Return the charter of this hash: the present one, one kept, or a run of their searches.

    Raises:
        CharterError: this site never had it, or the kept copy was changed.
    """
    kept = archived(home.charter_path)
    first = (home.charter_path, _path(home.charter_path, charter_hash))
    for path in dict.fromkeys((*first, *kept)):
        if path.exists():
            agreed = document.load(path)
            charter = agreed if document.hash_of(agreed) == charter_hash else None
            charter = charter or search.of_hash(agreed, charter_hash)
            if charter is not None:
                return charter
    raise CharterError(
        f"charter {charter_hash[:16]}... is neither {home.charter_path} nor in "
        f"{home.charter_path.parent / CHARTERS}; put its charter.json there under its hash"
    )


def archived(charter_path: Path) -> tuple[Path, ...]:
    """Return every charter that is kept beside this one."""
    kept = (charter_path.parent / CHARTERS).glob("*.json")
    return tuple(sorted(path for path in kept if re.fullmatch(KEY, path.stem)))


def _path(charter_path: Path, charter_hash: str) -> Path:
    return charter_path.parent / CHARTERS / f"{charter_hash}.json"
