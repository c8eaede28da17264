"""What the trained layers read of each record: computed once where it can be, batched by shape.

Where the layers below the first trained one can be split off, they never change and use no dropout,
so their output for a text is a constant: it is computed once, and gradients from it equal those
through the whole network. Elsewhere a record is its token ids, and every step runs all layers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedethics.data.records import Targets
from fedethics.training.batch_shapes import Shape


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

    def batches(self, rows: NDArray[np.intp], shape_of: Callable[[int], Shape]) -> Iterator[Batch]:
        """Yield `rows` in batches, each of the shape that its records' own lengths give.

        Guarantee: the shape of a record's batch depends on that record's length alone.

        Args:
            rows: which records, in any order.
            shape_of: the shape for a length in tokens.
        """
        by_shape: dict[Shape, list[int]] = {}
        for row in rows.tolist():
            by_shape.setdefault(shape_of(len(self.hidden[row])), []).append(row)
        # By all of a shape: two may have one length, and their order must not follow from who
        # else is there, since a person's rows are added in it.
        for shape in sorted(by_shape, key=dataclasses.astuple):
            chosen = by_shape[shape]
            for start in range(0, len(chosen), shape.used):
                yield self._shaped(chosen[start : start + shape.used], shape)

    def together(self, rows: NDArray[np.intp]) -> Batch:
        """Return `rows` as one batch, padded to the longest.

        Danger: in it the last bits of a record's numbers may depend on the others. It serves
        comparisons; nothing that leaves a site is computed from it.
        """
        return Batch(rows=rows, hidden=tuple(self.hidden[row] for row in rows))

    def _shaped(self, chosen: list[int], shape: Shape) -> Batch:
        hidden = [self.hidden[row] for row in chosen]
        # Shorter than the shape: see Shape.used.
        filler = torch.zeros_like(hidden[0][: max(1, shape.length - 1)])
        hidden += [filler] * (shape.rows - len(hidden))
        return Batch(rows=np.array(chosen, dtype=np.intp), hidden=tuple(hidden), shape=shape)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """A physical batch, not padded yet, since what is padded depends on the task.

    Attributes:
        rows: which records these are, shape (m,).
        hidden: as in Activations, b entries: those of the m records, then zeros that fill it up.
        shape: what it is padded to; None for its longest entry, without filling.
    """

    rows: NDArray[np.intp]
    hidden: tuple[Tensor, ...]
    shape: Shape | None = None

    @property
    def length(self) -> int:
        """Tokens that every sequence of it is padded to; 0 for its longest."""
        return self.shape.length if self.shape else 0

    def targets(self, labels: Targets) -> Tensor:
        """Return the target of each entry, int64, shape (b,); 0 for what fills the batch up."""
        targets = torch.zeros(len(self.hidden), dtype=torch.int64)
        targets[: len(self.rows)] = torch.from_numpy(labels[self.rows].astype(np.int64))
        return targets


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
    def of(cls, sequences: Sequence[Tensor], *, pad_id: int, length: int = 0) -> Padded:
        """Pad `sequences` to `length`, or to the longest; ids with `pad_id`, states with zero."""
        first = sequences[0]
        filler = 0 if first.is_floating_point() else pad_id
        most = max(length, *(len(one) for one in sequences))
        # Fresh memory: a record's numbers must not follow from where its states happen to lie.
        inputs = first.new_full((len(sequences), most, *first.shape[1:]), filler)
        for row, one in zip(inputs, sequences, strict=True):
            row[: len(one)] = one
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
