"""Who signed the charter, over which bytes, and who has not yet.

Guarantee: a signature holds for one charter to the byte, one role, one name and one time; whatever
of it changes, it no longer verifies. A signature that a simulation made has a purpose of its own,
so that it can never pass as a person's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from fedethics import canonical, plain_file, terms
from fedethics.charter.document import encode, hash_of, unfilled
from fedethics.charter.ethics_terms import StakeholderRole
from fedethics.charter.model import Charter
from fedethics.charter.phases import agreed_of
from fedethics.errors import CharterError
from fedethics.identity import Identity, public_key_term, verify
from fedethics.storage import files
from fedethics.terms import KEY, SIGNATURE, TIME, term

SignerRole = Literal[StakeholderRole, "site", "coordinator"]
ROLES: tuple[str, ...] = (*get_args(StakeholderRole), "site", "coordinator")
_PURPOSE = "charter-signature"
_SIMULATED = "simulated-charter-signature"


def named(role: str, name: str) -> str:
    """Return who somebody is, in a sentence: `site st-anna`, `the coordinator`."""
    return f"the {role}" if name == role else f"{role} {name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Signer:
    """Somebody who must sign: as the charter names them."""

    role: SignerRole
    name: str
    public_key: str

    @property
    def label(self) -> str:
        """The words for people, e.g. "privacy-officer A. Ruiz"."""
        return "the coordinator" if self.role == "coordinator" else f"{self.role} {self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class CharterSignature:
    """One detached signature.

    Attributes:
        signed: when, by the signer's own clock.
        simulated: made by a simulation with a key that it drew itself; nobody agreed to anything.
    """

    role: SignerRole = term()
    name: str = term(nonempty=True)
    public_key: str = public_key_term()
    signed: str = term(pattern=TIME)
    simulated: bool = term(default=False)
    signature: str = term(pattern=SIGNATURE)


@dataclass(frozen=True, kw_only=True, slots=True)
class SignatureFile:
    """The signatures beside a charter, and the hash of the charter that they are over."""

    charter_hash: str = term(pattern=KEY)
    signatures: tuple[CharterSignature, ...] = term(default=())


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How far the signing has come.

    Attributes:
        valid: signatures that verify, in the order of the required signers.
        missing: required signers without one.
        void: one sentence for each signature that does not verify or that the charter does not ask
            for.
    """

    valid: tuple[CharterSignature, ...]
    missing: tuple[Signer, ...]
    void: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether everyone whom the charter names has signed, and nothing is void."""
        return not self.missing and not self.void


def required_signers(charter: Charter) -> tuple[Signer, ...]:
    """Return every stakeholder, every site and the coordinator."""
    people = (
        Signer(role=one.role, name=one.name, public_key=one.public_key)
        for one in charter.ethics.stakeholders
    )
    sites = (
        Signer(role="site", name=member.site, public_key=member.public_key)
        for member in charter.roster
    )
    coordinator = Signer(role="coordinator", name="coordinator", public_key=charter.coordinator_key)
    return (*people, *sites, coordinator)


def sign(
    charter: Charter,
    identity: Identity,
    *,
    role: str,
    simulated: bool = False,
    signed: datetime | None = None,
) -> CharterSignature:
    """Sign the charter as the one whom it names in `role` by this key.

    Raises:
        CharterError: the charter is a draft, has words of its template (which a simulation may
            run with), or does not name this key in this role.
    """
    if not charter.roster:
        raise CharterError(
            "the charter is a draft without a roster, and the roster is part of what is signed. "
            "Nothing was signed. Fill in coordinator-key and [[roster]] first"
        )
    # A simulated signature is nobody's consent, so nobody need have decided yet.
    if not simulated and (left := unfilled(charter)):
        raise CharterError(
            f"some texts of the charter's template are left, at {left[0]}"
            f"{f' and {len(left) - 1} more places' if left[1:] else ''}. Nothing was signed. "
            "`fedethics charter check` lists them"
        )
    named = [one for one in required_signers(charter) if one.public_key == identity.public_key]
    signer = next((one for one in named if one.role == role), None)
    if signer is None:
        known = f"names it as {named[0].label}" if named else "does not name it at all"
        raise CharterError(
            f"the key {identity.public_key[:16]} cannot sign as {role}: the charter {known}. "
            "Nothing was signed"
        )
    when = (signed or datetime.now(UTC)).isoformat(timespec="seconds")
    message = _message(charter, role=signer.role, name=signer.name, signed=when)
    purpose = _SIMULATED if simulated else _PURPOSE
    return CharterSignature(
        role=signer.role,
        name=signer.name,
        public_key=signer.public_key,
        signed=when,
        simulated=simulated,
        signature=identity.sign(message, purpose=purpose).hex(),
    )


def standing(charter: Charter, signatures: Iterable[CharterSignature]) -> Standing:
    """Say who has signed exactly this charter, who has not, and what is void.

    What is signed for the runs of a search is the charter that they follow from.
    """
    charter = agreed_of(charter)
    required = required_signers(charter)
    valid: dict[Signer, CharterSignature] = {}
    void: list[str] = []
    for found in signatures:
        signer = Signer(role=found.role, name=found.name, public_key=found.public_key)
        if signer not in required:
            void.append(f"{signer.label} signed, but the charter names no such signer and key.")
        elif not _genuine(charter, found):
            void.append(f"The signature of {signer.label} is not over this charter.")
        else:
            valid[signer] = found
    return Standing(
        valid=tuple(valid[signer] for signer in required if signer in valid),
        missing=tuple(signer for signer in required if signer not in valid),
        void=tuple(void),
    )


def signatures_path(charter_path: Path) -> Path:
    """Return the path of a charter's signatures: `charter.signatures.json` next to it."""
    return charter_path.with_name(f"{charter_path.stem}.signatures.json")


