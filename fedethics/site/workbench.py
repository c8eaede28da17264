"""What a site computes with: its records, split, and the model with its cached activations.

Everything here is a function of files whose hashes are checked, so it is kept for the life of the
process and shared by sites that a simulation runs side by side. Nothing is written to disk, unless
the policy's `compute.cache` says so.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fedethics.charter.model import Charter
from fedethics.data.content import digest
from fedethics.data.file_terms import DataFile
from fedethics.data.records import Records, Split
from fedethics.identical import Same
from fedethics.policy.model import Compute
from fedethics.policy.permit import DataFacts
from fedethics.privacy.outlook import VISITS_THAT_PAY
from fedethics.site.records import facts_of, site_records
from fedethics.training.activations import Activations
from fedethics.training.learner import Learner

# Sensitive: activations determine the text. Bounded, and gone with the process.
_ACTIVATIONS: dict[tuple[str, Compute, str], Activations] = {}
# A site needs a few; of many simulated sites, as many as this many bytes hold.
_MAX_CACHED = 32
_MAX_BYTES = 1 << 30
_ON_CPU = Compute()


@dataclass(frozen=True, slots=True)
class Workbench:
    """One site's records and the learner for one charter.

    Attributes:
        declared: a public number of records, from which it follows whether states are kept; None
            where nothing leaves that rests on them.
    """

    records: Split
    learner: Learner
    declared: int | None = None

    def activations(self, part: Records) -> Activations:
        """Return the frozen prefix's activations of `part`, computed once per process.

        Token ids for training records that are visited too seldom for states to pay. Where losses
        compare with the start of training, each record is visited for that once more.
        """
        seldom = self.learner.visits < VISITS_THAT_PAY and not self.learner.compares
        if part is self.records.train and seldom:
            return self.learner.tokens(part.texts)
        # The texts in their order, not the records' fingerprint: order and wording both matter.
        texts = digest(part.texts)
        # How they are computed too: precision and batches decide the last bits.
        key = (self.learner.states_key, self.learner.compute, texts)
        if key not in _ACTIVATIONS:
            while len(_ACTIVATIONS) >= _MAX_CACHED and _held_bytes() > _MAX_BYTES:
                _ACTIVATIONS.pop(next(iter(_ACTIVATIONS)))
            _ACTIVATIONS[key] = self.learner.activations(part.texts, records=self.declared)
        return _ACTIVATIONS[key]

    def facts(self) -> DataFacts:
        """Return what the permit needs to know of the records; it stays at the site."""
        return facts_of(self.records)


def open_workbench(
    charter: Charter,
    *,
    data: Path | DataFile,
    model_dir: Path | None,
    start_dir: Path | None = None,
    compute: Compute = _ON_CPU,
    declared: int | None = None,
) -> Workbench:
    """Read and split the records and load the model, or return what this process has.

    Args:
        charter: names the model and the schema.
        data: the site's file.
        model_dir: folder of the model; None for an embedded one.
        start_dir: folder of the release that the charter starts from; None where there is none.
        compute: where and how it runs.
        declared: units that the site declared; it bounds what the frozen layers' output takes.

    Raises:
        DataError: the file is not as the charter's schema says.
        ModelError: the model is missing or has another hash.
    """
    # The model first: whether it is here must not be told apart by what the records hold.
    learner = learner_for(charter, model_dir, compute, start_dir=start_dir)
    public = None if declared is None else declared * charter.data.max_rows_per_person
    return Workbench(site_records(data, charter), learner, public)


def _held_bytes() -> int:
    return sum(
        state.numel() * state.element_size()
        for kept in _ACTIVATIONS.values()
        for state in kept.hidden
    )


def learner_for(
    charter: Charter, model_dir: Path | None, compute: Compute, *, start_dir: Path | None = None
) -> Learner:
    """Return this process's learner for `charter`; it holds no state between calls."""
    return _learner_of(Same(charter), model_dir, compute, start_dir)


@lru_cache(maxsize=8)
def _learner_of(
    charter: Same[Charter], model_dir: Path | None, compute: Compute, start_dir: Path | None
) -> Learner:
    # Who takes part does not change the model, so federations of other rosters share it.
    shared = dataclasses.replace(charter.value, roster=(), coordinator_key="")
    return _learner(shared, model_dir, compute, start_dir)


@lru_cache(maxsize=4)
def _learner(
    charter: Charter, model_dir: Path | None, compute: Compute, start_dir: Path | None
) -> Learner:
    return Learner(charter, model_dir=model_dir, start_dir=start_dir, compute=compute)
