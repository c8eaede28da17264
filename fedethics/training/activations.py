"""What the trained layers read of each record: computed once where it can be, batched by shape.

Where the layers below the first trained one can be split off, they never change and use no dropout,
so their output for a text is a constant: it is computed once, and gradients from it equal those
through the whole network. Elsewhere a record is its token ids, and every step runs all layers.

Shapes: records are computed so that nothing of one depends on the others. In a batch, the last bits
of a record's numbers may follow from its batch mates: from how many there are, from the longest of
them, from how many rows their answers add to a product. An adapter can be made to turn such bits
into other decisions. Here a batch has a fixed number of rows, filled up with rows of zeros, and a
padded length that follows from the record's own length; every product in it has the same shape,
whatever other records are in the batch. Whether that is enough on this machine is not assumed: a
shape is used once it was proven (records_apart.py), else its records are computed one at a time.
Either way it is the record's own length and the machine that decide.

`states_on_disk` keeps the frozen layers' output in a file that has no name.
Guarantee: the file is readable by its owner only, no other process can open it by a name, and the
system frees it when the last tensor in it is gone or the process ends, killed or not: there is
nothing left to clean up at a restart. What a disk holds in blocks that it has freed is out of reach
here: put the folder on an encrypted disk.

Batches computed on several copies of a model, each in a thread of its own.

Threads over batches, never within one: what a batch comes out as must not follow from how many
cores there are or how busy they are. Small products also gain more from a core of their own.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedethics.data.records import Targets
from fedethics.errors import TrainingError

# Four lengths to a doubling: at most a quarter is padding, and few shapes have to be proven.
_SHORTEST = 16
_PARTS = 4
_FINEST = 8
# A product over so few places more costs little.
_FEWEST = 16
# Stands at a place after which no token is predicted.
NOTHING = -1
# Stands at the last place of a view of a record that is read in several, but for the last view.
NEXT_VIEW = -2


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The shape of a physical batch.

    Attributes:
        rows: rows of every batch, filled up with rows of zeros.
        length: tokens that every row is padded to; 0 for the record's own length.
        used: most rows that hold records. One less than `rows` where a record may be as long as
            the shape: then a row of zeros is always there, and no mask is ever all ones, which
            transformers would drop, and with it choose another attention kernel.
        places: places of every row at which tokens are predicted, filled up like the rows; 0 where
            the record has no tokens of its own to predict, or is computed alone.
    """

    rows: int
    length: int
    used: int
    places: int = 0


# One record at a time, at its own length: company that cannot matter, since there is none.
ALONE = Shape(rows=1, length=0, used=1)


def shape_for(length: int, *, rows: int, positions: int, places: int = 0) -> Shape:
    """Return the shape that a record of `length` tokens is computed in.

    Args:
        length: of the record.
        rows: of a batch, a multiple of 8: products of other row counts were measured to differ in
            the last place of some rows.
        positions: most tokens that the model has positions for. A record may be longer, if what
            is read of it at once is not: of a causal LM's entry, the prompt with either answer.
        places: at which the record's own tokens are predicted; doubled steps, so that few shapes
            have to be proven.
    """
    padded = _above(length)
    stepped = max(_FEWEST, 1 << (places - 1).bit_length()) if places else 0
    if padded <= positions:
        return Shape(rows=rows, length=padded, used=rows, places=stepped)
    return Shape(rows=rows, length=positions, used=rows - 1, places=stepped)


class ShapeOf(Protocol):
    """The shape for a length and a number of predicted places, in tokens."""

    def __call__(self, length: int, /, *, places: int = ...) -> Shape:
        """Return it."""


