"""The report's figures, drawn from plain numbers: intervals, curves, steps and dots.

Every mark has a shape or a dash besides its colour, so that nothing depends on seeing colour.

Two histograms over the unit interval, drawn as shares of their own totals.

Calibration as points with intervals: of those given a score, the share that was positive.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from fedethics.release.figures import (
    CARD,
    INK,
    MARKERS,
    MUTED,
    RULE,
    WIDTH,
    canvas,
    inline,
    key,
    look,
)

# Characters to a line of a heading and of a row's label, so that neither leaves the drawing.
_TITLE_WIDTH, _LABEL_WIDTH = 54, 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One row of an interval plot: a value, its limits, and how it is drawn.

    Attributes:
        bar: a limit agreed beforehand, drawn across the row.
        good: the side of `bar` that is good.
        cut: the interval stands without a value.
        tone: a colour of `figures`.
    """

    label: str
    value: float
    low: float
    high: float
    shape: int = 0
    tone: str = INK
    bar: float | None = None
    good: Literal["at-most", "at-least", ""] = ""
    cut: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Rows of an interval plot under one heading."""

    title: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One curve, with an optional band around it."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


def intervals(
    sections: Sequence[Section], *, name: str, title: str, description: str, top: float = 1.0
) -> Markup:
    """Draw rates or gaps with their intervals on a common axis from 0 to `top`."""
    rows = sum(len(section.marks) + 1 + 0.6 * _extra_lines(section) for section in sections)
    height = 27.0 * rows + 40.0
    with canvas(height=height) as (figure, axes):
        longest = max(len(mark.label) for section in sections for mark in section.marks)
        left = min(max(7.4 * longest + 30.0, 96.0), 178.0)
        width = (WIDTH - left - 114.0) / WIDTH
        axes.set_position((left / WIDTH, 30 / height, width, 1 - 36 / height))
        row = 0.0
        for section in sections:
            heading = textwrap.fill(section.title, _TITLE_WIDTH)
            beside(axes, 0.0, row + 0.1, heading, weight="bold", x=4 - left)
            row += 0.6 * _extra_lines(section)
            for mark in section.marks:
                row += 1
                _interval(axes, row, mark, left=14 - left)
            row += 1
        axes.set_ylim(row - 0.3, -0.5)
        _unit_axis(axes, top=top)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        return inline(figure, name=name, title=title, description=description)


def _extra_lines(section: Section) -> int:
    # Lines of a heading besides the first.
    return len(textwrap.wrap(section.title, _TITLE_WIDTH)) - 1


def _interval(axes: Axes, row: float, mark: Mark, *, left: float) -> None:
    long = len(mark.label) > _LABEL_WIDTH
    label = textwrap.fill(mark.label, _LABEL_WIDTH + 6) if long else mark.label
    beside(axes, 0.0, row, label, x=left, size=9.5 if long else 12)
    if mark.bar is not None and mark.good:
        good = (0.0, mark.bar) if mark.good == "at-most" else (mark.bar, 1.0)
        axes.fill_between(good, row - 0.36, row + 0.36, color=RULE, alpha=0.55, linewidth=0)
        axes.plot([mark.bar] * 2, [row - 0.42, row + 0.42], color=INK, linewidth=1.6)
    if mark.cut or math.isfinite(mark.value):
        axes.plot([mark.low, mark.high], [row, row], color=mark.tone, linewidth=2.2)
    if math.isfinite(mark.value):
        axes.plot(
            [mark.value],
            [row],
            color=mark.tone,
            marker=MARKERS[mark.shape % len(MARKERS)],
            markersize=7,
            markeredgecolor=CARD,
            markeredgewidth=1,
            clip_on=False,
            zorder=5,
        )
        note = f"{mark.value:.2f}  [{mark.low:.2f}, {mark.high:.2f}]"
    elif mark.cut:
        note = f"–  [{mark.low:.2f}, {mark.high:.2f}]"
    else:
        note = "not defined"
    beside(axes, 1.0, row, note, x=12, color=MUTED, size=11)


def beside(
    axes: Axes,
    edge: float,
    row: float,
    text: str,
    *,
    x: float,
    weight: str = "normal",
    color: str = INK,
    size: float = 12,
) -> None:
    """Write beside the axes, `x` units from `edge`, at the height of `row`."""
    axes.annotate(
        text,
        (edge, row),
        xycoords=("axes fraction", "data"),
        xytext=(x, 0),
        textcoords="offset points",
        va="center",
        ha="left",
        color=color,
        fontweight=weight,
        fontsize=size,
        annotation_clip=False,
        # Headings reach over the grid lines; a plain ground keeps them readable.
        bbox={"facecolor": CARD, "edgecolor": "none", "pad": 1.0},
        zorder=1.5,
    )


def curves(
    lines: Sequence[Line], *, name: str, title: str, description: str, x: str, y: str
) -> Markup:
    """Draw curves in the unit square, with the diagonal of guessing."""
    height = 356.0 + 18.0 * len(lines)
    with canvas(height=height) as (figure, axes):
        legend = 18.0 * len(lines) + 10.0
        axes.set_position((52 / WIDTH, (legend + 46) / height, 340 / WIDTH, 300 / height))
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=1.2)
        for index, line in enumerate(lines):
            axes.plot(
                line.x,
                line.y,
                color=look(index).colour,
                linestyle=look(index).dash,
                linewidth=2,
                label=key(line.label),
            )
        unit_axes(axes)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        figure.legend(
            loc="lower left", bbox_to_anchor=(40 / WIDTH, 0), borderaxespad=0, handlelength=2.6
        )
        return inline(figure, name=name, title=title, description=description)


def over_rounds(
    lines: Sequence[Line],
    *,
    name: str,
    title: str,
    description: str,
    y: str,
    top: float | None = None,
    limits: Sequence[tuple[float, str]] = (),
) -> Markup:
    """Draw lines over rounds, with bands and horizontal limits where given."""
    height = 236.0 + 18.0 * len(lines)
    with canvas(height=height) as (figure, axes):
        legend = 18.0 * len(lines) + 10.0
        axes.set_position((52 / WIDTH, (legend + 44) / height, 356 / WIDTH, 170 / height))
        for index, line in enumerate(lines):
            _over(axes, line, index=index)
        for value, words in limits:
            axes.axhline(value, color=INK, linewidth=1.4)
            axes.annotate(
                words,
                (0, value),
                xycoords=("axes fraction", "data"),
                xytext=(6, -5),
                textcoords="offset points",
                va="top",
                color=MUTED,
                fontsize=11,
            )
        axes.set_ylim(0, top)
        rounds = sorted({value for line in lines for value in line.x})
        axes.set_xticks(_thinned(rounds))
        axes.grid(axis="y", alpha=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel("round")
        axes.set_ylabel(y)
        figure.legend(
            loc="lower left", bbox_to_anchor=(40 / WIDTH, 0), borderaxespad=0, handlelength=2.6
        )
        return inline(figure, name=name, title=title, description=description)


def _over(axes: Axes, line: Line, *, index: int) -> None:
    colour, dash, marker, face = look(index)
    axes.plot(
        line.x,
        line.y,
        color=colour,
        linestyle=dash,
        linewidth=2,
        marker=marker,
        markersize=5.5,
        markerfacecolor=face,
        markeredgecolor=CARD if face == colour else colour,
        label=key(line.label),
        clip_on=False,
    )
    if line.low:
        axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.13, linewidth=0)


def unit_axes(axes: Axes) -> None:
    """Set both axes to the unit square."""
    _unit_axis(axes)
    axes.set_ylim(-0.01, 1.01)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], labels=["0", ".25", ".5", ".75", "1"])


def _unit_axis(axes: Axes, *, top: float = 1.0) -> None:
    ticks = [0, top / 4, top / 2, 3 * top / 4, top]
    axes.set_xlim(-0.01 * top, 1.01 * top)
    axes.set_xticks(ticks, labels=[f"{tick:.3g}".removeprefix("0") or "0" for tick in ticks])
    axes.grid(alpha=0.6)
    axes.set_axisbelow(True)


def _thinned(rounds: Sequence[float], most: int = 12) -> list[float]:
    step = max(1, math.ceil(len(rounds) / most))
    # Counted from the end: the last round is the one that is released.
    return list(rounds[::-1][::step])[::-1]


_TICKS = (0, 0.25, 0.5, 0.75, 1)


def outlines(
    shares: Mapping[str, Sequence[float]],
    *,
    name: str,
    title: str,
    description: str,
    x: str,
    y: str,
) -> Markup:
    """Draw the outline of each histogram, by its label; noise may push a bin below zero."""
    height = 236.0 + 18.0 * len(shares)
    with canvas(height=height) as (figure, axes):
        legend = 18.0 * len(shares) + 10.0
        axes.set_position((52 / WIDTH, (legend + 44) / height, 356 / WIDTH, 170 / height))
        axes.axhline(0, color=RULE, linewidth=1.2)
        for index, (label, values) in enumerate(shares.items()):
            axes.stairs(
                values,
                np.linspace(0, 1, len(values) + 1),
                color=look(index).colour,
                linestyle=look(index).dash,
                linewidth=2,
                label=key(label),
                baseline=None,
            )
        axes.set_xlim(0, 1)
        axes.set_xticks(_TICKS, labels=["0", ".25", ".5", ".75", "1"])
        axes.grid(axis="y", alpha=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        figure.legend(
            loc="lower left", bbox_to_anchor=(40 / WIDTH, 0), borderaxespad=0, handlelength=2.6
        )
        return inline(figure, name=name, title=title, description=description)


# Groups share their scores' bins; a small shift keeps their intervals apart.
_SHIFT = 0.014


def reliability_points(
    lines: Sequence[Line], *, name: str, title: str, description: str, x: str, y: str
) -> Markup:
    """Draw each line's points with their intervals in the unit square, and the diagonal."""
    legend = 18.0 * len(lines) + 10.0
    height = 356.0 + 18.0 * len(lines)
    with canvas(height=height) as (figure, axes):
        axes.set_position((52 / WIDTH, (legend + 46) / height, 340 / WIDTH, 300 / height))
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=1.2)
        for index, line in enumerate(lines):
            _points(axes, line, index=index, shift=_SHIFT * (index - (len(lines) - 1) / 2))
        unit_axes(axes)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        figure.legend(loc="lower left", bbox_to_anchor=(40 / WIDTH, 0), borderaxespad=0)
        return inline(figure, name=name, title=title, description=description)


def _points(axes: Axes, line: Line, *, index: int, shift: float) -> None:
    colour, _, marker, face = look(index)
    shifted = [value + shift for value in line.x]
    axes.vlines(shifted, line.low, line.high, color=colour, linewidth=1.6, alpha=0.75)
    axes.plot(
        shifted,
        line.y,
        color=colour,
        linestyle="none",
        marker=marker,
        markersize=6.5,
        markerfacecolor=face,
        markeredgecolor=CARD if face == colour else colour,
        label=key(line.label),
        clip_on=False,
    )
