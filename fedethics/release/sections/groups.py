"""Rates by group, gaps against their bars, and ROC curves: all from the summed tables.

Calibration by group: of those given a score, how many turned out positive?
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from fedethics.fairness import (
    Estimate,
    Layout,
    Reliability,
    Tables,
    aggregate,
    by_group,
    overall,
    reliability,
    roc,
)
from fedethics.fairness.metrics import find_metric, of_class
from fedethics.fairness.roc import RocCurve
from fedethics.learning_tasks import find_task
from fedethics.release.figures import FAIL, INK, PASS, UNSURE
from fedethics.release.folder import BENCHMARKS, Folder
from fedethics.release.gate import GateReport
from fedethics.release.plots import Line, Mark, Section, curves, intervals, reliability_points
from fedethics.release.rules.objectives import WITHOUT_GROUPS
from fedethics.release.rules.rule import Outcome, Rule
from fedethics.release.sections.block import (
    NO_ESTIMATE,
    NOTHING,
    Block,
    Table,
    estimate_cells,
    feature_label,
    group_label,
    limits,
    number,
)

CONFIDENCE = 0.95
# An AUC whose interval is this wide tells guessing from perfection no more.
_USELESS = 0.5
GAPS = (
    "equal_opportunity_difference",
    "false_positive_rate_difference",
    "equalized_odds_difference",
    "demographic_parity_difference",
    "accuracy_score_difference",
)
_TONES: dict[Outcome, str] = {
    "pass": PASS,
    "fail": FAIL,
    "cannot conclude": UNSURE,
    "not informative": UNSURE,
}


def features(tables: Tables) -> tuple[str, ...]:
    """Return every sensitive feature, and the intersection of all where it was counted."""
    names = tuple(feature.name for feature in tables.layout.features)
    axes = set(range(len(names)))
    crossed = any(axes <= set(have) for have, _ in tables.count_blocks)
    return (*names, "*".join(names)) if len(names) > 1 and crossed else names


def rates(folder: Folder) -> tuple[Block, ...]:
    """Return one forest plot for each feature and for their intersection."""
    return tuple(_forest(folder, feature) for feature in features(folder.tables) or (None,))


def _own_rates(folder: Folder) -> dict[str, str]:
    """Return what a task without labels measures, and how a reader is told."""
    task = find_task(folder.charter.model.task)
    if task.labelled:
        return {}
    return {name: rate.meaning.capitalize() for name, rate in task.rates.items()}


def _forest(folder: Folder, feature: str | None) -> Block:
    sections, rows = [], []
    questions = _questions(folder)
    for metric, question in questions.items():
        marks = []
        for name, estimate in _estimates(folder.tables, metric, feature):
            shape = 0 if name == "Everyone" else 1
            marks.append(_mark(name, estimate, shape=shape))
            rows.append((question, name, *estimate_cells(estimate)))
        sections.append(Section(title=question, marks=tuple(marks)))
    title = f"Rates by {feature_label(feature)}" if feature else "Rates over everyone"
    return Block(
        title=title,
        drawing=intervals(
            sections,
            name=f"rates-{(feature or 'everyone').replace('*', '-')}",
            title=title,
            description="; ".join(f"{a}, {b}: {c}, {d}" for a, b, c, d in rows),
            top=max([1.0, *(find_metric(metric).high for metric in questions)]),
        ),
        caption=(
            _COMPARE if feature else "The charter names no sensitive feature, so no group is apart."
        )
        + " A line is a 95 % interval; it includes both chance and the noise added for privacy. "
        "Long lines mean few records, not equal treatment.",
        table=Table(head=("Rate", "Group", "Value", "95 % interval"), rows=tuple(rows)),
    )


_COMPARE = "Look for a group whose whole line is apart from the others under the same heading."
# Figures of more classes than these, group by group, nobody reads; each can be asked for by name.
_MOST_FOUND, _MOST_GIVEN = 10, 5


def _questions(folder: Folder) -> dict[str, str]:
    """Return what is shown by group: the metric, and what it says."""
    label, measured = folder.charter.data.labels, folder.tables.layout.measured
    questions = {"accuracy_score": "Judged rightly, of all", **_own_rates(folder)}
    if label.classes is None:
        questions = {
            "true_positive_rate": f"Found, of those with {label.positive_name}",
            "false_positive_rate": f"Flagged, of those with {label.negative_name}",
            **questions,
            "selection_rate": "Flagged, of all",
        }
    elif len(label.names) <= _MOST_FOUND:
        questions |= {
            of_class("recall_score", name): f"Found, of those with {name}" for name in label.names
        }
        if len(label.names) <= _MOST_GIVEN:
            questions |= {
                of_class("selection_rate", name): f"Given {name}, of all" for name in label.names
            }
    return {metric: said for metric, said in questions.items() if metric in measured.metrics}


def of_each_class(folder: Folder, rate: str) -> tuple[str, ...]:
    """Return a rate of each class, where there are so few that a table can show them."""
    label = folder.charter.data.labels
    if label.classes is None or len(label.names) > _MOST_FOUND:
        return ()
    return tuple(of_class(rate, name) for name in label.names)


def withheld(folder: Folder) -> tuple[str, ...]:
    """Return one sentence for each group that is too small to show."""
    return tuple(
        f"{feature_label(feature)}, {group_label(name)}: {group.reason}"
        for feature in features(folder.tables)
        for name, group in by_group(folder.tables, "count", feature=feature).items()
        if group.suppressed
    )


def _estimates(tables: Tables, metric: str, feature: str | None) -> list[tuple[str, Estimate]]:
    found = by_group(tables, metric, feature=feature, confidence=CONFIDENCE) if feature else {}
    return [
        ("Everyone", overall(tables, metric, confidence=CONFIDENCE)),
        *((group_label(name), group.estimate) for name, group in found.items()),
    ]


def _mark(label: str, estimate: Estimate, *, shape: int) -> Mark:
    return Mark(
        label=label,
        value=estimate.figure,
        low=estimate.low,
        high=estimate.high,
        shape=shape,
        cut=estimate.cut,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Gaps:
    """The usual gaps between groups.

    Attributes:
        told: those that an estimate and an interval say something about.
        untold: those without an estimate, or whose interval spans more than half of what the
            metric can be.
        note: how many cannot be told, in a sentence; empty where all can.
    """

    told: Table
    untold: Table
    note: str

    @property
    def all(self) -> Table:
        """Every gap, those that cannot be told last."""
        return Table(head=self.told.head, rows=(*self.told.rows, *self.untold.rows))


_GAP_HEAD = ("Gap", "Value", "95 % interval", "Between")


def gaps(folder: Folder) -> Gaps:
    """Return the usual gaps for every feature, each with its interval and its extremes."""
    told: list[tuple[str, ...]] = []
    untold: list[tuple[str, ...]] = []
    measured = folder.tables.layout.measured
    for feature in features(folder.tables):
        own = (f"{metric}_difference" for metric in _own_rates(folder))
        for name in (*GAPS, *own):
            metric = find_metric(name)
            if not measured.answers(metric):
                continue
            estimate = aggregate(folder.tables, name, feature=feature, confidence=CONFIDENCE)
            wide = not estimate.high - estimate.low <= _USELESS * (metric.high - metric.low)
            unknown = not math.isfinite(estimate.figure)
            (untold if wide or unknown else told).append(_gap_row(name, feature, estimate))
    note = ""
    if untold:
        count = f"{len(untold)} gap{'s' if len(untold) > 1 else ''}"
        note = (
            f"{count}{' more' if told else ''} cannot be told on this evidence: there is no "
            "estimate, or the interval spans more than half of what the gap can be."
        )
    return Gaps(
        told=Table(head=_GAP_HEAD, rows=tuple(told)),
        untold=Table(head=_GAP_HEAD, rows=tuple(untold)),
        note=note,
    )


def _gap_row(metric: str, feature: str, estimate: Estimate) -> tuple[str, ...]:
    value, interval = estimate_cells(estimate)
    note = estimate.note if value != NOTHING else ""
    return f"{metric} by {feature_label(feature)}", value, interval, note.replace("*", " · ")


def objectives(gate: GateReport) -> Block:
    """Return the charter's objectives as intervals against their bars."""
    # Bars on benchmarks stand in a section of their own, with before and after.
    rules = [
        rule
        for rule in gate.rules
        if rule.topic == "people" and rule.evidence != BENCHMARKS and rule.name != WITHOUT_GROUPS
    ]
    rows = tuple(_objective_row(rule) for rule in rules)
    title = "The charter’s objectives"
    return Block(
        title=title,
        drawing=intervals(
            [Section(title=_short(rule.name), marks=(_objective_mark(rule),)) for rule in rules],
            name="objectives",
            title=title,
            description="; ".join(", ".join(row) for row in rows),
            top=_top(rules),
        ),
        caption=(
            "The shaded side is the good side of the bar that was agreed before the run. A rule "
            "holds only if the whole line is on the shaded side. It fails only if the whole line "
            "is on the other side. If the line crosses the bar, it cannot be decided."
        ),
        table=Table(head=("Objective", "Value", "Interval", "Bar", "Verdict"), rows=rows),
    )


