"""What the trained layers read of each record: computed once where it can be, batched by length.

Where the layers below the first trained one can be split off, they never change and use no dropout,
so their output for a text is a constant: it is computed once, and gradients from it equal those
through the whole network. Elsewhere a record is its token ids, and every step runs all layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

# A batch ends where the next record would pad the shortest one by more than this.
_STRETCH = 1.5
_SLACK_TOKENS = 8


# Sensitive: hidden states and token ids determine the text they were computed from.
@dataclass(frozen=True, slots=True, eq=False)
class Activations:
    """What is read of n records.

    Attributes:
        hidden: entry i is of record i: hidden states, float32, shape (tokens, width); or token
            ids, int64, shape (tokens,).
    """

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
        order = np.argsort(lengths, kind="stable")
        for place in _cuts(lengths[order], size):
            chosen = rows[order[place]]
            yield Batch(rows=chosen, hidden=tuple(self.hidden[row] for row in chosen))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """A physical batch: b records, not padded yet, since what is padded depends on the task.

    Attributes:
        rows: which records these are, shape (b,).
        hidden: as in Activations, b entries.
    """

    rows: NDArray[np.intp]
    hidden: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Padded:
    """Sequences side by side, padded at the end.

    Attributes:
        inputs: shape (b, tokens, width), float32; or (b, tokens), int64.
        lengths: tokens of each sequence, int64, shape (b,).
    """

    inputs: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, sequences: Sequence[Tensor], *, pad_id: int) -> Padded:
        """Pad `sequences` to the longest; ids with `pad_id`, states with zero."""
        filler = 0 if sequences[0].is_floating_point() else pad_id
        inputs = pad_sequence(list(sequences), batch_first=True, padding_value=filler)
        lengths = torch.tensor([len(one) for one in sequences], device=inputs.device)
        return cls(inputs, lengths)

    def to(self, device: torch.device) -> Padded:
        """Return the same on `device`."""
        return Padded(self.inputs.to(device), self.lengths.to(device))

    @property
    def mask(self) -> Tensor:
        """1 where there is a token, int64, shape (b, tokens)."""
        places = torch.arange(self.inputs.shape[1], device=self.lengths.device)
        return (places < self.lengths[:, None]).long()


def _cuts(lengths: NDArray[np.int64], size: int) -> Iterator[slice]:
    """Yield slices of increasing lengths that pad little and hold at most `size`."""
    start = 0
    for end in range(1, len(lengths) + 1):
        full = end - start == size
        if end == len(lengths) or full or lengths[end] > _STRETCH * lengths[start] + _SLACK_TOKENS:
            yield slice(start, end)
            start = end
