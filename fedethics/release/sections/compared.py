"""The same task learned in other ways, beside this release."""

from __future__ import annotations

from statistics import fmean

from fedethics.release.comparison_plots import Cloud, Spot, dots, scatter
from fedethics.release.comparisons import Comparison, Comparisons
from fedethics.release.sections.block import NOTHING, Block, Table, limits, number

_GUESSING = 0.5


def build(found: Comparisons) -> Block:
    """Return the comparisons as dots, one a seed, with their table."""
    title = "Beside other ways to learn it"
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
            "Each dot is one seed, each bar their mean; the dashed line is guessing. Look at the "
            "spread before reading a difference into two bars. Only a simulation can draw this: it "
            "pools and isolates records, which no federation may."
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
            "Down is fairer, right is more useful. Large marks are means over seeds, small ones "
            "the seeds. A way that lies lower and further left buys its fairness with errors "
            "for everyone. Exact figures of a simulation, without noise."
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
