"""What a task gives a learner: how records become tokens, and what is computed of them.

A task's reader is in the task's folder of `fedethics.learning_tasks`; here is what each must
answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from fedethics.data.content import Content
from fedethics.training.activations import Batch


class Entry(NamedTuple):
    """A record in tokens.

    Attributes:
        ids: what is read.
        wanted: the token that each of them is to be followed by, or `activations.NOTHING`.
    """

    ids: list[int]
    wanted: list[int]


class Reader(Protocol):
    """What a charter's task makes of texts and of the network's output.

    Attributes:
        tokenizer: the model's.
    """

    tokenizer: Any

    def ids(self, texts: Sequence[Content]) -> list[list[int]]:
        """Return the token ids of each record's entry."""

    def views(self, entry: Tensor) -> tuple[Tensor, ...]:
        """Return the sequences that the network reads of an entry."""

    def join(self, views: Sequence[Tensor]) -> Tensor:
        """Return the entry whose views these are."""

    def outputs(self, batch: Batch) -> Tensor:
        """Return what is computed of each entry where nothing is trained, float32, shape (b, w)."""

    def scores(self, outputs: Tensor) -> Tensor:
        """Return what is measured of each entry, float64, shape (b,) or (b, columns)."""

    def losses(self, batch: Batch, targets: Tensor) -> Tensor:
        """Return one loss of each entry, float32, shape (b,): of that entry alone."""

    @property
    def longest(self) -> int:
        """Tokens of the longest entry."""


@runtime_checkable
class TokenReader(Reader, Protocol):
    """A reader of a task that learns tokens of the record itself.

    Attributes:
        rendering: digest of how records are put into tokens, besides the tokenizer's.
    """

    rendering: str

    def entries(self, texts: Sequence[Content], *, derived: bool = False) -> list[Entry]:
        """Return the token ids of each record's entry, and what each is to be followed by.

        Of texts that were derived from records, one that cannot be put into tokens has nothing to
        predict, and is no error.
        """


class Prompt(NamedTuple):
    """What of a record a model is asked to continue, and what the record itself says there.

    Attributes:
        ids: of the prompt; empty where it does not fit.
        reference: the record's own answer.
    """

    ids: list[int]
    reference: str


@runtime_checkable
class AnsweringReader(Reader, Protocol):
    """A reader of a task whose records have a prompt that a model can answer."""

    def prompts(self, texts: Sequence[Content]) -> list[Prompt]:
        """Return the prompt of each record, and its own answer."""


@runtime_checkable
class ComparingReader(Reader, Protocol):
    """A reader of a task whose loss compares with what the start of training makes of a record."""

    def reference(self, batch: Batch) -> Tensor:
        """Return what is compared of each entry, float32, shape (b, w)."""
