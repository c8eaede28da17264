"""The section on gradient norms: the histogram, and what it says of the clipping norm."""

from __future__ import annotations

from itertools import pairwise

from fedethics.aggregates.norms import EDGES
from fedethics.aggregates.norms.opened import OpenedNorms, opened_norms
from fedethics.errors import AccountingError
from fedethics.release.folder import Folder
from fedethics.release.gate import GateReport
from fedethics.release.sections.block import Section, Table, number


def build(folder: Folder, _verdict: GateReport) -> Section | None:
    """Return the section; None where the charter does not ask for the count."""
    terms = folder.charter.norms
    if terms is None:
        return None
    try:
        found = opened_norms(folder.charter, folder.evidence.counted)
    except AccountingError:
        found = None
    missing = "No such sum is on record."
    return Section(
        title="Clipping norm",
        words=found.advice() if found else missing,
        explanation=(
            "Each training unit's gradient is shortened to the clipping norm, and the noise on the "
            "update grows with that norm. The histogram was counted once, with noise, before the "
            f"step of round {terms.round}, of the gradients without any weights; it cost a unit "
            f"epsilon {terms.epsilon:g}. It changed nothing that was trained."
        ),
        tables={"Training units by the norm of their gradient": _table(found)} if found else {},
    )


def _table(found: OpenedNorms) -> Table:
    ends = [f"{edge * found.clipping_norm:g}" for edge in EDGES]
    names = [f"under {ends[0]}", *(f"{low} to under {high}" for low, high in pairwise(ends))]
    total = max(1.0, float(found.counts.clip(min=0.0).sum()))
    rows = tuple(
        (name, number(float(count), 0), f"{max(0.0, float(count)) / total:.0%}")
        for name, count in zip([*names, f"{ends[-1]} or more"], found.counts, strict=True)
    )
    return Table(head=("Norm", "Units, with noise", "Share"), rows=rows)
