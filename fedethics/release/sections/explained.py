"""What the model relies on over all sites: its columns, and what a swapped word changes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedethics.fairness import (
    Estimate,
    Tables,
    aggregate,
    by_group,
    importance,
    importance_by_group,
    importance_gaps,
)
from fedethics.release.folder import Folder
from fedethics.release.plots import Mark, Section, intervals
from fedethics.release.sections.block import (
    Block,
    Table,
    estimate_cells,
    feature_label,
    group_label,
)

CONFIDENCE = 0.95
_EVERYONE = "Everyone"
# Ends of the axis whose quarters are short numbers.
_AXES = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
_FLIPS = {
    "flip_rate": "Decision flips, of all",
    "flip_to_positive_rate": "Not flagged, but would be with the other word",
    "flip_to_negative_rate": "Flagged, but would not be with the other word",
}
_SHIFTS = {"swap_rise": "Score rises with the other word", "swap_fall": "Score falls with it"}


@dataclass(frozen=True, kw_only=True, slots=True)
class WhatItLooksAt:
    """Figures and tables of one run's sums of score changes.

    Attributes:
        blocks: importance by column, then one figure for each swapped feature.
        gaps: by how much importance differs between groups; None where not summed by group.
        shifts: mean changes of the score under swaps; None where nothing was swapped.
        bound: how far a change counts, in words.
    """

    blocks: tuple[Block, ...]
    gaps: Table | None
    shifts: Table | None
    bound: str


def build(folder: Folder) -> WhatItLooksAt | None:
    """Return what was explained, or None where the charter asked for nothing."""
    tables, terms = folder.tables, folder.charter.ethics.explanation
    if tables.explanation is None:
        return None
    explained = tables.explanation.layout
    swaps = tuple(_swap(tables, feature.name) for feature in explained.swaps)
    return WhatItLooksAt(
        blocks=(*((_importance(tables),) if explained.columns else ()), *swaps),
        gaps=_gaps(tables) if explained.columns and explained.by else None,
        shifts=_shifts(tables) if explained.swaps else None,
        bound=(
            f"A change of a score counts up to {terms.largest_change:g}; larger ones count as that."
        ),
    )


def _importance(tables: Tables) -> Block:
    groups = importance_by_group(tables, confidence=CONFIDENCE)
    found = {
        column: {_EVERYONE: estimate, **groups.get(column, {})}
        for column, estimate in importance(tables, confidence=CONFIDENCE).items()
    }
    # The most important first: the order of the text says nothing.
    order = sorted(found, key=lambda column: -_sortable(found[column][_EVERYONE].value))
    apart = {column: found[column] for column in order}
    together = {_EVERYONE: {column: found[column][_EVERYONE] for column in order}}
    return _figure(
        apart if groups else together,
        title="What the score relies on",
        name="importance",
        head=("Column left out", "Group") if groups else ("Group", "Column left out"),
        caption=(
            "How much the score changes, up or down, when the column’s phrase is left out of the "
            "text, on average over the held-out records. Look for a column that should not matter "
            "but does, or that matters more for one group. The model may never have seen a text "
            "without the phrase. If two columns say the same, each can look unimportant. What the "
            "model relies on is not a cause. Lines are 95 % intervals that include chance and "
            "noise; near 0 they cannot distinguish little from nothing."
        ),
    )


def _swap(tables: Tables, feature: str) -> Block:
    found = {question: _by_group(tables, metric, feature) for metric, question in _FLIPS.items()}
    pooled = aggregate(tables, "counterfactual_flip_rate", feature=feature, confidence=CONFIDENCE)
    found[_FLIPS["flip_rate"]] = {_EVERYONE: pooled, **found[_FLIPS["flip_rate"]]}
    return _figure(
        found,
        title=f"If the word for {feature_label(feature)} were another",
        name=f"swap-{feature}",
        head=("Share of the group", "Group"),
        caption=(
            "How often the decision flips if the same record has the word of another group. A "
            "flip shows that the word alone decides. No flip does not show fair treatment: only "
            "the word was changed, not what is correlated with it in life or in other columns."
        ),
    )


def _by_group(tables: Tables, metric: str, feature: str) -> dict[str, Estimate]:
    found = by_group(tables, metric, feature=feature, confidence=CONFIDENCE)
    return {name: group.estimate for name, group in found.items()}


def _gaps(tables: Tables) -> Table:
    rows = tuple(
        (column, *estimate_cells(gap))
        for column, gap in importance_gaps(tables, confidence=CONFIDENCE).items()
    )
    head = ("Column left out", "Largest difference between groups", "95 % interval")
    return Table(head=head, rows=rows)


def _shifts(tables: Tables) -> Table:
    explained = tables.explanation.layout.swaps if tables.explanation else ()
    rows = tuple(
        (feature_label(feature.name), group_label(group), question, *estimate_cells(estimate))
        for feature in explained
        for metric, question in _SHIFTS.items()
        for group, estimate in _by_group(tables, metric, feature.name).items()
    )
    head = ("Word swapped", "Group", "On average", "Value", "95 % interval")
    return Table(head=head, rows=rows)


def _figure(
    found: dict[str, dict[str, Estimate]],
    *,
    title: str,
    name: str,
    head: tuple[str, str],
    caption: str,
) -> Block:
    rows = tuple(
        (question, group_label(group), *estimate_cells(estimate))
        for question, groups in found.items()
        for group, estimate in groups.items()
    )
    return Block(
        title=title,
        drawing=intervals(
            [
                Section(
                    title=question,
                    marks=tuple(_mark(group, estimate) for group, estimate in groups.items()),
                )
                for question, groups in found.items()
            ],
            name=name,
            title=title,
            description="; ".join(f"{a}, {b}: {c}, {d}" for a, b, c, d in rows),
            top=_top(found),
        ),
        caption=caption,
        table=Table(head=(*head, "Value", "95 % interval"), rows=rows),
    )


def _mark(group: str, estimate: Estimate) -> Mark:
    return Mark(
        label=group_label(group),
        value=estimate.figure,
        low=estimate.low,
        high=estimate.high,
        shape=0 if group == _EVERYONE else 1,
        cut=estimate.cut,
    )


def _top(found: dict[str, dict[str, Estimate]]) -> float:
    """Return the least axis that holds every interval; small changes must stay readable."""
    highs = [
        estimate.high
        for groups in found.values()
        for estimate in groups.values()
        if estimate.known and math.isfinite(estimate.high)
    ]
    highest = max(highs, default=1.0)
    return next((axis for axis in _AXES if axis >= highest), 1.0)


def _sortable(value: float) -> float:
    return value if math.isfinite(value) else 0.0
