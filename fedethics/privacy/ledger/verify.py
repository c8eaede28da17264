"""Offline verification: from the files and the site's public key alone, without writing a byte."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedethics.errors import LedgerError, LedgerTampered
from fedethics.ownership import cannot_read
from fedethics.privacy.ledger.book import Book
from fedethics.privacy.ledger.entries import LedgerHead
from fedethics.privacy.ledger.head_file import HeadFile, pending_entry
from fedethics.privacy.ledger.receipt import read_receipt
from fedethics.privacy.ledger.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport:
    """What was verified.

    Attributes:
        entries: entries whose hash, order, time and signature hold.
        head: the newest of them.
        pending: True when a killed process left the newest entry in the head file only; it counts.
        head_checked: False when the head file was not among the files, so that only the receipts
            could have shown a rollback.
        receipts: receipts that the ledger's history contains.
    """

    entries: int
    head: LedgerHead
    pending: bool
    head_checked: bool
    receipts: int


def verify_files(
    ledger_path: Path, public_key: str, *, receipts: Sequence[bytes] = ()
) -> VerifyReport:
    """Verify a ledger offline.

    Args:
        ledger_path: the SQLite file; `<path>.head` is checked too where it is next to it.
        public_key: the site's key as the charter's roster gives it.
        receipts: receipts that others were given; each must name an entry of this history.

    Raises:
        LedgerError: unreadable.
        LedgerTampered: what does not verify, naming the entry.
    """
    book, pending, head_checked = _read(ledger_path, public_key)
    for data in receipts:
        _check_receipt(book, data, public_key)
    return VerifyReport(
        entries=book.length,
        head=book.head,
        pending=pending,
        head_checked=head_checked,
        receipts=len(receipts),
    )


def read_book(ledger_path: Path, public_key: str | None = None) -> Book:
    """Return the verified books of a ledger, without its private key and without writing.

    Without `public_key` the ledger is checked against the key that its own first entry names,
    which shows damage but not forgery.

    Raises:
        LedgerError: unreadable.
        LedgerTampered: what does not verify, naming the entry.
    """
    book, _, _ = _read(ledger_path, public_key)
    return book


def _read(path: Path, public_key: str | None) -> tuple[Book, bool, bool]:
    if not path.is_file():
        raise LedgerError(f"there is no ledger at {path}")
    head_file = HeadFile(path)
    # Read first: the ledger may then be ahead of it only if another process is writing now.
    head = head_file.read()
    try:
        book = _read_entries(path, public_key)
    except LedgerError:
        book = _read_copy(path, public_key)
    if head is None:
        return book, False, False
    if head.body["index"] < book.length - 1:
        head = head_file.read()
    pending = pending_entry(book, head)
    if pending is not None:
        book.extend(pending)
    return book, pending is not None, True


def _read_entries(path: Path, public_key: str | None) -> Book:
    book = Book(public_key)
    with Store(path).reading() as transaction:
        # Empty when the very first writer was killed; the head file then holds entry 0.
        for sealed in () if transaction.empty() else transaction.rows(start=0):
            book.extend(sealed)
    return book


def _read_copy(path: Path, public_key: str | None) -> Book:
    """Read a copy: a killed process left a journal, which SQLite can only undo by writing."""
    journal = path.with_name(path.name + "-journal")
    if not journal.exists():
        try:
            path.open("rb").close()
        except OSError as error:
            raise LedgerError(f"ledger {cannot_read(path, error)}") from error
        raise LedgerError(f"ledger {path} cannot be read; check its permissions")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        shutil.copyfile(journal, copy.with_name(journal.name))
        with Store(copy).exclusive():
            pass
        return _read_entries(copy, public_key)


def _check_receipt(book: Book, data: bytes, public_key: str) -> None:
    receipt = read_receipt(data, public_key=public_key)
    index, sha256 = receipt.ledger_entries - 1, receipt.ledger_head
    if index >= book.length or book.entries[index].sha256 != sha256:
        raise LedgerTampered(
            f"a signed receipt for run {receipt.run_id!r} names entry {index} with hash "
            f"{sha256[:12]}, which this ledger does not hold: it was rolled back or rewritten"
        )
    if not set(receipt.earlier) <= set(book.receipts):
        raise LedgerTampered(
            f"a signed receipt for run {receipt.run_id!r} names receipts given before it that this "
            "ledger does not hold: it was rolled back or rewritten"
        )
