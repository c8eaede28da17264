"""The outcome of several runs: a CSV file, a table for the terminal, and a page with plots."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from markupsafe import Markup, escape
from rich.table import Table

from fedethics import texts
from fedethics.canonical import Json
from fedethics.cli.output import table as terminal_table
from fedethics.release import durable
from fedethics.release.pages import stylesheet
from fedethics.release.plots import Mark, Section, intervals
from fedethics.release.rules.rule import Outcome, Rule

TABLE = "trials.csv"
PAGE = "trials.html"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One run of a sweep.

    Attributes:
        number: counted from 1.
        point: what the grid sets in it, by key of the charter.
        seed: the adapter's; None for the charter's own.
        base: what is set in every trial.
    """

    number: int
    point: Mapping[str, Any]
    seed: int | None
    base: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of its directory, and its run's id."""
        return f"trial-{self.number:03d}"

    @property
    def all_settings(self) -> dict[str, Any]:
        """Every key of the charter that is set for it."""
        seed = {} if self.seed is None else {"adapter.seed": self.seed}
        return {**self.base, **self.point, **seed}

    @property
    def where(self) -> str:
        """The point of the grid, in words."""
        return ", ".join(f"{key} = {value}" for key, value in self.point.items()) or "the charter"

    @property
    def said(self) -> str:
        """The point and the seed, in words."""
        return self.where if self.seed is None else f"{self.where}, seed {self.seed}"

    @property
    def document(self) -> Json:
        """What a resumed sweep must have again."""
        return {"name": self.name, "set": self.all_settings}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A trial and the gate's answer to it."""

    trial: Trial
    verdict: Outcome
    rules: tuple[Rule, ...]

    @property
    def measured(self) -> dict[str, Rule]:
        """The objectives, by their short label."""
        return {rule.name: rule for rule in self.rules if rule.topic == "people" and rule.figure}


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """One figure over the seeds of a point: mean, least, most, and their standard deviation."""

    values: tuple[float, ...]

    def __str__(self) -> str:
        """Spell it; "no estimate" where noise left none."""
        if not self.values:
            return "no estimate"
        if len(self.values) == 1:
            return f"{self.values[0]:.3f}"
        low, high = min(self.values), max(self.values)
        around = f"sd {stdev(self.values):.3f}, {low:.3f} to {high:.3f}"
        return f"{fmean(self.values):.3f} ({around}, {len(self.values)} runs)"


def write(found: Sequence[Finished], path: Path, *, sentence: str) -> None:
    """Write the CSV file and the page into the sweep's directory.

    Raises:
        ReleaseError: they cannot be written.
    """
    durable.write(path / TABLE, csv_of(found).encode("utf-8"))
    durable.write(path / PAGE, page(found, sentence=sentence).encode("utf-8"))


def csv_of(found: Sequence[Finished]) -> str:
    """Return one line for each trial: settings, seed, verdict, each objective with its interval."""
    keys = list(dict.fromkeys(key for one in found for key in one.trial.point))
    names = list(dict.fromkeys(name for one in found for name in one.measured))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    parts = ("value", "low", "high", "verdict")
    heads = [f"{name} {part}" for name in names for part in parts]
    writer.writerow(["trial", *keys, "seed", "verdict", *heads])
    for one in found:
        cells: list[object] = [one.trial.name, *(one.trial.point.get(key, "") for key in keys)]
        cells += ["" if one.trial.seed is None else one.trial.seed, one.verdict]
        for name in names:
            rule = one.measured.get(name)
            figure = rule.figure if rule else None
            numbers = (figure.value, figure.low, figure.high) if figure else (None,) * 3
            cells += ["" if number is None else f"{number:.6f}" for number in numbers]
            cells.append(rule.verdict if rule else "")
        writer.writerow(cells)
    return out.getvalue()


def by_point(found: Sequence[Finished]) -> dict[str, list[Finished]]:
    """Return the trials of each point of the grid, in their order."""
    points: dict[str, list[Finished]] = {}
    for one in found:
        points.setdefault(one.trial.where, []).append(one)
    return points


def rows(found: Sequence[Finished]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the heads and the rows of the table: one row for each point of the grid."""
    names = list(dict.fromkeys(name for one in found for name in one.measured))
    lines = []
    for where, ones in by_point(found).items():
        verdicts = [one.verdict for one in ones]
        counted = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
        lines.append((where, counted, *(str(_spread(ones, name)) for name in names)))
    return ("settings", "verdicts", *(name.replace("_", " ") for name in names)), lines


def table(found: Sequence[Finished]) -> Table:
    """Return the table for the terminal."""
    heads, lines = rows(found)
    return terminal_table("Each objective from noised sums: mean over the seeds", heads, lines)


def page(found: Sequence[Finished], *, sentence: str) -> str:
    """Return the page: what it would have cost, a plot of each objective, the table."""
    heads, lines = rows(found)
    body = Markup("").join(
        (
            Markup("<h1>Runs compared</h1>"),
            Markup("<p>{}.</p>").format(sentence),
            Markup(
                "<p>Figures are the gate's, from noised sums. A bar spans the seeds of one point, "
                "least to most, with the mean marked; it is no confidence interval. Choosing the "
                "best of several runs is a choice that no epsilon above covers unless every run "
                "is paid for.</p>"
            ),
            Markup("<figure>{}</figure>").format(_plot(found)) if _sections(found) else Markup(""),
            _html_table(heads, lines),
        )
    )
    style = Markup(stylesheet())  # noqa: S704  our own file
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape('Runs compared')}</title><style>{style}</style></head>"
        f"<body><main>{texts.printed(body)}</main></body></html>\n"
    )


def _spread(ones: Sequence[Finished], name: str) -> Spread:
    figures = [rule.figure for one in ones if (rule := one.measured.get(name))]
    return Spread(values=tuple(f.value for f in figures if f and f.value is not None))


def _sections(found: Sequence[Finished]) -> list[Section]:
    names = list(dict.fromkeys(name for one in found for name in one.measured))
    sections = []
    for name in names:
        marks = []
        for index, (where, ones) in enumerate(by_point(found).items()):
            values = _spread(ones, name).values
            figure = next((r.figure for one in ones if (r := one.measured.get(name))), None)
            if values and figure is not None and max(values) <= 1:
                marks.append(
                    Mark(
                        label=f"{index + 1}: {where}"[:60],
                        value=fmean(values),
                        low=min(values),
                        high=max(values),
                        shape=index,
                        bar=figure.bar,
                        good=figure.direction,
                    )
                )
        if marks:
            sections.append(Section(title=name.replace("_", " "), marks=tuple(marks)))
    return sections


def _plot(found: Sequence[Finished]) -> Markup:
    heads, lines = rows(found)
    described = "; ".join(", ".join(f"{h} {c}" for h, c in zip(heads, line)) for line in lines)  # noqa: B905
    return intervals(
        _sections(found),
        name="trials",
        title="Objectives at each point",
        description=described,
    )


def _html_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> Markup:
    cells = Markup("").join(Markup("<th>{}</th>").format(word) for word in head)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup("<td>{}</td>").format(cell) for cell in line)
        )
        for line in lines
    )
    return Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(cells, body)
