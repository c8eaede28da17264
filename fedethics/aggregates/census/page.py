"""The census of a run as a page and as data, from the moment in which it was opened."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from fedethics import canonical, terms
from fedethics.aggregates.census.gate import missed_bars
from fedethics.aggregates.census.layout import EVERYONE
from fedethics.aggregates.census.opened import OpenedCensus, required
from fedethics.aggregates.census.report import explanation_of, tables_of
from fedethics.aggregates.census.words import words_of_groups
from fedethics.canonical import Json
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.errors import AccountingError, ReleaseError
from fedethics.fairness import Estimate
from fedethics.release import durable, evidence
from fedethics.release.evidence import Counted
from fedethics.release.folder import CHARTER, EVIDENCE
from fedethics.release.pages import render, stylesheet
from fedethics.release.sections.block import Table

_STATE = "state.json"


@dataclass(frozen=True, kw_only=True)
class TakenCensus:
    """A census and whose it is.

    Attributes:
        charter: that asked for it.
        census: the opened sum.
        missed: as sentences, the bars that it shows to be missed.
    """

    charter: Charter
    census: OpenedCensus
    missed: tuple[str, ...]

    @property
    def tables(self) -> dict[str, Table]:
        """The tables, by caption."""
        return tables_of(self.census)

    @property
    def words(self) -> str:
        """What it says of the charter's bars, in one paragraph."""
        terms = self.census.terms
        counted = f"About {self.census.records():.0f} records were counted, with noise of "
        counted += f"std {math.sqrt(self.census.variance):.1f} on each count."
        barless = terms.minimum is None and terms.largest_difference is None
        bars = " ".join(self.missed) or (
            "The charter sets no bar."
            if barless
            else "It shows no bar of the charter to be missed."
        )
        return f"{counted} {bars}"

    def document(self) -> dict[str, Json]:
        """Return every figure with its interval, as data."""
        census = self.census
        features = [name for name in census.layout.features if name != EVERYONE]
        return {
            "charter": self.charter.name,
            "charter-hash": document.hash_of(self.charter),
            "epsilon": census.terms.epsilon,
            "noise-std": math.sqrt(census.variance),
            "confidence": census.terms.confidence,
            "records": census.records(),
            "missed": list(self.missed),
            "groups": {name: _groups(census, name) for name in features},
            "labels": {
                name: _pairs(census.labels(name), "label") for name in census.layout.features
            },
            "missing": _pairs({(g, c): one for (c, g), one in census.missing().items()}, "column"),
            "lengths": _pairs({(g, b): one for (b, g), one in census.lengths().items()}, "length"),
            "words": [
                {
                    "word": each.word,
                    "group": each.group,
                    "log-odds": _estimate(each.log_odds),
                    "p": each.p,
                    "stands": each.found,
                }
                for each in words_of_groups(census)
            ],
        }

    def page(self) -> str:
        """Return one self-contained page of HTML."""
        return render(
            "census.html.j2",
            {
                "charter": self.charter,
                "charter_hash": document.hash_of(self.charter),
                "words": self.words,
                "explanation": explanation_of(self.census),
                "tables": self.tables,
                # Safe: it is this package's own.
                "css": Markup(stylesheet()),  # noqa: S704
            },
        )


def taken(charter: Charter, counted: tuple[Counted, ...] | None) -> TakenCensus:
    """Return the census among a run's opened sums.

    Raises:
        AccountingError: there is none.
    """
    census = required(charter, counted)
    return TakenCensus(charter=charter, census=census, missed=missed_bars(charter, counted))


def read_census(run: Path) -> TakenCensus:
    """Return the census of a run's directory, closed or not.

    Raises:
        ReleaseError: not a run's directory, or a file of it cannot be read.
        CharterError: its charter is none.
        AccountingError: no census was opened there.
    """
    if not (run / CHARTER).is_file():
        raise ReleaseError(f"{run} is no run's directory: it has no {CHARTER}")
    charter = document.parse(durable.read(run / CHARTER))
    if charter.census is None:
        raise AccountingError(f"{run}: its charter asks for no census")
    if (run / EVIDENCE).is_file():
        return taken(charter, evidence.load(run / EVIDENCE).counted)
    return taken(charter, _counted(run / _STATE))


def _counted(path: Path) -> tuple[Counted, ...]:
    """Return the opened sums of a job that is not closed."""
    if not path.is_file():
        return ()
    try:
        table = canonical.parse(durable.read(path))
    except ValueError as error:
        raise ReleaseError(f"{path} is damaged: {error}") from error
    listed = table.get("counted") if isinstance(table, dict) else None
    problems: list[str] = []
    found = [
        terms.read(Counted, entry, path=f"counted[{place}]", problems=problems)
        for place, entry in enumerate(listed if isinstance(listed, list) else [])
    ]
    if problems:
        raise ReleaseError(f"{path} is damaged: {'; '.join(problems)}")
    return tuple(entry for entry in found if entry is not None)


def _groups(census: OpenedCensus, feature: str) -> Json:
    reference, shares = census.terms.of(feature), census.shares(feature)
    sites = census.holding(feature)
    return [
        {
            "group": group,
            "records": _estimate(one),
            "share": _estimate(shares[group]) if group in shares else None,
            "reference": reference.by_group.get(group) if reference else None,
            "sites": _estimate(sites[group]) if sites else None,
        }
        for group, one in census.people(feature).items()
    ]


def _pairs(found: dict[tuple[str, str], Estimate], what: str) -> Json:
    return [
        {"group": group, what: name, "share": _estimate(one)}
        for (group, name), one in found.items()
    ]


def _estimate(one: Estimate) -> Json:
    """Return value and limits; None for what is undefined or unbounded."""
    sides = {"value": one.figure, "low": one.low, "high": one.high}
    return {name: side if math.isfinite(side) else None for name, side in sides.items()}
