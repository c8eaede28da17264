"""What a mapping to a law or standard is made of: items, and what of a release answers each.

A mapping says where to look. It is no assessment of conformity, and no certificate. Items are
paraphrased; the official texts prevail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from fedethics.charter.documentation_terms import DocumentationTerms
from fedethics.charter.model import Charter
from fedethics.release.decision import Decision
from fedethics.release.folder import Folder
from fedethics.release.gate import GateReport
from fedethics.release.sections.block import NOTHING, Table

Answered: TypeAlias = Literal["yes", "in part", "no"]
HERE: Answered = "yes"
PARTLY: Answered = "in part"
ABSENT: Answered = "no"
HEAD = ("Item", "What it asks for", "Answered?", "Where, or what is missing")


class Answer(NamedTuple):
    """Whether an item is answered here, and where, or what is missing."""

    answered: Answered
    where: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What answers are computed from."""

    folder: Folder
    gate: GateReport
    decision: Decision

    @property
    def charter(self) -> Charter:
        """The charter of the run."""
        return self.folder.charter

    @property
    def said(self) -> DocumentationTerms:
        """What the charter says for the documentation; every sentence may be absent."""
        return self.charter.documentation or DocumentationTerms()


Rule: TypeAlias = Callable[[Facts], Answer]


@dataclass(frozen=True, slots=True)
class Item:
    """One item: its number, what it asks for, and what answers it."""

    number: str
    asks: str
    answer: Answer | Rule


@dataclass(frozen=True, kw_only=True, slots=True)
class Framework:
    """A law or standard.

    Attributes:
        name: short, for the first screen.
        title: of its section.
        source: which text the items are of.
        lead: what a reader must know of this mapping.
    """

    name: str
    title: str
    source: str
    lead: str
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mapped:
    """A framework held against one release."""

    name: str
    title: str
    source: str
    lead: str
    table: Table


def yes(where: str) -> Answer:
    """Return that an item is answered, and where."""
    return Answer(HERE, where)


def partly(where: str) -> Answer:
    """Return that an item is answered in part, where, and what is missing."""
    return Answer(PARTLY, where)


def no(why: str) -> Answer:
    """Return that an item is not answered, and why."""
    return Answer(ABSENT, why)


def stated(text: str | None, *, said: str, answered: Answered, otherwise: Answer) -> Answer:
    """Return an answer that rests on a sentence of the charter.

    Args:
        text: the sentence; None where the charter has none.
        said: the text before it.
        answered: how far it answers the item.
        otherwise: the answer without it.
    """
    return otherwise if text is None else Answer(answered, f"{said}: “{' '.join(text.split())}”")


def mapped(framework: Framework, facts: Facts) -> Mapped:
    """Return a framework with each item answered."""
    answers = (
        (item, item.answer if isinstance(item.answer, Answer) else item.answer(facts))
        for item in framework.items
    )
    rows = tuple((item.number, item.asks, *answer) for item, answer in answers)
    return Mapped(
        name=framework.name,
        title=framework.title,
        source=framework.source,
        lead=framework.lead,
        table=Table(head=HEAD, rows=rows),
    )


def counted(table: Table) -> tuple[int, int, int]:
    """Return how many items of a mapping are answered, answered in part, and not answered."""
    answers = [row[2] for row in table.rows]
    return answers.count(HERE), answers.count(PARTLY), answers.count(ABSENT)


def overview(found: tuple[Mapped, ...]) -> Table:
    """Return one row for each framework: how many items are answered, and which are not."""
    return Table(
        head=("Framework", HERE, PARTLY, ABSENT, "Not answered"),
        rows=tuple(
            (
                each.name,
                *map(str, counted(each.table)),
                ", ".join(row[0] for row in each.table.rows if row[2] == ABSENT) or NOTHING,
            )
            for each in found
        ),
    )
