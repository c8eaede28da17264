"""All kinds of secure sums, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fedethics.aggregates.aggregate import Aggregate
from fedethics.aggregates.agreement import AGREEMENT
from fedethics.aggregates.audit import AUDIT
from fedethics.aggregates.census import CENSUS
from fedethics.aggregates.fairness import FAIRNESS
from fedethics.aggregates.measures import MEASURES
from fedethics.aggregates.monitoring import MONITORING
from fedethics.aggregates.noise import Account
from fedethics.aggregates.norms import NORMS
from fedethics.aggregates.paired import PAIRED
from fedethics.aggregates.progress import PROGRESS
from fedethics.aggregates.steering import STEERING
from fedethics.aggregates.update import UPDATE
from fedethics.charter.model import Charter
from fedethics.data.beside import BesideColumn
from fedethics.errors import SecaggReject

AGGREGATES: Final[Mapping[str, Aggregate[Any]]] = {
    each.name: each
    for each in (
        UPDATE,
        PROGRESS,
        STEERING,
        AUDIT,
        FAIRNESS,
        AGREEMENT,
        MEASURES,
        PAIRED,
        CENSUS,
        MONITORING,
        NORMS,
    )
}


def aggregate(name: str) -> Aggregate[Any]:
    """Return the kind of this name.

    Raises:
        SecaggReject: there is none; nothing was computed.
    """
    if name not in AGGREGATES:
        known = ", ".join(AGGREGATES)
        raise SecaggReject(f"no kind of sum is named {name!r}; known: {known}")
    return AGGREGATES[name]


def unknown_kind(name: object) -> str:
    """Return what is wrong with the name of a kind; empty if it is known."""
    return (
        ""
        if name in AGGREGATES
        else f"{repr(name)[:60]} is not one of {', '.join(map(repr, AGGREGATES))}"
    )


def unknown_permission(word: object) -> str:
    """Return what is wrong with a word of a policy's list of releases; empty if it is known."""
    words = [known for each in AGGREGATES.values() for known in each.words]
    return "" if word in words else f"expected one of {', '.join(words)}; got {word!r}"


def columns_beside(charter: Charter) -> tuple[BesideColumn, ...]:
    """Return the columns that are read for a charter's sums beside those of its schema."""
    return tuple(column for each in AGGREGATES.values() for column in each.columns(charter))


def charged_to(*accounts: Account) -> frozenset[str]:
    """Return the kinds that are charged to exactly these accounts."""
    return frozenset(each.name for each in AGGREGATES.values() if each.accounts == accounts)


def trained_kinds() -> frozenset[str]:
    """Return the kinds whose sums change the model."""
    return frozenset(each.name for each in AGGREGATES.values() if each.trains)


def in_a_round() -> Iterator[Aggregate[Any]]:
    """Yield every kind in the order in which those that are due in one round are opened."""
    yield from sorted(AGGREGATES.values(), key=lambda each: (each.moment, each.ends_run))