def load_signatures(path: Path) -> tuple[CharterSignature, ...]:
    """Read a file of signatures; none where there is no file.

    Raises:
        CharterError: unreadable or malformed.
    """
    found = _load(path)
    return found.signatures if found else ()


def _load(path: Path) -> SignatureFile | None:
    if not path.exists():
        return None
    data = plain_file.read(path, _unreadable, typed=True)
    try:
        return _parsed(data)
    except _MalformedError as fault:
        raise CharterError(fault.sentence(path)) from fault


class _MalformedError(Exception):
    """What is wrong with a file of signatures, wherever it lies."""

    def __init__(self, before: str, after: str) -> None:
        super().__init__(before, after)
        self._around = before, after

    def sentence(self, path: Path) -> str:
        before, after = self._around
        return f"{before}{path}{after}"


@lru_cache(maxsize=8)
def _parsed(data: bytes) -> SignatureFile:
    """Read the same bytes once: each site of a charter has the same file."""
    problems: list[str] = []
    try:
        table = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _MalformedError("signatures ", f" are not JSON: {error}") from error
    found = terms.read(SignatureFile, table, path="", problems=problems)
    if problems or found is None:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise _MalformedError("", f" is not a file of signatures:\n{listed}")
    return found


def _unreadable(what: str) -> CharterError:
    return CharterError(f"signatures {what}")


def add_signatures(path: Path, charter: Charter, more: Iterable[CharterSignature]) -> int:
    """Add signatures to a file; a later one of the same signer replaces it. Returns how many.

    Raises:
        CharterError: the file is malformed or cannot be written.
    """
    own, before = hash_of(charter), _load(path)
    if before is not None and before.charter_hash != own:
        raise CharterError(
            f"{path} holds signatures over charter {before.charter_hash[:16]}, this one is "
            f"{own[:16]}: one changed byte voids all signatures. Nothing was written. Move that "
            "file away, and ask everyone to sign again"
        )
    listed = (*(before.signatures if before else ()), *more)
    kept = {(one.role, one.public_key): one for one in listed}
    file = SignatureFile(charter_hash=own, signatures=tuple(kept.values()))
    text = json.dumps(terms.document(file), indent=2, ensure_ascii=False) + "\n"
    try:
        # By no umask: a site refuses what a group may write.
        files.replace(path, text.encode("utf-8"), mode=files.PUBLIC)
    except OSError as error:
        raise CharterError(f"{path} cannot be written: {error.strerror}") from error
    return len(kept)


def _genuine(charter: Charter, found: CharterSignature) -> bool:
    message = _message(charter, role=found.role, name=found.name, signed=found.signed)
    purpose = _SIMULATED if found.simulated else _PURPOSE
    return verify(found.public_key, message, bytes.fromhex(found.signature), purpose=purpose)


def _message(charter: Charter, *, role: str, name: str, signed: str) -> bytes:
    statement: canonical.Json = {"role": role, "name": name, "signed": signed}
    # The canonical bytes of {"charter": ..., "statement": ...}: a charter is spelled only once.
    return b'{"charter":%b,"statement":%b}' % (encode(charter), canonical.encode(statement))
