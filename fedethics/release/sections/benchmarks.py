"""What the model says: public benchmarks before and after fine-tuning, with items in words."""

from __future__ import annotations

from collections.abc import Iterator

from fedethics.benchmarks.registry import find_benchmark
from fedethics.benchmarks.results import Line, Results, Row, examples, rows
from fedethics.benchmarks.statistics import Figure
from fedethics.release.folder import Folder
from fedethics.release.rules.benchmarks import kept
from fedethics.release.sections.block import NARROW, NOTHING, Section, Table

_HEAD = ("Figure", "Items", "Base model", "With the adapter", "Change", "p")
_SHOWN = ("Item", "Choice", "Base model", "With the adapter")
_LONGEST = 300


def build(folder: Folder) -> Section | None:
    """Return the section; None where the charter names no benchmark and no answers are kept."""
    found, missing = kept(folder)
    if found is None:
        return _nothing(missing) if folder.charter.ethics.benchmarks else None
    tables: dict[str, Table] = {}
    for name in found.lines:
        told = find_benchmark(name)
        of_it = [row for row in rows(found) if row.benchmark == name]
        tables[f"{told.what}. {told.licence}"] = Table(head=_HEAD, rows=tuple(_figures(of_it)))
        title = (
            f"{name}: {len(examples(found, name))} items, log-probability of each choice in nats"
        )
        tables[title] = Table(head=_SHOWN, rows=tuple(_items(found, name)))
    return Section(
        title=_TITLE,
        words=(
            f"{sum(map(len, found.lines.values())):,} items of suite {found.header.suite}, asked "
            "of the base model and of the model with its adapter."
        ),
        explanation=(
            "Each figure has its 95 % interval, for the drawing of items; the change is on the "
            "same items. These are screening statistics of public English items and no judgement "
            "on the model as a whole. The figures follow from the answers in benchmarks.jsonl; "
            "that these are the model's is shown only by asking it again. The items shown are "
            "drawn by their names; their words are as the coordinator's file has them, and no hash "
            "covers these. Many are hurtful, and they are shown because a number alone hides what "
            "was asked."
        ),
        tables=tables,
    )


_TITLE = "What the model says: public benchmarks"


def _nothing(missing: str) -> Section:
    return Section(title=_TITLE, words=missing, explanation="", tables={})


def _figures(of_it: list[Row]) -> Iterator[tuple[str, ...]]:
    lead = of_it[0].metric
    for row in of_it:
        if row.part and row.metric != lead:
            continue
        p = NOTHING if row.change is None or row.change.p is None else f"{row.change.p:.3f}"
        name = f"{row.metric}, {row.part}" if row.part else row.metric
        yield (
            name, str(row.before.items), _told(row.before), _told(row.after), _told(row.change), p
        )  # fmt: skip


def _told(figure: Figure | None) -> str:
    if figure is None:
        return NOTHING
    if figure.value is None or figure.low is None or figure.high is None:
        return figure.untold
    return f"{figure.value:.3f} ({figure.low:.3f}{NARROW}to{NARROW}{figure.high:.3f})"


def _items(found: Results, name: str) -> Iterator[tuple[str, ...]]:
    for line in examples(found, name):
        for place, choice in enumerate(line.choices or ()):
            prompt = line.prompt or NOTHING
            cut = prompt if len(prompt) <= _LONGEST else f"… {prompt[-_LONGEST:]}"
            yield f"{line.id}: {cut}", choice.strip(), *_sums(line, place)


def _sums(line: Line, place: int) -> tuple[str, str]:
    after = NOTHING if line.after is None else f"{line.after[place]:.2f}"
    return f"{line.before[place]:.2f}", after
