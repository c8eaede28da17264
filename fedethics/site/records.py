"""A site's records as a charter reads them, and what the permit must know of them; no torch."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from fedethics.charter.data_terms import DataTerms
from fedethics.data.reading import read_records
from fedethics.data.records import Records
from fedethics.data.split import Split, split
from fedethics.policy.permit import DataFacts
from fedethics.privacy.ledger import DataSet


def site_records(path: Path, terms: DataTerms) -> Split:
    """Read and split the records, or return what this process has read of the same file.

    Raises:
        DataError: the file is not as the charter's schema says.
    """
    changed = path.stat().st_mtime_ns if path.exists() else 0
    return _records(terms, path, changed)


def facts_of(records: Split) -> DataFacts:
    """Return what the permit needs to know of the records; it stays at the site."""
    train, held_out = records.train, records.held_out
    return DataFacts(
        train=_account(train, "train"),
        held_out=_account(held_out, "held-out"),
        train_records=train.unit_count,
        held_out_records=held_out.unit_count,
    )


def _account(part: Records, label: str) -> DataSet:
    return DataSet(
        fingerprint=part.fingerprint, label=label, source=part.source_fingerprint, unit=part.unit
    )


@lru_cache(maxsize=64)
def _records(terms: DataTerms, path: Path, _changed: int) -> Split:
    return split(read_records(path, terms), terms)
