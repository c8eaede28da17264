"""Proof, on this machine, that a batch of one shape keeps its records apart, bit for bit.

Made-up records are computed twice in batches of the shape: at other places, beside other mates. The
mates of the second batch are hostile: not numbers, infinite, huge and denormal states, and rows of
zeros. What the frozen layers, the scores, the losses and each record's gradient come out as must be
the same bits. Kernels choose their order of addition by shape, device, type and library; none of
that is known beforehand for every machine, so it is tried.

What is not shown: that a kernel looks at no value. None that multiplies dense matrices is known to;
hostile mates would show the known exceptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedethics.data.records import Targets
from fedethics.training.activations import NOTHING, Batch, Shape, one_thread
from fedethics.training.engines import ENGINES, engine_for

if TYPE_CHECKING:
    from fedethics.training.learner import Learner

_HOSTILE = (float("nan"), float("inf"), -1e30, 1e30, 1e-40, 0.0)


def is_apart(learner: Learner, shape: Shape) -> bool:
    """Say whether a record's numbers in a batch of `shape` do not depend on its mates.

    No, where it cannot be tried: where memory is too small for such a batch, for example.

    Args:
        learner: of the model, precision and engine that will be used; its vector is replaced.
        shape: with at least two rows.
    """
    try:
        return _tried(learner, shape)
    except (RuntimeError, IndexError, MemoryError):
        return False


def _tried(learner: Learner, shape: Shape) -> bool:
    made = _Made(learner, shape)
    with one_thread():
        learner.load(away_from_zero(learner))
        first, second = made.batch(made.ids, made.other_ids), made.moved(made.ids, made.ids[:1])
        if learner.cached:
            # The frozen layers by themselves, then what is above them on their states.
            below, again = learner.states(first), learner.states(second)
            if not all(_same(below[one], again[made.place(one)]) for one in range(made.count)):
                return False
            watched, mates = below[: made.count], below[made.count : made.count + made.others]
            first = made.batch(watched, mates)
            second = made.moved(watched, _hostile(mates))
        if not made.equal(_scored(learner, first), _scored(learner, second)):
            return False
        # Mates of another target, and of the own: an answer's length must not matter either.
        last = learner.classes - 1
        return all(
            made.equal(
                _trained(learner, first, made.labels(label)),
                _trained(learner, second, made.labels(label, mates=other)),
            )
            for label, other in ((0, last), (last, 0))
        )


def is_same(learner: Learner, other: Learner, shape: Shape) -> bool:
    """Say whether two devices compute the same bits of made-up records in a batch of `shape`.

    A batch may go to either, so that a record's numbers would follow from the batches before it.

    Args:
        learner: as for `is_apart`.
        other: the same model on another device; its vector is replaced too.
        shape: with at least two rows.
    """
    try:
        pairs = zip(_numbers(learner, shape), _numbers(other, shape), strict=True)
        return all(_same(one.cpu(), again.cpu()) for one, again in pairs)
    except (RuntimeError, IndexError, MemoryError):
        return False


def _numbers(learner: Learner, shape: Shape) -> list[Tensor]:
    """Return all that is computed of the same made-up records on each device."""
    made = _Made(learner, shape)
    with one_thread():
        learner.load(away_from_zero(learner))
        batch = made.batch(made.ids, made.other_ids)
        below = learner.states(batch) if learner.cached else []
        if below:
            batch = made.batch(below[: made.count], below[made.count : made.count + made.others])
        labels = made.labels(learner.classes - 1)
        return [*below, *_scored(learner, batch), *_trained(learner, batch, labels)]


class _Made:
    """Made-up records for a shape, half of them watched and half of them mates."""

    def __init__(self, learner: Learner, shape: Shape) -> None:
        self._shape, self.count = shape, max(1, shape.used // 2)
        self.others = shape.used - self.count
        random = np.random.default_rng(shape.length)
        self.ids = self._entries(learner, random, self.count)
        self.other_ids = self._entries(learner, random, self.others)
        self._random, self._words = random, int(learner.model.config.vocab_size)
        self._wanted = self._tokens_wanted(self.ids)
        self._compares = learner.compares

    def _entries(self, learner: Learner, random: np.random.Generator, count: int) -> list[Tensor]:
        """Return token ids, the first as long as the shape allows, others down to the shortest."""
        shortest, longest = learner.shortest, min(learner.longest, self._shape.length)
        if self._shape.used == self._shape.rows:
            longest = min(longest, self._shape.length - 1)
        lengths = random.integers(min(shortest, longest), longest + 1, size=count)
        lengths[0] = longest
        words = int(learner.model.config.vocab_size)
        return [
            torch.from_numpy(random.integers(0, words, size=int(length))).to(learner.flat.device)
            for length in lengths
        ]

    def place(self, watched: int) -> int:
        """Return the place of a watched record in the second batch."""
        return self._shape.used - 1 - watched

    def labels(self, label: int, *, mates: int | None = None) -> Targets:
        """Return targets by row: `label`, and in the second batch `mates` for the mates."""
        labels: Targets = np.full(self._shape.used, label, dtype=np.int16)
        if mates is not None:
            labels[: self.others] = mates
        return labels

    def equal(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
        """Say whether every watched record has the same bits in both, where rows are records."""
        return all(
            _same(one[watched], other[self.place(watched)])
            for one, other in zip(first, second, strict=True)
            for watched in range(self.count)
        )

    def batch(self, watched: Sequence[Tensor], mates: Sequence[Tensor]) -> Batch:
        """Return the first batch: watched records, then their mates."""
        return self._filled([*watched, *mates], [*self._wanted, *self._tokens_wanted(mates)])

    def moved(self, watched: Sequence[Tensor], mates: Sequence[Tensor]) -> Batch:
        """Return the second batch: other mates and zeros first, watched records last, turned."""
        room = self.others
        filler = torch.zeros_like(watched[0][: max(1, self._shape.length - 1)])
        before = [*mates[:room], *[filler] * (room - len(mates))]
        # Of mates as many tokens are predicted as of others, of all of theirs or of none.
        wanted = [*self._tokens_wanted(before), *reversed(self._wanted)]
        return self._filled([*before, *reversed(watched)], wanted)

    def _tokens_wanted(self, entries: Sequence[Tensor]) -> list[Tensor]:
        """Return made-up tokens to predict at the ends of entries: none, some, and all allowed."""
        found = []
        for place, entry in enumerate(entries if self._shape.places else ()):
            most = min(len(entry), self._shape.places)
            count = most if place == 0 else int(self._random.integers(0, most + 1))
            wanted = torch.full((len(entry),), NOTHING)
            words = self._random.integers(0, self._words, size=count)
            wanted[len(entry) - count :] = torch.from_numpy(words)
            found.append(wanted)
        return found

    def _filled(self, entries: list[Tensor], wanted: list[Tensor]) -> Batch:
        filler = torch.zeros_like(entries[0][: max(1, self._shape.length - 1)])
        hidden = entries + [filler] * (self._shape.rows - len(entries))
        return Batch(
            rows=np.arange(len(entries)),
            hidden=tuple(hidden),
            shape=self._shape,
            wanted=tuple(wanted),
            reference=(torch.zeros(1),) * len(entries) if self._compares else (),
        )


def _scored(learner: Learner, batch: Batch) -> list[Tensor]:
    with torch.no_grad():
        outputs = learner.outputs(batch)
    return [outputs, learner.scores_of(outputs)]


def _trained(learner: Learner, batch: Batch, labels: Targets) -> list[Tensor]:
    with ENGINES[engine_for(learner)](learner) as engine:
        return list(engine(batch, labels))


def _same(one: Tensor, other: Tensor) -> bool:
    # NaN is unequal to itself; nothing watched is one, unless a mate made it so.
    return torch.equal(one, other)


def _hostile(states: Sequence[Tensor]) -> list[Tensor]:
    """Return states of which each is full of one value that breaks arithmetic."""
    return [
        torch.full_like(one, _HOSTILE[place % len(_HOSTILE)]) for place, one in enumerate(states)
    ]


def away_from_zero(learner: Learner) -> NDArray[np.float32]:
    """Return a vector at which no tensor's gradient vanishes: B = 0 would hide A's."""
    ripple = np.sin(np.arange(learner.size, dtype=np.float64))
    vector: NDArray[np.float32] = learner.seeded_vector() + (0.02 * ripple).astype(np.float32)
    return vector
