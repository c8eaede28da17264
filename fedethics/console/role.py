"""A role of the console: who asks, what the page answers, and how it is found out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fedethics.console.places import Places


@dataclass(frozen=True, kw_only=True, slots=True)
class Role:
    """One page.

    Attributes:
        name: its path, and its template's name.
        title: whose page it is.
        question: what it answers, in a sentence.
        shown: whether there is anything for it among the places.
        look: reads the places each time; returns what the template shows.
    """

    name: str
    title: str
    question: str
    shown: Callable[[Places], bool]
    look: Callable[[Places], Mapping[str, object]]
