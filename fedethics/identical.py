"""A key for caches: one object, equal to itself alone.

Objects that are equal may still be spelled differently (3 == 3.0), and comparing large ones costs
more than what is cached. A cache that holds such a key keeps its object alive, so that no other
object ever has its place.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Same(Generic[T]):
    """One object, for what follows from it and can never change."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)