def _top(rules: Sequence[Rule]) -> float:
    """Return the end of an axis that holds every bar and limit; 1 for shares."""
    known = [rule.figure for rule in rules if rule.figure is not None]
    ends = [end for one in known for end in (one.bar, one.high) if end is not None]
    return float(math.ceil(max([1.0, *filter(math.isfinite, ends)])))


def _objective_mark(rule: Rule) -> Mark:
    figure = rule.figure
    if figure is None:
        return Mark(label="", value=math.nan, low=0.0, high=1.0)
    value = math.nan if figure.value is None else figure.value
    return Mark(
        label=rule.verdict,
        value=value,
        low=0.0 if figure.low is None else figure.low,
        high=1.0 if figure.high is None else figure.high,
        shape={"pass": 0, "fail": 1}.get(rule.verdict, 2),
        # An objective without a value has its interval from its estimate; an undefined one, 0 to 1.
        cut=figure.value is None and (figure.low, figure.high) != (0.0, 1.0),
        tone=_TONES.get(rule.verdict, INK),
        bar=figure.bar,
        good=figure.direction,
    )


def _objective_row(rule: Rule) -> tuple[str, ...]:
    figure = rule.figure
    if figure is None:
        return rule.name, NOTHING, NOTHING, NOTHING, rule.verdict
    bar = f"{figure.direction.replace('-', ' ')} {number(figure.bar, 2)}"
    return (
        rule.name,
        NO_ESTIMATE if figure.value is None else number(figure.value),
        limits(figure.low, figure.high),
        bar.strip(),
        rule.verdict,
    )


