"""Objects of one kind by their names, such as the learning tasks; an unknown name is refused."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from fedethics.errors import FedethicsError


class Named(Protocol):
    """An object that a charter, a scenario or a command names."""

    @property
    def name(self) -> str:
        """How it is written there."""


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """The objects of one kind, in the order in which they were registered."""

    def __init__(self, kind: str, error: type[FedethicsError], *known: T) -> None:
        """Begin with what is known.

        Args:
            kind: what one is called in messages.
            error: raised for a name that is unknown or taken.
            known: the first objects.
        """
        self._kind, self._error = kind, error
        self._known: dict[str, T] = {}
        for one in known:
            self.register(one)

    def register(self, one: T) -> None:
        """Make an object known by its name.

        Raises:
            FedethicsError: of the registry's class; another object has that name.
        """
        if self._known.setdefault(one.name, one) is not one:
            raise self._error(f"{self._kind} {one.name!r} is registered twice")

    def names(self) -> tuple[str, ...]:
        """Return all names."""
        return tuple(self._known)

    def all(self) -> tuple[T, ...]:
        """Return all objects."""
        return tuple(self._known.values())

    def find(self, name: str) -> T:
        """Return the object called `name`.

        Raises:
            FedethicsError: of the registry's class; there is none.
        """
        if name not in self._known:
            raise self._error(f"{self._kind} {name!r} is unknown; known: {', '.join(self._known)}")
        return self._known[name]
