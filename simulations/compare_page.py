"""The comparison of methods as a table for the terminal and as one page that opens offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from markupsafe import Markup, escape
from rich.table import Table

from fedethics import texts
from fedethics.charter.ethics_terms import Objective
from fedethics.charter.model import Charter
from fedethics.cli.output import table as terminal_table
from fedethics.release.pages import stylesheet
from fedethics.release.sections.compared import Spot, scatter

_SHORT = ("method", "eps", "accuracy", "gap", "ratio", "points")
_HEAD = ("method", "epsilon", "accuracy", "AUC", "gap", "gap over none's", "accuracy less none's")
_CAPTION = (
    "Exact figures on all held-out records, mean (least to most) over seeds, each with its own "
    "start, sampling and noise. A simulation can see them; a federation sees noised sums. Epsilon "
    "is for one unit of the training records, counts by group included; thresholds rest on the "
    "evaluation's budget besides. Step and bounds of the weights were not tuned under DP."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One method with or without DP; one number a seed."""

    method: str
    what: str
    epsilon: float | None
    accuracy: tuple[float, ...]
    roc_auc: tuple[float, ...]
    gap: tuple[float, ...]
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The method and whether it is private."""
        return f"{self.method}, {'no DP' if self.epsilon is None else f'epsilon {self.epsilon:g}'}"


def table(lines: Sequence[Line], objective: Objective) -> Table:
    """Return the table for the terminal."""
    title = (
        f"Gap: {objective.metric} by {objective.feature}, bar {objective.bar:g}. Mean and half the "
        "range over seeds; ratio of the gap to none's, points of accuracy less none's"
    )
    return terminal_table(title, _SHORT, [_short(line, lines) for line in lines])


def _short(line: Line, lines: Sequence[Line]) -> tuple[str, ...]:
    method, epsilon, _, _, _, ratio, cost = _row(line, lines)
    around = (
        f"{fmean(values):.3f} ± {(max(values) - min(values)) / 2:.3f}"
        for values in (line.accuracy, line.gap)
    )
    return method, epsilon, *around, ratio, cost.removesuffix(" points")


def page(lines: Sequence[Line], charter: Charter, objective: Objective) -> str:
    """Return the page: plot, table, what each method is, and what the figures rest on."""
    gap = f"{objective.metric.replace('_', ' ')} by {objective.feature}"
    rows = [_row(line, lines) for line in lines]
    drawing = scatter(
        [Spot(label=line.name, x=line.accuracy, y=line.gap) for line in lines],
        name="methods",
        title="Accuracy against the gap",
        description="; ".join(
            f"{row[0]} {row[1]}: accuracy {row[2]}, gap {row[4]}" for row in rows
        ),
        x="accuracy on the held-out records",
        y=gap,
        bar=objective.bar,
    )
    body = Markup("").join(
        (
            Markup("<h1>{}</h1>").format(f"Closing a gap: {charter.name}"),
            Markup("<p>{}</p>").format(charter.data.source),
            Markup("<figure>{}</figure>").format(drawing),
            Markup("<p>{}</p>").format(_CAPTION),
            _html_table(_HEAD, rows),
            Markup("<h2>What each method is</h2>"),
            _html_table(("method", "what"), sorted({(line.method, line.what) for line in lines})),
            *(Markup("<p>{}</p>").format(note) for line in lines for note in line.notes),
        )
    )
    style = Markup(stylesheet())  # noqa: S704  our own file
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(charter.name)}: methods compared</title><style>{style}</style></head>"
        f"<body><main>{texts.printed(body)}</main></body></html>\n"
    )


def _row(line: Line, lines: Sequence[Line]) -> tuple[str, ...]:
    plain = next((x for x in lines if x.method == "none" and x.epsilon == line.epsilon), None)
    ratio = cost = "-"
    if plain is not None and plain is not line:
        ratio = f"{fmean(line.gap) / fmean(plain.gap):.2f}"
        cost = f"{100 * (fmean(line.accuracy) - fmean(plain.accuracy)):+.1f} points"
    return (
        line.method,
        "no DP" if line.epsilon is None else f"{line.epsilon:g}",
        _spread(line.accuracy),
        _spread(line.roc_auc),
        _spread(line.gap),
        ratio,
        cost,
    )


def _spread(values: Sequence[float]) -> str:
    return f"{fmean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    cells = Markup("").join(Markup("<th>{}</th>").format(word) for word in head)
    lines = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row)
        )
        for row in rows
    )
    return Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(cells, lines)