def _short(name: str) -> str:
    return name.replace("_", " ").replace("*", " and ")


def roc_curves(folder: Folder) -> tuple[Block, ...]:
    """Return the ROC over everyone, by each feature that the histograms are crossed with."""
    layout = folder.tables.layout
    if "roc_auc_score" not in layout.measured.metrics:
        return ()
    crossed = [layout.features[axis].name for axis in layout.histogram_axes]
    return tuple(_roc(folder, feature) for feature in crossed or (None,))


def _roc(folder: Folder, feature: str | None) -> Block:
    tables = folder.tables
    groups = tables.layout.feature(feature).groups if feature else ()
    found = {"Everyone": roc(tables, confidence=CONFIDENCE)} | {
        group_label(group): roc(tables, feature=feature, group=group, confidence=CONFIDENCE)
        for group in groups
    }
    rows = tuple(_roc_row(name, curve) for name, curve in found.items())
    title = f"ROC by {feature_label(feature)}" if feature else "ROC"
    table = Table(head=("Group", "AUC", "95 % interval", "Bounds from the bins alone"), rows=rows)
    if _useless(found["Everyone"]):
        return Block(title=title, drawing=Markup(), caption=_UNDRAWN, table=table)
    return Block(
        title=title,
        drawing=curves(
            _lines(found),
            name=f"roc-{feature or 'everyone'}",
            title=title,
            description="; ".join(f"{row[0]}: AUC {row[1]} ({row[2]})" for row in rows),
            x="false positive rate",
            y="true positive rate",
        ),
        caption=(
            "The further a curve bends away from the diagonal of guessing, the better the scores "
            "tell the two labels apart in that group. The curves come from summed, noised "
            f"histograms with {_bins(tables.layout)}, reconciled with the counts; where noise made "
            "them fall, they were made to rise by least squares."
        ),
        table=table,
    )


def _bins(layout: Layout) -> str:
    if not layout.nested:
        return f"{layout.bins} bins"
    return f"{layout.bins} bins over everyone and {len(layout.coarse_edges) - 1} for each group"


_UNDRAWN = (
    "Not drawn: for so few records the noise on the histograms is larger than what they could "
    "show, as the intervals say."
)


def _useless(curve: RocCurve) -> bool:
    return not curve.auc.high - curve.auc.low < _USELESS


def _lines(found: dict[str, RocCurve]) -> Sequence[Line]:
    lines = []
    for name, curve in found.items():
        label = f"{name}: {' ['.join(estimate_cells(curve.auc))}]"
        if not curve.fpr.size:
            lines.append(
                Line(label=f"{name}: no curve, too few records for this noise", x=(), y=())
            )
        elif _useless(curve):
            lines.append(Line(label=f"{label}, not drawn", x=(), y=()))
        else:
            x, y = (tuple(float(one) for one in axis) for axis in (curve.fpr, curve.tpr))
            lines.append(Line(label=label, x=x, y=y))
    return lines


def _roc_row(name: str, curve: RocCurve) -> tuple[str, ...]:
    value, interval = estimate_cells(curve.auc)
    # What the bins certify was cut with the value.
    certified = NOTHING if curve.auc.cut else limits(curve.auc_bins_low, curve.auc_bins_high)
    return name, value, interval, certified


def calibration(folder: Folder) -> tuple[Block, ...]:
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
    table = Table(head=("Group", "Mean score", "Share positive", "95 % interval"), rows=rows)
    if _scattered(found["Everyone"]):
        return Block(title=title, drawing=Markup(), caption=_UNDRAWN, table=table)
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
        caption=(
            "On the diagonal a score equals the share of positives: of those given 0.7, 7 in 10 "
            "are positive. A group with points above the diagonal is scored too low, with points "
            "below it too high. Lines are 95 % intervals of each single point; points of few "
            "records scatter."
        ),
        table=table,
    )


def _diagrams(tables: Tables, feature: str | None) -> dict[str, Reliability | None]:
    groups = tables.layout.feature(feature).groups if feature else ()
    return {"Everyone": reliability(tables, confidence=CONFIDENCE)} | {
        group_label(group): reliability(tables, feature=feature, group=group, confidence=CONFIDENCE)
        for group in groups
    }


def _scattered(diagram: Reliability | None) -> bool:
    """Whether the points' intervals tell well calibrated from badly calibrated no more."""
    if diagram is None or not diagram.score.size:
        return True
    return not float(np.median(diagram.high - diagram.low)) < _USELESS


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
