"""What a site computes with: its records, split, and the model with its cached activations.

Everything here is a function of files whose hashes are checked, so it is kept for the life of the
process and shared by sites that a simulation runs side by side. Nothing is written to disk.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fedethics.canonical import sha256_hex
from fedethics.charter.data_terms import DataTerms
from fedethics.charter.model import Charter
from fedethics.data.reading import read_records
from fedethics.data.records import Records
from fedethics.data.split import Split, split
from fedethics.policy.permit import DataFacts
from fedethics.privacy.ledger import DataSet
from fedethics.training.activations import Activations
from fedethics.training.learner import Learner

# Sensitive: activations determine the text. Bounded, in memory only, gone with the process.
_ACTIVATIONS: dict[tuple[str, str], Activations] = {}
_MAX_CACHED = 32


@dataclass(frozen=True, slots=True)
class Workbench:
    """One site's records and the learner for one charter."""

    records: Split
    learner: Learner

    def activations(self, part: Records) -> Activations:
        """Return the frozen prefix's activations of `part`, computed once per process."""
        # The texts in their order, not the records' fingerprint: order and wording both matter.
        key = (self.learner.prefix_hash, sha256_hex("\x00".join(part.texts).encode("utf-8")))
        if key not in _ACTIVATIONS:
            while len(_ACTIVATIONS) >= _MAX_CACHED:
                _ACTIVATIONS.pop(next(iter(_ACTIVATIONS)))
            _ACTIVATIONS[key] = self.learner.activations(part.texts)
        return _ACTIVATIONS[key]

    def facts(self) -> DataFacts:
        """Return what the permit needs to know of the records; it stays at the site."""
        train, held_out = self.records.train, self.records.held_out
        return DataFacts(
            train=_account(train, "train"),
            held_out=_account(held_out, "held-out"),
            train_records=len(train.texts),
            held_out_records=len(held_out.texts),
        )


def _account(part: Records, label: str) -> DataSet:
    return DataSet(fingerprint=part.fingerprint, label=label, source=part.source_fingerprint)


def open_workbench(
    charter: Charter, *, data: Path, model_dir: Path | None, device: str = "cpu"
) -> Workbench:
    """Read and split the records and load the model, or return what this process has.

    Raises:
        DataError: the file is not as the charter's schema says.
        ModelError: the model is missing or has another hash.
    """
    changed = data.stat().st_mtime_ns if data.exists() else 0
    return Workbench(_records(charter.data, data, changed), learner_for(charter, model_dir, device))


@lru_cache(maxsize=64)
def _records(terms: DataTerms, path: Path, _changed: int) -> Split:
    return split(read_records(path, terms), terms)


def learner_for(charter: Charter, model_dir: Path | None, device: str) -> Learner:
    """Return this process's learner for `charter`; it holds no state between calls."""
    # Who takes part does not change the model, so federations of other rosters share it.
    return _learner(dataclasses.replace(charter, roster=(), coordinator_key=""), model_dir, device)


@lru_cache(maxsize=4)
def _learner(charter: Charter, model_dir: Path | None, device: str) -> Learner:
    return Learner(charter, model_dir=model_dir, device=device)
