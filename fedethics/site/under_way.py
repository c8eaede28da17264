"""Runs that a site was charged for and that have not ended, and whether they can go on.

What was paid for a run is of use only if its last sum is opened. A run rests on the records that it
began with: with others in the data file, the site refuses its next round.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedethics import tasks
from fedethics.charter import document
from fedethics.errors import RecordsRefusal
from fedethics.policy.granted import DataFacts
from fedethics.privacy.ledger.book import Book
from fedethics.site.home import SiteHome
from fedethics.site.journal import Journal
from fedethics.site.records import facts_or_refusal


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
    charter_hash = document.hash_of(charter)
    charged = {each.run: None for each in book.counted() if each.charter_hash == charter_hash}
    open_runs = [run for run in charged if not _ended(home, charter_hash, run)]
    if not open_runs:
        return ()
    facts = facts_or_refusal(home.data_path, charter)
    return tuple(
        UnderWay(run=run, same_records=_same(book.files_of(run), facts)) for run in open_runs
    )


def refused_since(home: SiteHome) -> str:
    """Return since when the site answers that its records do not go with its charter, or ""."""
    journal = home.path / "journal.db"
    if not journal.exists() or not home.charter_path.exists():
        return ""
    charter_hash = document.hash_of(document.load(home.charter_path))
    return Journal(journal).refused_since(charter_hash=charter_hash)


def _ended(home: SiteHome, charter_hash: str, run: str) -> bool:
    journal = home.path / "journal.db"
    if not journal.exists():  # looking makes no file
        return False
    seen = Journal(journal).sums(charter_hash=charter_hash, run=run)
    return any(task == tasks.FAIRNESS for task, _ in seen)


def _same(files: frozenset[str], facts: DataFacts | RecordsRefusal) -> bool:
    if isinstance(facts, RecordsRefusal):
        return False
    return files <= {facts.train.file, facts.held_out.file}
