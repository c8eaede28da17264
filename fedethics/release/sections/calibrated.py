"""Calibration by group: of those given a score, how many turned out positive?"""

from __future__ import annotations

import numpy as np

from fedethics.fairness import Reliability, Tables, reliability
from fedethics.release.folder import Folder
from fedethics.release.plots import Line
from fedethics.release.reliability_plot import reliability_points
from fedethics.release.sections.block import (
    Block,
    Table,
    feature_label,
    group_label,
    limits,
    number,
)

CONFIDENCE = 0.95
# Intervals as wide as this tell well calibrated from badly calibrated no more.
_USELESS = 0.5


def build(folder: Folder) -> tuple[Block, ...]:
    """Return a diagram over everyone, by each feature that the histograms are crossed with."""
    layout = folder.tables.layout
    if "expected_calibration_error" not in layout.measured.metrics:
        return ()
    crossed = [layout.features[axis].name for axis in layout.histogram_axes]
    return tuple(_block(folder, feature) for feature in crossed or (None,))


def _block(folder: Folder, feature: str | None) -> Block:
    found = _diagrams(folder.tables, feature)
    title = f"Calibration by {feature_label(feature)}" if feature else "Calibration"
    rows = tuple(row for name, diagram in found.items() for row in _rows(name, diagram))
    return Block(
        title=title,
        drawing=reliability_points(
            [_line(name, diagram) for name, diagram in found.items()],
            name=f"calibration-{feature or 'everyone'}",
            title=title,
            description="; ".join(f"{a}, score {b}: {c} ({d})" for a, b, c, d in rows),
            x="score given",
            y="share that was positive",
        ),
        caption=_hidden(found)
        + (
            "On the diagonal a score means what it says: of those given 0.7, 7 in 10 are positive. "
            "A group whose points lie above it is scored too low, and below it too high. Lines "
            "are 95 % intervals of each point by itself; points of few records scatter."
        ),
        table=Table(head=("Group", "Mean score", "Share positive", "95 % interval"), rows=rows),
    )


def _diagrams(tables: Tables, feature: str | None) -> dict[str, Reliability | None]:
    groups = tables.layout.feature(feature).groups if feature else ()
    return {"Everyone": reliability(tables, confidence=CONFIDENCE)} | {
        group_label(group): reliability(tables, feature=feature, group=group, confidence=CONFIDENCE)
        for group in groups
    }


def _hidden(found: dict[str, Reliability | None]) -> str:
    everyone = found["Everyone"]
    if everyone is None or not everyone.score.size:
        return ""
    if float(np.median(everyone.high - everyone.low)) < _USELESS:
        return ""
    return (
        "Do not read these points: for so few records the noise on the histograms is larger than "
        "what they could show, as the lines say. "
    )


def _line(name: str, diagram: Reliability | None) -> Line:
    if diagram is None or not diagram.score.size:
        return Line(label=f"{name}: withheld or no records", x=(), y=())
    return Line(
        label=name,
        x=tuple(map(float, diagram.score)),
        y=tuple(map(float, diagram.rate)),
        low=tuple(map(float, diagram.low)),
        high=tuple(map(float, diagram.high)),
    )


def _rows(name: str, diagram: Reliability | None) -> list[tuple[str, str, str, str]]:
    if diagram is None:
        return []
    points = zip(diagram.score, diagram.rate, diagram.low, diagram.high, strict=True)
    return [
        (name, number(float(score), 2), number(float(rate)), limits(float(low), float(high)))
        for score, rate, low, high in points
    ]
