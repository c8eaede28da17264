"""Gaps between groups over the rounds, where training was steered: from counts opened anyway."""

from __future__ import annotations

import math

import numpy as np

from fedethics.charter_sums import layout_of
from fedethics.fairness.gaps import Gap, gap
from fedethics.fairness.layout import Tables
from fedethics.fairness.metrics import find_metric
from fedethics.fairness.partition import Partition, by_feature
from fedethics.release.evidence import Steering
from fedethics.release.folder import Folder
from fedethics.release.plots import Line, over_rounds
from fedethics.release.sections.block import NO_ESTIMATE, Block, Table, feature_label, number
from fedethics.steering import group_weights

_METRICS = {
    "true positive rate": "equal_opportunity_difference",
    "false positive rate": "false_positive_rate_difference",
    "share flagged": "demographic_parity_difference",
}
_CONFIDENCE = 0.95


def over_time(folder: Folder) -> Block | None:
    """Return the gaps among training records before each counted round; None without counts."""
    counted = folder.evidence.steering
    if not counted:
        return None
    feature = folder.charter.mitigation.feature
    found = {
        (name, entry.round): gap(
            _partition(folder, entry), find_metric(metric), confidence=_CONFIDENCE
        )
        for name, metric in _METRICS.items()
        for entry in counted
    }
    rows = tuple(
        (
            f"round {before}",
            name,
            NO_ESTIMATE if one.cut else number(one.value),
            f"{number(one.low)} to {number(one.high)}",
        )
        for (name, before), one in found.items()
    )
    title = f"Gaps by {feature_label(feature)} over the rounds"
    return Block(
        title=title,
        drawing=over_rounds(
            [_line(name, found) for name in _METRICS],
            name="steered",
            title=title,
            description="; ".join(", ".join(row) for row in rows),
            y="largest difference between groups",
            top=1.0,
        ),
        caption=(
            "Gaps among the training records before each round, from which the weights of that "
            "round follow. Falling lines show that steering works. The bands are 95 % intervals "
            "and include the noise. The verdict depends on the held-out records, not on this."
        ),
        table=Table(head=("Before", "Gap in the", "Value", "95 % interval"), rows=rows),
    )


def weights(folder: Folder) -> Table | None:
    """Return the weights of the last round by group and label; None where nothing steered."""
    charter, counted = folder.charter, folder.evidence.steering
    if not counted:
        return None
    sums = [np.array(entry.counts, dtype=np.int64) for entry in counted]
    table = group_weights(charter, sums, variance=counted[-1].variance).table
    label = charter.data.labels
    return Table(
        head=("Group", f"Weight, {label.negative_name}", f"Weight, {label.positive_name}"),
        rows=tuple(
            (group, number(row[0]), number(row[1]))
            for group, row in zip(_names(folder), table, strict=True)
        ),
    )


def _line(name: str, found: dict[tuple[str, int], Gap]) -> Line:
    points = [(at, one) for (metric, at), one in found.items() if metric == name]
    known = [(at, one) for at, one in points if not math.isnan(one.value)]
    return Line(
        label=name,
        x=tuple(float(at) for at, _ in known),
        y=tuple(math.nan if one.cut else one.value for _, one in known),
        low=tuple(one.low for _, one in known),
        high=tuple(one.high for _, one in known),
    )


def _partition(folder: Folder, entry: Steering) -> Partition:
    names = _names(folder)
    return Partition(
        groups=names,
        shape=(len(names),),
        counts=np.array(entry.counts, dtype=np.float64).reshape(len(names), 2, 2),
        histogram=None,
        counts_variance=entry.variance,
        histogram_variance=0.0,
    )


def _names(folder: Folder) -> tuple[str, ...]:
    layout = layout_of(folder.charter)
    empty = Tables.from_vector(
        np.zeros(layout.length, dtype=np.int64),
        layout=layout,
        counts_variance=0.0,
        histogram_variance=0.0,
        sites=1,
    )
    return by_feature(empty, folder.charter.mitigation.feature).groups