def rows_at_once(physical_batch: int, *, device: str) -> int:
    """Return the rows of a batch, from public numbers; 1 computes each record alone.

    Args:
        physical_batch: the charter's bound on records computed at once.
        device: "cpu" or "cuda". Sixteen rows keep a core busy and leave few of them to fill.
    """
    allowed = min(physical_batch, 16 if device == "cpu" else 32)
    return max(1, allowed // 8 * 8)


def _above(length: int) -> int:
    """Return the next step above `length`."""
    if length < _SHORTEST:
        return _SHORTEST
    width = max((1 << (length.bit_length() - 1)) // _PARTS, _FINEST)
    return (length // width + 1) * width


# Sensitive: hidden states and token ids determine the text they were computed from.
@dataclass(frozen=True, eq=False)
class Activations:
    """What is read of n records.

    Attributes:
        hidden: entry i is of record i: hidden states, float32, shape (tokens, width); or token
            ids, int64, shape (tokens,).
        wanted: what each token of record i is to be followed by, int64, shape (tokens,), `NOTHING`
            where that is not learnt, and `NEXT_VIEW` where one of several views ends; empty where a
            task learns from targets alone.
        reference: what the start of training makes of record i, float32, shape (w,); empty where a
            task compares with nothing.
        alone: whether each is computed by itself, in no shape that would have to be proven.
    """

    hidden: tuple[Tensor, ...]
    wanted: tuple[Tensor, ...] = ()
    reference: tuple[Tensor, ...] = ()
    alone: bool = False

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.hidden)

    def take(self, rows: Sequence[int]) -> Activations:
        """Return the activations of the records at `rows`."""
        return Activations(
            tuple(self.hidden[row] for row in rows),
            tuple(self.wanted[row] for row in rows) if self.wanted else (),
            tuple(self.reference[row] for row in rows) if self.reference else (),
            self.alone,
        )

    def __add__(self, other: Activations) -> Activations:
        """Return the records of both, in order: pooled training in simulations."""
        return Activations(
            self.hidden + other.hidden,
            self.wanted + other.wanted,
            self.reference + other.reference,
            self.alone or other.alone,
        )

    @cached_property
    def places(self) -> tuple[int, ...]:
        """Places of each record at which tokens are predicted: one where it has none of its own.

        0 for each where a task learns from targets alone.
        """
        if not self.wanted:
            return (0,) * len(self)
        return tuple(max(1, count) for count in self._predicted)

    @property
    def left_out(self) -> int:
        """Records of which nothing is learnt, since they did not fit."""
        return sum(count == 0 for count in self._predicted)

    @cached_property
    def _predicted(self) -> tuple[int, ...]:
        return tuple(int((wanted >= 0).sum()) for wanted in self.wanted)

    def in_views(self, row: int) -> bool:
        """Say whether a record is read in several views: then it is computed by itself."""
        return bool(self.wanted) and bool((self.wanted[row] == NEXT_VIEW).any())

    def batches(self, rows: NDArray[np.intp], shape_of: ShapeOf) -> Iterator[Batch]:
        """Yield `rows` in batches, each of the shape that its records' own lengths give.

        Guarantee: the shape of a record's batch depends on that record's numbers of tokens alone.

        Args:
            rows: which records, in any order.
            shape_of: the shape for a length and a number of predicted places, in tokens.
        """
        by_shape: dict[Shape, list[int]] = {}
        for row in rows.tolist():
            shape = (
                ALONE
                if self.alone or self.in_views(row)
                else shape_of(len(self.hidden[row]), places=self.places[row])
            )
            by_shape.setdefault(shape, []).append(row)
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
        chosen = self.take(rows.tolist())
        return Batch(
            rows=rows, hidden=chosen.hidden, wanted=chosen.wanted, reference=chosen.reference
        )

    def _shaped(self, chosen: list[int], shape: Shape) -> Batch:
        hidden = [self.hidden[row] for row in chosen]
        # Shorter than the shape: see Shape.used.
        filler = torch.zeros_like(hidden[0][: max(1, shape.length - 1)])
        hidden += [filler] * (shape.rows - len(hidden))
        beside = self.take(chosen)
        return Batch(
            rows=np.array(chosen, dtype=np.intp),
            hidden=tuple(hidden),
            shape=shape,
            wanted=beside.wanted,
            reference=beside.reference,
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """A physical batch, not padded yet, since what is padded depends on the task.

    Attributes:
        rows: which records these are, shape (m,).
        hidden: as in Activations, b entries: those of the m records, then zeros that fill it up.
        shape: what it is padded to; None for its longest entry, without filling.
        wanted: as in Activations, of the m records; empty where targets are all that is learnt.
        reference: as in Activations, of the m records; empty where nothing is compared.
    """

    rows: NDArray[np.intp]
    hidden: tuple[Tensor, ...]
    shape: Shape | None = None
    wanted: tuple[Tensor, ...] = ()
    reference: tuple[Tensor, ...] = ()

    def views(self) -> list[Batch]:
        """Return the batch itself; or, of a record that is read in several views, each by itself.

        Raises:
            TrainingError: such a record is not alone.
        """
        if not any(bool((wanted == NEXT_VIEW).any()) for wanted in self.wanted):
            return [self]
        if len(self.hidden) > 1:
            raise TrainingError("a record of several views was put beside others, and refused")
        (hidden,), (wanted,) = self.hidden, self.wanted
        parts = zip(split_views(hidden, wanted), split_views(wanted, wanted), strict=True)
        return [
            dataclasses.replace(self, hidden=(own,), wanted=(follows.clamp(min=NOTHING),))
            for own, follows in parts
        ]

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on `device`."""
        return dataclasses.replace(
            self,
            hidden=tuple(one.to(device) for one in self.hidden),
            wanted=tuple(one.to(device) for one in self.wanted),
            reference=tuple(one.to(device) for one in self.reference),
        )

    @property
    def length(self) -> int:
        """Tokens that every sequence of it is padded to; 0 for its longest."""
        return self.shape.length if self.shape else 0

    def targets(self, labels: Targets) -> Tensor:
        """Return the target of each entry, int64, shape (b,); 0 for what fills the batch up."""
        targets = torch.zeros(len(self.hidden), dtype=torch.int64)
        targets[: len(self.rows)] = torch.from_numpy(labels[self.rows].astype(np.int64))
        return targets

    def references(self, width: int) -> Tensor:
        """Return what the start makes of each entry, shape (b, width); 0 of what fills it up.

        Raises:
            TrainingError: it is not known.
        """
        if len(self.reference) != len(self.rows):
            # Danger: without it a record would be compared with nothing, in silence.
            raise TrainingError("a batch without what the start makes of its records was refused")
        found = torch.zeros(len(self.hidden), width)
        for row, one in enumerate(self.reference):
            found[row] = one
        return found

    def predictions(self) -> Predictions:
        """Return the places at which tokens are predicted, as many in each row of the batch.

        Guarantee: how many there are follows from the shape alone, whatever records are in the
        batch.

        Raises:
            TrainingError: it is not known which tokens are to follow.
        """
        if len(self.wanted) != len(self.rows):
            # Danger: without them the loss would be 0, and nothing would be learnt in silence.
            raise TrainingError("a batch without the tokens to predict was refused")
        chosen = [(wanted >= 0).nonzero().flatten() for wanted in self.wanted]
        most = self.shape.places if self.shape else 0
        most = most or max(1, *(len(one) for one in chosen), 1)
        places = torch.zeros(len(self.hidden), most, dtype=torch.int64)
        tokens = torch.zeros_like(places)
        counts = torch.zeros(len(self.hidden), dtype=torch.int64)
        for row, (found, wanted) in enumerate(zip(chosen, self.wanted, strict=True)):
            places[row, : len(found)] = found.cpu()
            tokens[row, : len(found)] = wanted[found].cpu()
            counts[row] = len(found)
        return Predictions(places=places, tokens=tokens, counts=counts)


def split_views(entry: Tensor, wanted: Tensor) -> tuple[Tensor, ...]:
    """Return the parts of an entry that are read each by itself; one, where nothing ends a view."""
    ends = (wanted == NEXT_VIEW).nonzero().flatten().cpu() + 1
    return tuple(torch.tensor_split(entry, ends))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Predictions:
    """Where tokens are predicted in the b rows of a batch, p places in each.

    Attributes:
        places: int64, shape (b, p); 0 where a row has fewer.
        tokens: the token that follows there, int64, shape (b, p); 0 where a row has fewer.
        counts: places of each row that are its own, int64, shape (b,).
    """

    places: Tensor
    tokens: Tensor
    counts: Tensor

    @property
    def own(self) -> Tensor:
        """Which places are a row's own, bool, shape (b, p)."""
        return torch.arange(self.places.shape[1]) < self.counts[:, None]


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


# Sensitive: hidden states determine the text they were computed from.
def states_on_disk(lengths: Sequence[int], width: int, folder: Path) -> tuple[Tensor, ...]:
    """Return one float32 tensor of shape (length, width) for each length, all in one mapped file.

    Raises:
        TrainingError: no such folder, or no room in it.
    """
    rows = sum(lengths)
    try:
        # O_TMPFILE, mode 0600: never in any folder.
        with tempfile.TemporaryFile(dir=folder) as file:
            # Reserved now: a page that finds no room later would kill the process.
            os.posix_fallocate(file.fileno(), 0, 4 * rows * width)
            mapped = np.memmap(file, dtype=np.float32, mode="r+", shape=(rows, width))
    except OSError as error:
        raise TrainingError(
            f"{4 * rows * width / 2**30:.2f} GiB of frozen layers' output cannot be kept in "
            f"{folder}: {error.strerror}; nothing was computed. Set compute.cache-dir in "
            'policy.toml to a folder with room, or compute.cache = "memory"'
        ) from error
    return torch.split(torch.from_numpy(mapped), list(lengths))


_Copy = TypeVar("_Copy")
_Batch = TypeVar("_Batch")
_Result = TypeVar("_Result")
# Batches begun and not taken yet, for each copy: bounds what results take.
_AHEAD = 2


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch use one thread inside an operation, in this thread, while the block lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def over(
    copies: Sequence[_Copy],
    batches: Iterable[_Batch],
    compute: Callable[[_Copy, _Batch], _Result],
) -> Iterator[tuple[_Batch, _Result]]:
    """Yield each batch with what `compute` makes of it, in the order of `batches`.

    Args:
        copies: each is used by one thread at a time.
        batches: read from this thread.
        compute: runs in another thread where there are several copies; what it needs of the
            thread (no gradients, a precision) it sets by itself.
    """
    with one_thread():
        if len(copies) == 1:
            for batch in batches:
                yield batch, compute(copies[0], batch)
            return
        yield from _side_by_side(copies, batches, compute)


def _side_by_side(
    copies: Sequence[_Copy],
    batches: Iterable[_Batch],
    compute: Callable[[_Copy, _Batch], _Result],
) -> Iterator[tuple[_Batch, _Result]]:
    idle: SimpleQueue[_Copy] = SimpleQueue()
    for copy in copies:
        idle.put(copy)

    def work(batch: _Batch) -> _Result:
        copy = idle.get()
        try:
            return compute(copy, batch)
        finally:
            idle.put(copy)

    begun: deque[tuple[_Batch, Future[_Result]]] = deque()
    one = partial(torch.set_num_threads, 1)
    with ThreadPoolExecutor(len(copies), "records", initializer=one) as pool:
        for batch in batches:
            begun.append((batch, pool.submit(work, batch)))
            if len(begun) > _AHEAD * len(copies):
                first, result = begun.popleft()
                yield first, result.result()
        while begun:
            first, result = begun.popleft()
            yield first, result.result()


def across(
    devices: Sequence[_Copy],
    batches: Iterable[Batch],
    compute: Callable[[_Copy, Batch], _Result],
) -> Iterator[tuple[Batch, _Result]]:
    """Yield each batch with what `compute` makes of it, in the order of `batches`.

    Guarantee: which device a batch goes to follows from its number among the batches alone, never
    from which device is free. A record that is computed alone goes to the first: its shape was not
    held between devices.

    Args:
        devices: what computes on each, the first one at home; one thread for each.
        batches: read from this thread.
        compute: as for `over`.
    """
    begun: deque[tuple[Batch, Future[_Result]]] = deque()
    one = partial(torch.set_num_threads, 1)
    with ExitStack() as stack, one_thread():
        pools = [
            stack.enter_context(ThreadPoolExecutor(1, f"device-{number}", initializer=one))
            for number in range(len(devices))
        ]
        turn = 0
        for batch in batches:
            place = 0 if batch.shape == ALONE else turn % len(devices)
            turn += batch.shape != ALONE
            begun.append((batch, pools[place].submit(compute, devices[place], batch)))
            # One for each, since what is not taken yet lies on the first (`model fit` counts it).
            if len(begun) > len(devices):
                first, result = begun.popleft()
                yield first, result.result()
        while begun:
            first, result = begun.popleft()
            yield first, result.result()
