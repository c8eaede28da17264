"""The head file: the newest entry, kept beside the ledger and written before it.

Guarantee: after `write` returns, the entry is on disk under its final name, whole; at any moment
before, the previous one is. The file only ever moves forward, by one entry at a time.
"""

from __future__ import annotations

from pathlib import Path

from fedethics import canonical
from fedethics.canonical import Json
from fedethics.errors import LedgerError, LedgerTampered
from fedethics.ownership import cannot_read
from fedethics.privacy.ledger.book import Book
from fedethics.privacy.ledger.entries import Sealed
from fedethics.storage import files


class HeadFile:
    """The one file that a rolled-back copy of the ledger cannot agree with."""

    def __init__(self, ledger_path: Path) -> None:
        """Use the file next to the ledger, named `<ledger>.head`."""
        self.path = ledger_path.with_name(ledger_path.name + ".head")

    def read(self) -> Sealed | None:
        """Return the entry it holds, not yet verified, or None when there is no file.

        Raises:
            LedgerTampered: not the canonical form that `write` gives it.
            LedgerError: there, but unreadable.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LedgerError(f"ledger head {cannot_read(self.path, error)}") from error
        try:
            table = canonical.parse(data)
            if not isinstance(table, dict) or set(table) != {"entry", "signature"}:
                raise ValueError("expected the keys entry and signature")
            raw = canonical.encode(table["entry"])
            sealed = Sealed(raw=raw, signature=bytes.fromhex(str(table["signature"])))
            _ = sealed.body["index"]
        except (ValueError, KeyError) as error:
            raise LedgerTampered(f"ledger head {self.path} is damaged: {error}") from error
        return sealed

    def write(self, sealed: Sealed) -> None:
        """Replace the file by this entry, durably.

        Raises:
            OSError: the disk refused; the previous head is still in place.
        """
        document: Json = {"entry": sealed.body, "signature": sealed.signature.hex()}
        files.replace(self.path, canonical.encode(document))


def pending_entry(book: Book, head: Sealed | None) -> Sealed | None:
    """Return the one entry that the head holds and the ledger lacks; refuse any other difference.

    Raises:
        LedgerTampered: the head is missing, older, further ahead, or of another history.
    """
    if head is None:
        raise LedgerTampered(
            "the ledger's head file is missing, so a rolled-back ledger could not be detected. "
            "Nothing was computed"
        )
    recorded, newest = head.body["index"], book.length - 1
    if recorded == newest and head.sha256 == book.tail_hash:
        return None
    if recorded == newest + 1 and head.body["previous"] == book.tail_hash:
        return head
    raise LedgerTampered(
        f"the ledger ends at entry {newest}, but its head file records entry {recorded} of "
        f"{'another history' if recorded == newest else 'this ledger'}: an older or another copy "
        "of one of them was restored. Nothing was computed"
    )
