"""Leave a federation: a signed notice, no more work under its charter, and the ledger kept.

What leaving cannot do is said, not hidden: sums that were opened hold this site's updates, noised,
and the model learned from them. No command takes that out again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fedethics.charter import document
from fedethics.enrolment import files
from fedethics.enrolment.papers import open_paper, sign_paper
from fedethics.errors import EnrolmentError, EnrolmentForged
from fedethics.identity import public_key_term
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.ledger import read_book
from fedethics.privacy.search import runs_of
from fedethics.site.home import SiteHome, archive_charter
from fedethics.terms import KEY, NAME, term

PURPOSE = "site-leaves"


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """What a site tells the coordinator when it leaves.

    Attributes:
        charter_hash: the charter that it withdraws from.
        runs: runs under it in which this site's budget was charged.
        ledger_entries, ledger_head: its ledger then, so that no later history can contradict it.
    """

    site: str = term(pattern=NAME)
    public_key: str = public_key_term()
    charter_hash: str = term(pattern=KEY)
    made: str = term(nonempty=True)
    runs: tuple[str, ...] = term(default=())
    ledger_entries: int = term(at_least=1)
    ledger_head: str = term(pattern=KEY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stays:
    """What leaving does not undo, for one data set.

    Attributes:
        epsilon: composed, of all that was charged under the charter left.
        rounds: training rounds charged under it.
    """

    label: str
    epsilon: float
    delta: float
    rounds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaving:
    """The notice to send, and what stays."""

    notice: bytes
    content: Notice
    stays: tuple[Stays, ...]


def prepare_leaving(home: SiteHome) -> Leaving:
    """Return the notice, signed, and what stays; nothing is changed yet.

    Raises:
        CharterError: there is no charter to leave.
        LedgerTampered, LedgerError: the ledger does not verify, so nothing true could be said.
    """
    charter = document.load(home.charter_path)
    charter_hash, identity = document.hash_of(charter), home.identity()
    book = read_book(home.ledger_path, identity.public_key)
    hashes = set(map(document.hash_of, runs_of(charter)))
    under = [c for c in book.counted() if c.charter_hash in hashes]
    stays = []
    for account in {charge.data_set.fingerprint: charge.data_set for charge in under}.values():
        own = [c for c in under if c.data_set.fingerprint == account.fingerprint]
        events = [event for charge in own for event in charge.events]
        stays.append(
            Stays(
                label=account.label,
                epsilon=epsilon(events, delta=charter.privacy.delta),
                delta=charter.privacy.delta,
                rounds=sum(charge.kind == "update" for charge in own),
            )
        )
    content = Notice(
        site=home.settings.site,
        public_key=identity.public_key,
        charter_hash=charter_hash,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        runs=tuple(dict.fromkeys(charge.run for charge in under)),
        ledger_entries=book.length,
        ledger_head=book.head.sha256,
    )
    notice = sign_paper(content, purpose=PURPOSE, identity=identity)
    return Leaving(notice=notice, content=content, stays=tuple(stays))


def leave(home: SiteHome) -> None:
    """Put the charter away: from now on this site refuses every request. All else is kept.

    Raises:
        EnrolmentError: it cannot be moved; the site still takes part.
    """
    archive_charter(home.charter_path)
    try:
        home.charter_path.unlink()
    except OSError as error:
        raise EnrolmentError(
            f"{home.charter_path} cannot be removed: {error.strerror}; the site still takes part"
        ) from error


def read_notice(data: bytes) -> tuple[Notice, str]:
    """Return a notice and the key that signed it.

    Raises:
        EnrolmentError: damaged.
        EnrolmentForged: not signed by the site that it names.
    """
    paper = open_paper(data, purpose=PURPOSE, what="notice")
    content = paper.read(Notice, what="notice")
    if content.public_key != paper.public_key:
        raise EnrolmentForged(
            f"the notice of {content.site!r} names key {content.public_key[:16]}, but is signed by "
            f"{paper.public_key[:16]}; nothing was changed"
        )
    return content, paper.public_key


def write_notice(path: Path, leaving: Leaving) -> None:
    """Write the notice to a new file.

    Raises:
        EnrolmentError: it is there already, or cannot be written.
    """
    files.create(path, leaving.notice, mode=0o644)
