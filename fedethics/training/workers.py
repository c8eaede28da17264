"""Batches computed on several copies of a model, each in a thread of its own.

Threads over batches, never within one: what a batch comes out as must not follow from how many
cores there are or how busy they are. Small products also gain more from a core of their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

import torch

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
