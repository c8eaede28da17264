"""What the frozen lower layers make of each text: computed once, kept in memory, batched by length.

The layers below the first trainable one never change and use no dropout, so their output for a
text is a constant. Gradients from it equal those through the whole network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


# Sensitive: hidden states determine the text they were computed from.
@dataclass(frozen=True, slots=True, eq=False)
class Activations:
    """Hidden states of n records; entry i has shape (tokens of record i, width), float32."""

    hidden: tuple[Tensor, ...]

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.hidden)

    def take(self, rows: Sequence[int]) -> Activations:
        """Return the activations of the records at `rows`."""
        return Activations(tuple(self.hidden[row] for row in rows))

    def __add__(self, other: Activations) -> Activations:
        """Return the records of both, in order: pooled training in simulations."""
        return Activations(self.hidden + other.hidden)

    def batches(self, rows: NDArray[np.intp], size: int) -> Iterator[Batch]:
        """Yield `rows` in batches of at most `size`, records of like length together.

        Sums over records do not depend on how they are batched; padding and memory do.
        """
        lengths = np.array([len(self.hidden[row]) for row in rows])
        ordered = rows[np.argsort(lengths, kind="stable")]
        for start in range(0, len(ordered), size):
            chosen = ordered[start : start + size]
            hidden = [self.hidden[row] for row in chosen]
            mask = [torch.ones(len(states), dtype=torch.long) for states in hidden]
            yield Batch(
                rows=chosen,
                hidden=pad_sequence(hidden, batch_first=True),
                mask=pad_sequence(mask, batch_first=True).to(hidden[0].device),
            )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """A padded physical batch.

    Attributes:
        rows: which records these are, shape (b,).
        hidden: float32, shape (b, tokens, width).
        mask: int64, shape (b, tokens); 1 where there is a token.
    """

    rows: NDArray[np.intp]
    hidden: Tensor
    mask: Tensor
