"""The answer of `fedethics budget plan --held-out`: what the gate will be able to conclude."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from fedethics.charter.model import Charter
from fedethics.cli.output import table
from fedethics.errors import FairnessError
from fedethics.foresight import words
from fedethics.foresight.chances import TRUTHS
from fedethics.foresight.forecast import Forecast
from fedethics.foresight.of_charter import Declared

N = TypeVar("N", int, float)
HeldOut = Annotated[
    int | None, typer.Option(help="Held-out records of all sites: foresee the verdicts.")
]
Groups = Annotated[
    list[str] | None, typer.Option(help="FEATURE=N,N of them by group; repeat for more.")
]
BaseRate = Annotated[
    list[str] | None,
    typer.Option(help="R, or FEATURE=R,R: share of positive labels, by group; repeatable."),
]
Classes = Annotated[
    str | None, typer.Option(help="N,N,N of them by class, where there are several.")
]
Accuracy = Annotated[
    float | None, typer.Option(help="Share that the model is expected to get right.")
]

Census = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN", help="Take groups and labels from the census of this run's directory."
    ),
]


def by_census(
    charter: Charter, run: Path | None, held_out: int | None, accuracy: float | None
) -> Declared | None:
    """Return the held-out records as the census of a run shows them; None without a run.

    Raises:
        FairnessError: the census is of other groups, or shows nobody.
        ReleaseError: not a run's directory.
        AccountingError: no census was opened there.
    """
    if run is None:
        return None
    from fedethics.aggregates.census.page import read_census  # here: it needs numpy and scipy
    from fedethics.foresight.of_census import declared_of

    found = read_census(run).census
    return declared_of(charter, found, held_out=held_out, accuracy=accuracy)


def declared(
    held_out: int | None,
    groups: list[str],
    base_rates: list[str],
    accuracy: float | None,
    *,
    census: Path | None = None,
    classes: str | None = None,
) -> Declared | None:
    """Read the options; None where verdicts are not asked for, or where a census says it all.

    Raises:
        FairnessError: an option without --held-out or beside a census, or one that is not spelled
            as it must be.
    """
    if census is not None:
        if groups or base_rates or classes:
            raise FairnessError(
                "--census says what --groups, --base-rate and --classes would; give the one or "
                "the other"
            )
        return None
    if held_out is None:
        if groups or base_rates or accuracy is not None or classes:
            raise FairnessError(
                "--groups, --base-rate, --classes and --accuracy describe held-out records: give "
                "their number with --held-out N"
            )
        return None
    overall = [given for given in base_rates if "=" not in given]
    if len(overall) > 1:
        raise FairnessError("--base-rate: one share over everyone, given once")
    return Declared(
        records=held_out,
        groups=_by_feature("--groups", groups, int, "sex=58,199"),
        base_rate=_number("--base-rate", overall[0], float, "0.44") if overall else None,
        base_rates=_by_feature(
            "--base-rate", [one for one in base_rates if "=" in one], float, "sex=0.26,0.63"
        ),
        accuracy=accuracy,
        classes=tuple(
            _number("--classes", one, int, "120,80,40") for one in (classes or "").split(",") if one
        ),
    )


def _by_feature(
    option: str, given: list[str], kind: Callable[[str], N], example: str
) -> dict[str, tuple[N, ...]]:
    found: dict[str, tuple[N, ...]] = {}
    for entry in given:
        name, _, listed = entry.partition("=")
        if not name or not listed:
            raise FairnessError(f"{option} {entry!r}: expected FEATURE=N,N, as {example}")
        if name in found:
            raise FairnessError(f"{option}: {name!r} is given twice")
        found[name] = tuple(_number(option, one, kind, example) for one in listed.split(","))
    return found


def _number(option: str, given: str, kind: Callable[[str], N], example: str) -> N:
    try:
        return kind(given)
    except ValueError:
        raise FairnessError(f"{option}: {given!r} is not a number; expected {example}") from None


def render(found: Forecast, console: Console) -> None:
    """Show the table and the words."""
    heads = ("bar", *(words.NAMES[truth] for truth in TRUTHS), "records; epsilon for 80 %")
    rows = [words.cells(one) for one in found.objectives]
    gate = ("the gate as a whole", *(words.shares(at.noised, at.exact) for at in found.gate), "")
    title = f"Verdicts that can be reached with {found.records:,} held-out records"
    console.print(table(title, heads, [*rows, gate]))
    for sentence in (
        "Each cell: the true value, then the chances in per cent that the bar holds, fails, "
        "cannot be concluded; in brackets the same without any noise.",
        "The gate: best is a model without gaps, its group tables drawn whole; the other columns, "
        "and bars on other sums, are taken as independent.",
        f"Supposed: {'; '.join(found.supposed) or 'nothing'}.",
        *words.sentences(found),
    ):
        console.print(Text(sentence))
