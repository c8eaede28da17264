"""The same task learned in other ways, beside this release.

The figures of what else was tried: dots, one a seed, and utility against a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from markupsafe import Markup
from matplotlib.axes import Axes

from fedethics.release.comparisons import Comparison, Comparisons
from fedethics.release.figures import (
    CARD,
    INK,
    MUTED,
    RULE,
    SERIES,
    WIDTH,
    canvas,
    inline,
    key,
    look,
)
from fedethics.release.plots import beside
from fedethics.release.sections.block import NOTHING, Block, Table, limits, number


@dataclass(frozen=True, kw_only=True, slots=True)
class Cloud:
    """One row of a dot plot: the value of each seed."""

    label: str
    values: tuple[float, ...] = field(default=())
    highlighted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Spot:
    """One way of learning: its utility and its gap for each seed."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


def dots(
    clouds: Sequence[Cloud], *, name: str, title: str, description: str, x: str, guess: float
) -> Markup:
    """Draw each row's values as dots with their mean, against the value of guessing."""
    height = 34.0 * len(clouds) + 52.0
    with canvas(height=height) as (figure, axes):
        axes.set_position((168 / WIDTH, 42 / height, 186 / WIDTH, 1 - 48 / height))
        values = [value for cloud in clouds for value in cloud.values]
        low, high = min([*values, guess]), max([*values, guess])
        pad = 0.06 * (high - low) + 0.005
        axes.axvline(guess, color=MUTED, linewidth=1.2, linestyle=(0, (2, 2)))
        for row, cloud in enumerate(clouds):
            _cloud(axes, row, cloud)
        axes.set_xlim(low - pad, high + pad)
        axes.set_ylim(len(clouds) - 0.5, -0.5)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", alpha=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(x)
        return inline(figure, name=name, title=title, description=description)


def _cloud(axes: Axes, row: int, cloud: Cloud) -> None:
    weight = "bold" if cloud.highlighted else "normal"
    beside(axes, 0.0, row, _wrapped(cloud.label), x=-164, weight=weight, size=11.5)
    if not cloud.values:
        return
    colour = SERIES[1] if cloud.highlighted else SERIES[0]
    mean = sum(cloud.values) / len(cloud.values)
    axes.plot(cloud.values, [row] * len(cloud.values), "o", color=colour, alpha=0.45, markersize=6)
    axes.plot([mean] * 2, [row - 0.3, row + 0.3], color=colour, linewidth=3)
    beside(axes, 1.0, row, f"{mean:.3f}", x=12, weight=weight)


def _wrapped(label: str, width: int = 26) -> str:
    if len(label) <= width:
        return label
    cut = label.rfind(" ", 0, width + 1)
    return label if cut < 0 else f"{label[:cut]}\n{label[cut + 1 :]}"


def scatter(
    spots: Sequence[Spot],
    *,
    name: str,
    title: str,
    description: str,
    x: str,
    y: str,
    bar: float | None = None,
) -> Markup:
    """Draw each way's mean with its seeds; the good corner is at the bottom right.

    Args:
        spots: the ways.
        name: identifier, unique on the page.
        title: what the figure is.
        description: what it shows, in words with numbers.
        x: label of the utility.
        y: label of the gap.
        bar: the agreed limit of the gap, drawn across.
    """
    legend = 18.0 * len(spots) + 10.0
    height = 300.0 + legend
    with canvas(height=height) as (figure, axes):
        axes.set_position((56 / WIDTH, (legend + 46) / height, 344 / WIDTH, 240 / height))
        for index, spot in enumerate(spots):
            colour, _, marker, face = look(index)
            axes.plot(
                spot.x, spot.y, marker,
                color=colour, markerfacecolor=face, alpha=0.35, markersize=5,
            )  # fmt: skip
            axes.plot(
                [fmean(spot.x)], [fmean(spot.y)], marker,
                color=colour, markerfacecolor=face, markersize=9,
                markeredgecolor=CARD if face == colour else colour, label=key(spot.label),
            )  # fmt: skip
        if bar is not None:
            axes.axhline(bar, color=INK, linewidth=1.4)
            axes.annotate(
                f"agreed: at most {bar:g}", (0, bar), xycoords=("axes fraction", "data"),
                xytext=(6, 5), textcoords="offset points", color=MUTED, fontsize=11,
            )  # fmt: skip
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.6, color=RULE)
        axes.set_axisbelow(True)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        figure.legend(loc="lower left", bbox_to_anchor=(40 / WIDTH, 0), borderaxespad=0)
        return inline(figure, name=name, title=title, description=description)


_GUESSING = 0.5


def build(found: Comparisons) -> Block:
    """Return the comparisons as dots, one a seed, with their table."""
    title = "Comparison with other ways to learn"
    return Block(
        title=title,
        drawing=dots(
            [
                Cloud(label=row.name, values=row.roc_auc, highlighted=row.released)
                for row in found.rows
            ],
            name="comparisons",
            title=title,
            description="; ".join(
                f"{row.name}: mean AUC {fmean(row.roc_auc):.3f} over {len(row.seeds)} seeds"
                for row in found.rows
            ),
            x="AUC on the same held-out records",
            guess=_GUESSING,
        ),
        caption=(
            "Each dot is one seed, each bar their mean; the dashed line is guessing. Compare the "
            "spread of the seeds before you conclude that two bars differ. Only a simulation can "
            "draw this: it pools and isolates records, which a federation must not do."
        ),
        table=Table(
            head=("What", "ε", "Seeds", "AUC", "Accuracy", "AUC at the worst site", "How"),
            rows=tuple(_row(row) for row in found.rows),
        ),
    )


def tradeoff(found: Comparisons) -> Block | None:
    """Return utility against the gap; None where no gap was taken."""
    taken = [row for row in found.rows if row.gap]
    if not taken or not found.gap_metric:
        return None
    gap = found.gap_metric.replace("_", " ")
    title = "Utility against fairness"
    rows = tuple((row.name, _spread(row.roc_auc), _spread(row.gap)) for row in taken)
    return Block(
        title=title,
        drawing=scatter(
            [Spot(label=row.name, x=row.roc_auc, y=row.gap) for row in taken],
            name="tradeoff",
            title=title,
            description="; ".join(f"{a}: AUC {b}, gap {c}" for a, b, c in rows),
            x="AUC on the same held-out records",
            y=gap,
            bar=found.gap_bar,
        ),
        caption=(
            "Lower is fairer, further right is more useful. Large marks are means over seeds, "
            "small marks are single seeds. A method that is lower and further left is fairer at "
            "the price of more errors for everyone. Exact figures of a simulation, without noise."
        ),
        table=Table(head=("What", "AUC", gap), rows=rows),
    )


def _row(row: Comparison) -> tuple[str, ...]:
    return (
        row.name,
        "no DP" if row.epsilon is None else f"{row.epsilon:g}",
        ", ".join(str(seed) for seed in row.seeds),
        _spread(row.roc_auc),
        _spread(row.accuracy),
        _spread(row.worst_site_auc),
        row.what,
    )


def _spread(values: tuple[float, ...]) -> str:
    if not values:
        return NOTHING
    if len(values) == 1:
        return number(values[0])
    return f"{fmean(values):.3f} ({limits(min(values), max(values))})"
