"""The runs that a site was charged for: their signed receipts, and which of them can go on.

A receipt can be had at any time after its run, under whichever charter it ran; no torch. What was
paid for a run is of use only if its last sum is opened. A run rests on the records that it began
with: with others in the data file, the site refuses its next round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fedethics import canonical, terms
from fedethics.aggregates.registry import AGGREGATES
from fedethics.charter import document
from fedethics.errors import LedgerError, RecordsRefusal
from fedethics.policy.granted import DataFacts
from fedethics.privacy.events import Event, NonPrivate
from fedethics.privacy.ledger import Ledger, read_book
from fedethics.privacy.ledger.book import Book
from fedethics.privacy.ledger.receipt import SumSeen
from fedethics.privacy.search import runs_of
from fedethics.release.receipts import genuine, parse_heads
from fedethics.secagg import OpenedRound, SiteStore
from fedethics.secagg.rules import sites_hash
from fedethics.site.home import SiteHome, charter_of
from fedethics.site.journal import Journal, ToldSum
from fedethics.site.watched import facts_now

# Where the receipts of all members of a run are kept once it is closed.
KEPT_HEADS = "witnessed"


@dataclass(frozen=True, kw_only=True, slots=True)
class UnderWay:
    """One run under the charter that the site holds, charged here and not ended.

    Attributes:
        same_records: the data file holds the records that the run began with.
    """

    run: str
    same_records: bool


def runs_under_way(home: SiteHome, book: Book) -> tuple[UnderWay, ...]:
    """Return the runs of the charter in force that were charged and whose last sum is not seen.

    Args:
        home: the site's.
        book: what its ledger holds.

    Raises:
        CharterError: the charter cannot be read.
    """
    if not home.charter_path.exists():
        return ()
    charter = document.load(home.charter_path)
    hashes = set(map(document.hash_of, runs_of(charter)))
    charged = {
        each.run: each.charter_hash for each in book.counted() if each.charter_hash in hashes
    }
    open_runs = [run for run, name in charged.items() if not _ended(home, name, run)]
    if not open_runs:
        return ()
    return tuple(
        UnderWay(run=run, same_records=_same(book.files_of(run), facts_now(home, charter, run)))
        for run in open_runs
    )


def refused_since(home: SiteHome) -> str:
    """Return since when the site answers that its records do not fit its charter, or ""."""
    journal = home.path / "journal.db"
    if not journal.exists() or not home.charter_path.exists():
        return ""
    agreed = document.hash_of(document.load(home.charter_path))
    return Journal(journal).refused_since(charter_hash=agreed)


def _ended(home: SiteHome, charter_hash: str, run: str) -> bool:
    journal = home.path / "journal.db"
    if not journal.exists():  # looking makes no file
        return False
    seen = Journal(journal).sums(charter_hash=charter_hash, run=run)
    last = {each.name for each in AGGREGATES.values() if each.ends_run}
    return any(name in last for name, _ in seen)


def _same(files: frozenset[str], facts: DataFacts | RecordsRefusal) -> bool:
    if isinstance(facts, RecordsRefusal):
        return False
    return files <= {facts.train.file, facts.held_out.file}


def runs_charged(home: SiteHome) -> tuple[str, ...]:
    """Return every run that this site's ledger charged, oldest first."""
    return read_book(home.ledger_path, home.identity().public_key).runs()


def receipt_of(home: SiteHome, run: str) -> bytes:
    """Return the signed receipt of what `run` spent here, as canonical bytes.

    Raises:
        LedgerError: the run was never charged here, or under two charters.
        CharterError: the charter of that run is no longer kept here.
    """
    identity = home.identity()
    charges = list(read_book(home.ledger_path, identity.public_key).counted(run=run))
    hashes = {charge.charter_hash for charge in charges}
    if len(hashes) != 1:
        known = ", ".join(runs_charged(home)) or "none"
        raise LedgerError(
            f"run {run!r} was charged here under {len(hashes)} charters; a receipt is of one. "
            f"Runs in this ledger: {known}"
        )
    (charter_hash,) = hashes
    journal = Journal(home.path / "journal.db")
    return Ledger.open(home.ledger_path, identity=identity).receipt(
        site=home.settings.site,
        run=run,
        charter=charter_of(home, charter_hash),
        self_test_passed=journal.self_test_passed(charter_hash=charter_hash, run=run),
        fixed_noise=any(_fixed(event) for charge in charges for event in charge.events),
        sums=sums_seen(
            SiteStore(home.opened_sums).opened(charter_hash=charter_hash, run=run),
            journal.sums(charter_hash=charter_hash, run=run),
        ),
    )


def receipts_kept(home: SiteHome, public_key: str) -> dict[str, bytes]:
    """Return this site's own receipts among those that the members of its runs countersigned.

    Only reads: each was signed when its run was closed. A run that was never closed has none here.

    Args:
        home: the site's.
        public_key: the key of its ledger.

    Returns:
        Run -> the newest receipt, as canonical bytes.
    """
    found: dict[str, tuple[int, bytes]] = {}
    for path in sorted((home.path / KEPT_HEADS).glob("*.json")):
        for signed in parse_heads(path.read_bytes()).receipts:
            receipt = genuine(signed, roster_key=public_key)
            if receipt and receipt.ledger_entries > found.get(receipt.run_id, (0, b""))[0]:
                data = canonical.encode(terms.document(signed))
                found[receipt.run_id] = receipt.ledger_entries, data
    return {run: data for run, (_, data) in found.items()}


def sums_seen(
    opened: Iterable[OpenedRound], told: Mapping[tuple[str, int], ToldSum]
) -> tuple[SumSeen, ...]:
    """Return what a receipt says of the sums of a run, by round.

    Args:
        opened: every sum that this site agreed to open: the receipt lists it from then on.
        told: those that it was told since.
    """
    found = []
    for one in sorted(opened, key=lambda each: (each.round_number, each.aggregate)):
        here = told.get((one.aggregate, one.round_number))
        found.append(
            SumSeen(
                kind=one.aggregate,
                round=one.round_number,
                session=one.session or None,
                cohort=sites_hash(one.cohort),
                survivors=sites_hash(one.survivors),
                sha256=here.sha256 if here else None,
                slices=here.slices if here else "unchecked",
                adapter=here.adapter if here else None,
            )
        )
    return tuple(found)


def _fixed(event: Event) -> bool:
    # As the site books it: what site.toml says today may not be what it said then.
    return isinstance(event, NonPrivate) and event.reason.startswith("noise fixed")
