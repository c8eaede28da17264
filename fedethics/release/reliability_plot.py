"""Calibration as points with intervals: of those given a score, the share that was positive."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes

from fedethics.release.figures import CARD, RULE, WIDTH, canvas, inline, key, look
from fedethics.release.plots import Line, unit_axes

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
