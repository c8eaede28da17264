"""The site's ledger: what was ever charged to each data set, durable and verifiable offline."""

from fedethics.privacy.ledger.entries import (
    Cap,
    Charge,
    DataSet,
    LedgerHead,
    PinnedOfficers,
    Reservation,
)
from fedethics.privacy.ledger.ledger import Ledger
from fedethics.privacy.ledger.receipt import Receipt, read_receipt
from fedethics.privacy.ledger.verify import VerifyReport, read_book, verify_files

__all__ = [
    "Cap",
    "Charge",
    "DataSet",
    "Ledger",
    "LedgerHead",
    "PinnedOfficers",
    "Receipt",
    "Reservation",
    "VerifyReport",
    "read_book",
    "read_receipt",
    "verify_files",
]
