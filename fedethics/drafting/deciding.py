"""What a person decides while a draft is made: asked on a terminal, else proposed and marked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fedethics.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """One thing that the file does not say by itself.

    Attributes:
        question: that a person can answer with yes or no.
        yes: whether it was, or is taken to be, a yes.
        asked: whether a person answered it.
    """

    question: str
    yes: bool
    asked: bool

    @property
    def said(self) -> str:
        """The question and its answer, in one line."""
        by = "answered by a person" if self.asked else "taken as proposed, nobody was asked"
        return f"{self.question} {'Yes' if self.yes else 'No'} ({by})"


class Decisions:
    """Asks a person, or takes what is proposed; remembers both."""

    def __init__(self, ask: Callable[[str], bool] | None = None) -> None:
        """Take what asks a person; None where there is nobody, and each proposal is taken."""
        self._ask = ask
        self.taken: list[Decision] = []

    def __call__(self, question: str) -> bool:
        """Return the answer; yes is always what is proposed."""
        yes = True if self._ask is None else self._ask(question)
        self.taken.append(Decision(question=question, yes=yes, asked=self._ask is not None))
        return yes

    def require(self, question: str, *, otherwise: str) -> None:
        """Go on only with a yes.

        Raises:
            DataError: the answer was no; says what to do, in `otherwise`.
        """
        if not self(question):
            raise DataError(f"{otherwise}. Nothing was written")
