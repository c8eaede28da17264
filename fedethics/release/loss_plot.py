"""Two histograms over the unit interval, drawn as shares of their own totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from fedethics.release.figures import RULE, WIDTH, canvas, inline, key, look

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
