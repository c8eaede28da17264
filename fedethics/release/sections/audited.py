"""The attack on the finished adapter: both loss histograms, its ROC, and what epsilon allows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import AccountingError
from fedethics.privacy.accounting import attack_bound
from fedethics.privacy.audit.membership import Audit, Opened
from fedethics.release.folder import Folder
from fedethics.release.gate import GateReport
from fedethics.release.membership import audit_of, opened_histograms, promised
from fedethics.release.plots import Line, curves, outlines
from fedethics.release.rules import audit as rule
from fedethics.release.sections.block import Block, Table, estimate_cells, limits, number


@dataclass(frozen=True, kw_only=True, slots=True)
class Audited:
    """What the pages show of the audit; figures are absent where nothing was attacked.

    Attributes:
        words: the gate's own sentence.
    """

    words: str
    figures: Table | None = None
    losses: Block | None = None
    curve: Block | None = None


def build(folder: Folder, verdict: GateReport) -> Audited:
    """Return the gate's sentence, and the figures where there are any."""
    words = next(one.sentence for one in verdict.rules if one.name == rule.NAME)
    try:
        opened, found = opened_histograms(folder), audit_of(folder)
    except AccountingError:
        return Audited(words=words)
    if opened is None or found is None:
        return Audited(words=words)
    return Audited(
        words=words,
        figures=_figures(folder, found),
        losses=_losses(folder, opened) if found.false_alarms else None,
        curve=_curve(folder, found) if found.false_alarms else None,
    )


def _figures(folder: Folder, found: Audit) -> Table:
    bar = promised(folder.charter)
    allowed = f"{bar:g}" if math.isfinite(bar) else "no limit"
    rows = [
        (
            "Epsilon that the attack shows, at least",
            number(found.epsilon, 2),
            f"with {found.confidence:.0%} confidence",
            allowed,
        ),
        (
            "The same, had it made no mistake",
            number(found.reach, 2),
            "what these numbers and this noise could show at most",
            allowed,
        ),
        ("Area under its curve (0.5 is guessing)", *estimate_cells(found.area), "no limit"),
    ]
    rows += [
        (
            f"Members found at {one.false_alarms:.0%} false alarms",
            number(one.found.value),
            limits(one.found.low, one.found.high),
            f"at most {number(one.allowed)}",
        )
        for one in found.caught
    ]
    return Table(head=("Figure", "Value", "95 % interval", "What epsilon allows"), rows=tuple(rows))


def _losses(folder: Folder, opened: Opened) -> Block:
    unit = folder.charter.privacy.unit
    title = f"How sure the adapter is of each {unit}’s true label"
    sides = {
        f"trained {unit}s": _shares(opened.members),
        f"held-out {unit}s": _shares(opened.non_members),
    }
    steps = np.linspace(0, 1, opened.bins + 1)
    rows = tuple(
        (f"{steps[i]:.2f} to {steps[i + 1]:.2f}", *(f"{side[i]:.3f}" for side in sides.values()))
        for i in range(opened.bins)
    )
    noise = tuple(
        number(math.sqrt(variance), 1)
        for variance in (opened.member_variance, opened.non_member_variance)
    )
    return Block(
        title=title,
        drawing=outlines(
            sides,
            name="audit-losses",
            title=title,
            description="; ".join(", ".join(row) for row in rows),
            x="probability given to the true label",
            y=f"share of {unit}s",
        ),
        caption=(
            "If the two lines coincide, the adapter treats trained and held-out records alike. If "
            "the trained line is further to the right, it has memorised some of them. The noise "
            f"in each step has standard deviation {noise[0]}, {noise[1]} {unit}s; so a step may "
            "fall below zero."
        ),
        table=Table(head=("Probability", *sides), rows=rows),
    )


def _curve(folder: Folder, found: Audit) -> Block:
    charter, bar = folder.charter, promised(folder.charter)
    grid = np.linspace(0, 1, 101)
    delta = charter.privacy.delta
    allowed = (
        [
            Line(
                label=f"the most that epsilon {bar:g}, delta {delta:g} allows",
                x=tuple(map(float, grid)),
                y=tuple(attack_bound(bar, delta, float(rate)) for rate in grid),
            )
        ]
        if math.isfinite(bar)
        else []
    )
    title = "The attack’s ROC"
    rows = tuple(
        (number(alarms), number(hits), number(attack_bound(bar, delta, alarms)))
        for alarms, hits in zip(found.false_alarms, found.found, strict=True)
    )
    attack = Line(label="attack by the loss", x=found.false_alarms, y=found.found)
    return Block(
        title=title,
        drawing=curves(
            [attack, *allowed],
            name="audit-curve",
            title=title,
            description="; ".join(f"{a} false alarms: {b} found, {c} allowed" for a, b, c in rows),
            x="held-out called trained (false alarms)",
            y="trained found",
        ),
        caption=(
            "On the diagonal the attack is guessing. A curve above the limit would mean that the "
            "promise is broken, apart from chance and noise, for which the bound in the gate "
            "allows. With few units and much noise the curve may bend either way."
        ),
        table=Table(head=("False alarms", "Found", "Allowed at most"), rows=rows),
    )


def _shares(histogram: NDArray[np.int64]) -> tuple[float, ...]:
    return tuple(float(count) for count in histogram / histogram.sum())
