"""The section on the model before training: what was gained and lost, by group."""

from __future__ import annotations

from fedethics.aggregates.paired.gate import change, opened_pairs, sentence
from fedethics.charter.paired_terms import PairedTerms
from fedethics.errors import AccountingError
from fedethics.fairness.paired import ENTRIES, PairedSums, change_of, changes_by_group
from fedethics.fairness.partition import MINIMUM_CELL
from fedethics.release.folder import Folder
from fedethics.release.gate import GateReport
from fedethics.release.sections.block import Section, Table, estimate_cells, number

_CONFIDENCE = 0.95


def build(folder: Folder, _verdict: GateReport) -> Section | None:
    """Return the section; None where the charter compares with nothing."""
    terms, sites = folder.charter.paired, len(folder.charter.roster)
    if terms is None:
        return None
    try:
        found = opened_pairs(folder)
    except AccountingError:
        found = None
    before = (
        "the release that training started from"
        if folder.charter.adapter.from_
        else "the base model, before any training"
    )
    return Section(
        title="Beside the model before training",
        words="No sum of this comparison is on record."
        if found is None
        else " ".join(
            sentence(change(found, each, sites=sites), each) for each in terms.objectives
        ),
        explanation=(
            f"Both models answered the same held-out records: {before}, and the trained one. "
            '"Gained" are records that only the trained model gets right, "lost" those that only '
            "the former gets right. Records on which both agree say nothing of the change. "
            "Counts carry noise, so that small ones may be negative."
        ),
        tables={} if found is None else {"Records gained and lost": _table(terms, found, sites)},
    )


def _table(terms: PairedTerms, found: PairedSums, sites: int) -> Table:
    everyone = found.together(sites=sites)
    rows = [
        (
            "everyone",
            *_counts(everyone, 0),
            *estimate_cells(change_of(everyone, confidence=_CONFIDENCE)),
        )
    ]
    if terms.feature:
        told = changes_by_group(found, confidence=_CONFIDENCE, minimum_cell=MINIMUM_CELL)
        hidden = found.hidden(minimum_cell=MINIMUM_CELL)
        for place, (group, one) in enumerate(told.items()):
            counts = ("-",) * len(ENTRIES) if hidden[place] else _counts(found, place)
            rows.append((f"{terms.feature}: {group}", *counts, *estimate_cells(one)))
    head = ("Whose", *(entry.capitalize() for entry in ENTRIES), "Change", "Interval (95 %)")
    return Table(head=head, rows=tuple(rows))


def _counts(found: PairedSums, group: int) -> tuple[str, ...]:
    return tuple(number(float(one), 0) for one in found.table[group])
