"""Masks: AES-256-CTR keystreams added to or subtracted from a vector of words, modulo 2**w.

The counter starts at zero: every key here is derived for one mask of one session and never again.

The blocks from 2 on come out of AES-256-GCM with a nonce of zeros, whose counter starts just there
(SP 800-38D, section 7.1, steps 2 and 3): the same bytes as CTR mode (SP 800-38A), from a faster
routine of OpenSSL. Its tag is never taken, and its 32-bit counter lasts for 64 GiB, eight times the
longest vector. Measured on an AMD EPYC with VAES, 50 masks of 4 MB expanded and added: 14 ms,
against 28 ms with CTR mode.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR, GCM
from numpy.typing import NDArray

# A chunk of the vector, one of the mask and one of zeros lie in a 1 MiB cache together: 14 GB/s,
# with chunks of 16 KiB 10 GB/s.
CHUNK_BYTES = 1 << 17
_BLOCK_BYTES = 16
# The blocks before GCM's first one.
_HEAD_BYTES = 2 * _BLOCK_BYTES
_ZEROS = bytes(CHUNK_BYTES)
_ZERO_COUNTER = bytes(_BLOCK_BYTES)
_ZERO_NONCE = bytes(12)

# 5 ms of work; below it, a thread costs more than it brings.
_WORTH_A_THREAD = 1 << 26
_CORES = min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)

_Words: TypeAlias = NDArray[np.unsignedinteger[Any]]
_Key: TypeAlias = tuple[bytes, np.ufunc]


def apply_masks(
    words: _Words, *, add: Iterable[bytes] = (), subtract: Iterable[bytes] = ()
) -> None:
    """Add and subtract in place the masks of 32-byte keys.

    Args:
        words: one-dimensional, contiguous, unsigned little-endian; changed in place.
        add: keys whose masks are added, modulo 2**w.
        subtract: keys whose masks are subtracted.
    """
    keys = [(key, np.add) for key in add] + [(key, np.subtract) for key in subtract]
    threads = min(_CORES, len(keys) * words.nbytes // _WORTH_A_THREAD)
    if threads > 1:
        _apply_in_threads(words, keys, threads)
    else:
        _apply(words, keys)


def _apply_in_threads(words: _Words, keys: Sequence[_Key], threads: int) -> None:
    # The keystream and the sums release the interpreter's lock. Each thread but this one has an
    # accumulator of its own, so it costs one vector of memory and one addition.
    others = [np.zeros_like(words) for _ in range(threads - 1)]
    with ThreadPoolExecutor(max_workers=threads - 1) as pool:
        running = [
            pool.submit(_apply, other, keys[k::threads]) for k, other in enumerate(others, start=1)
        ]
        _apply(words, keys[::threads])
        for done, other in zip(running, others, strict=True):
            done.result()
            np.add(words, other, out=words)


def _apply(words: _Words, keys: Sequence[_Key]) -> None:
    split = _HEAD_BYTES // words.itemsize
    _apply_head(words[:split], keys)
    _apply_rest(words[split:], keys)


def _apply_head(words: _Words, keys: Sequence[_Key]) -> None:
    for key, combine in keys:
        blocks = _stream(key, CTR(_ZERO_COUNTER)).update(bytes(_HEAD_BYTES))
        mask = np.frombuffer(blocks, dtype=words.dtype)[: len(words)]
        combine(words, mask, out=words)


def _apply_rest(words: _Words, keys: Sequence[_Key]) -> None:
    streams = [(_stream(key, GCM(_ZERO_NONCE)), combine) for key, combine in keys]
    # update_into asks for a block less one byte more than it writes.
    buffer = np.empty(CHUNK_BYTES + _BLOCK_BYTES - 1, dtype=np.uint8)
    zeros = memoryview(_ZEROS)
    words_per_chunk = CHUNK_BYTES // words.itemsize
    # All masks of one chunk before the next chunk: the accumulator stays in cache.
    for start in range(0, len(words), words_per_chunk):
        chunk = words[start : start + words_per_chunk]
        mask = buffer[: chunk.nbytes].view(words.dtype)
        for stream, combine in streams:
            stream.update_into(zeros[: chunk.nbytes], buffer.data)
            combine(chunk, mask, out=chunk)


def _stream(key: bytes, mode: CTR | GCM) -> CipherContext:
    return Cipher(AES256(key), mode).encryptor()
