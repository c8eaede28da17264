"""comparisons.json: what else was tried on the same split, without which a result means nothing.

Written by the simulation, which alone may pool or isolate sites' records; read by the report.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fedethics import canonical, terms
from fedethics.errors import ReleaseError
from fedethics.release import durable
from fedethics.terms import term


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One way of learning the same task, run with several seeds on the same split.

    Attributes:
        what: one sentence on what was done.
        epsilon: at the charter's delta; absent means no differential privacy.
        roc_auc, accuracy: on all held-out records, one number a seed.
        worst_site_auc: AUC at the site where it is lowest, one number a seed; empty if not taken.
        gap: value of the comparisons' `gap_metric`, one number a seed; empty if not taken.
        released: this is the model of this release.
    """

    name: str = term(nonempty=True)
    what: str = term(nonempty=True, prose=True)
    epsilon: float | None = term(default=None, above=0)
    seeds: tuple[int, ...] = term(nonempty=True)
    roc_auc: tuple[float, ...] = term(nonempty=True, at_least=0, at_most=1)
    accuracy: tuple[float, ...] = term(nonempty=True, at_least=0, at_most=1)
    worst_site_auc: tuple[float, ...] = term(default=(), at_least=0, at_most=1)
    gap: tuple[float, ...] = term(default=(), at_least=0, at_most=1)
    released: bool = term(default=False)

    def problems(self) -> list[str]:
        """One number for each seed."""
        lengths = {
            len(self.roc_auc),
            len(self.accuracy),
            len(self.worst_site_auc) or None,
            len(self.gap) or None,
        }
        if lengths - {len(self.seeds), None}:
            return [f"{self.name}: needs one number for each of {len(self.seeds)} seeds"]
        return []


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparisons:
    """All comparisons of a run, and what they teach.

    Attributes:
        notes: full sentences, e.g. what privacy costs at these sizes, and the epsilon at which
            the model stops being useful.
        gap_metric: which gap between groups `gap` holds, as the charter names its objective.
        gap_bar: the bar that the charter sets for it.
    """

    rows: tuple[Comparison, ...] = term(nonempty=True)
    notes: tuple[str, ...] = term(default=(), prose=True)
    gap_metric: str = term(default="")
    gap_bar: float | None = term(default=None)


def write(comparisons: Comparisons, path: Path) -> None:
    """Write the comparisons durably, in canonical form."""
    durable.write(path, canonical.encode(terms.document(comparisons)))


def load(path: Path) -> Comparisons | None:
    """Return the comparisons, or None where no simulation made any.

    Raises:
        ReleaseError: the file is there but not what `write` writes.
    """
    if not os.path.lexists(path):
        return None
    return terms.parse(Comparisons, durable.read(path), what=str(path), error=ReleaseError)
