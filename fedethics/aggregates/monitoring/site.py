"""A site's part in one window: its new records as counts, with its share of the noise.

Guarantee: which window a record is in follows from its own day and the charter alone, and it moves
one entry of each part of `WindowLayout`. The caller has reserved the cost before calling.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedethics.aggregates.measuring import Mechanism, Vector, share_of
from fedethics.aggregates.monitoring import MONITORING, WindowLayout
from fedethics.data.records import Records
from fedethics.data.window import Window
from fedethics.fairness.tabulate import tabulate
from fedethics.privacy.noise import NoiseSource
from fedethics.secagg import Opening
from fedethics.site.records import reading_records
from fedethics.site.request_context import RequestContext
from fedethics.training.activations import Activations


def prepare(context: RequestContext, opening: Opening, _sent: Mapping[str, bytes]) -> Mechanism:
    """Read the window and prove its shapes, which may fail, before it costs; return the counting.

    Raises:
        RecordsRefusal: the window cannot be read, or its records cannot be computed apart.
    """
    window = context.watched(opening.run)
    with reading_records():
        parts = [_bench(context, part) for part in (window.labelled, window.unlabelled)]

    def count(
        context: RequestContext, adapter: Vector, _opening: Opening, noise: NoiseSource
    ) -> NDArray[np.int64]:
        layout = WindowLayout.of(context.charter)
        labelled, unlabelled = (_scores(context, adapter, each) for each in parts)
        table = window_counts(window, layout, labelled=labelled, unlabelled=unlabelled)
        planned = MONITORING.of(context.plan.sums).noise
        return np.asarray(table + share_of(context, planned, table.size, noise), dtype=np.int64)

    return count


def window_counts(
    window: Window,
    layout: WindowLayout,
    *,
    labelled: NDArray[np.float64],
    unlabelled: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return the counts of one site's window, shape (layout.length,), without noise.

    Args:
        window: its records.
        layout: from the charter.
        labelled: score of each record with a label, shape (n,).
        unlabelled: score of each record without one, shape (m,).
    """
    tables, found = layout.tables, np.zeros(layout.length, dtype=np.int64)
    part = window.labelled
    found[layout.places["tables"]] = tabulate(
        tables, groups=part.groups, labels=part.labels, scores=labelled
    )
    bins = len(layout.edges) - 1
    places = np.searchsorted(np.array(layout.edges), unlabelled, side="right") - 1
    places = np.minimum(places, bins - 1)
    found[layout.places["unlabelled-scores"]] = np.bincount(places, minlength=bins)
    found[layout.places["rows"]] = window.rows
    found[layout.places["unlabelled"]] = window.rows_without_label
    found[layout.places["left-out"]] = window.left_out
    found[layout.places["missing"]] = [window.missing[name] for name in layout.missing]
    return found


def _bench(context: RequestContext, part: Records) -> Activations | None:
    """Return what the frozen layers make of the records; None where there are none."""
    if not len(part):
        return None
    member = context.charter.member(context.site)
    most = (member.declared_records if member else 0) * context.charter.data.max_rows_per_person
    activations = context.learner.activations(part.texts, records=most)
    context.learner.prove(activations)
    return activations


def _scores(
    context: RequestContext, adapter: Vector, part: Activations | None
) -> NDArray[np.float64]:
    """Return the score of each record; one that is not finite counts as 0 (`measuring`)."""
    if part is None:
        return np.zeros(0)
    scores = context.learner.scores(adapter, part)
    return np.where(np.isfinite(scores), scores, 0.0)
