"""The page that `fedethics budget plan --report` writes: self-contained, with inline figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from matplotlib.axes import Axes

from fedethics.cli.budget_plan import Plan
from fedethics.cli.output import readable as shown
from fedethics.privacy.meaning import NOT_COVERED
from fedethics.release.figures import MUTED, SERIES, canvas, inline
from fedethics.release.pages import stylesheet

_PAGE = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Privacy budget: {title}</title>
<style>{css}</style></head>
<body><main>
<h1>Privacy budget: {title}</h1>
{body}
</main></body></html>
"""


def page(plan: Plan) -> str:
    """Return the page; equal plans give equal bytes."""
    parts = [
        _refusal(plan),
        _section("What it takes", _table(("term", "value"), plan.facts())),
        _section("Warnings", _list(plan.warnings())) if plan.warnings() else "",
        _section("What it means", "".join(_paragraph(h, s) for h, s in plan.sentences())),
        _section("What it does not cover", _list(NOT_COVERED)),
        _sites(plan),
        *_figures(plan),
    ]
    return _PAGE.format(title=escape(plan.title), css=stylesheet(), body="\n".join(parts))


def _figures(plan: Plan) -> list[str]:
    if plan.sigma is None:
        return []
    curves = plan.curves()
    rounds, noise = curves["rounds"], curves["noise"]
    records = [(float(x), y) for x, y in plan.signals()]
    drawn = (
        ("rounds", "Epsilon against rounds", "rounds", "epsilon", rounds, plan.question.rounds),
        (
            "noise",
            "Epsilon against noise",
            "noise multiplier",
            "epsilon",
            noise,
            plan.sigma,
        ),
        ("signal", "Signal to noise of one step", "records", "signal / noise", records, None),
    )
    return [
        _section(title, _curve(name, title, x, y, points, mark) + _points(x, y, points))
        for name, title, x, y, points, mark in drawn
    ]


def _curve(
    name: str,
    title: str,
    x: str,
    y: str,
    points: Sequence[tuple[float, float]],
    mark: float | None,
) -> str:
    with canvas(height=240.0) as (figure, axes):
        axes.set_position((0.14, 0.2, 0.82, 0.74))
        axes.plot(*zip(*points, strict=True), color=SERIES[0], marker="o", linewidth=2)
        _scales(axes, points, logarithmic=name == "signal")
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if mark is not None:
            axes.axvline(mark, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2)
        words = "; ".join(f"{x} {shown(a)}: {y} {shown(b)}" for a, b in points)
        return str(inline(figure, name=f"plan-{name}", title=title, description=words))


def _scales(axes: Axes, points: Sequence[tuple[float, float]], *, logarithmic: bool) -> None:
    if logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.axhline(1.0, color=MUTED, linewidth=1)
    else:
        axes.set_xlim(left=0)
        axes.set_ylim(0, 1.08 * max(value for _, value in points))
    axes.grid(axis="y")


def _sites(plan: Plan) -> str:
    if not plan.sites:
        return ""
    rows = [
        (
            site.site,
            str(site.records),
            shown(site.signal_to_noise, 3),
            "; ".join(site.obstacles) or "yes",
            "; ".join(site.cautions),
        )
        for site in plan.sites
    ]
    heads = ("site", "records", "signal / noise of a step", "can take part", "but")
    return _section("Sites", _table(heads, rows))


def _refusal(plan: Plan) -> str:
    return f"<p><strong>{escape(plan.refusal)}</strong></p>" if plan.refusal else ""


def _points(x: str, y: str, points: Iterable[tuple[float, float]]) -> str:
    rows = [(shown(a), shown(b)) for a, b in points]
    return f"<details><summary>as a table</summary>{_table((x, y), rows)}</details>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _paragraph(heading: str, sentence: str) -> str:
    return f"<p><strong>{escape(heading)}:</strong> {escape(sentence)}</p>"


def _list(sentences: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences) + "</ul>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
