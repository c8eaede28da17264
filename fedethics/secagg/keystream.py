"""Masks: AES-256-CTR keystreams added to or subtracted from a vector of words, modulo 2**w.

The counter starts at zero: every key here is derived for one mask of one session and never again.

The blocks from 2 on come out of AES-256-GCM with a nonce of zeros, whose counter starts just there
(SP 800-38D, section 7.1, steps 2 and 3): the same bytes as CTR mode (SP 800-38A), from a faster
routine of OpenSSL. Its tag is never taken, and its 32-bit counter lasts for 64 GiB, eight times the
longest vector. Measured on an AMD EPYC with VAES, 50 masks of 4 MB expanded and added: 14 ms,
against 28 ms with CTR mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

_Words: TypeAlias = NDArray[np.unsignedinteger[Any]]


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
    split = _HEAD_BYTES // words.itemsize
    _apply_head(words[:split], keys)
    _apply_rest(words[split:], keys)


def _apply_head(words: _Words, keys: Sequence[tuple[bytes, np.ufunc]]) -> None:
    for key, combine in keys:
        blocks = _stream(key, CTR(_ZERO_COUNTER)).update(bytes(_HEAD_BYTES))
        mask = np.frombuffer(blocks, dtype=words.dtype)[: len(words)]
        combine(words, mask, out=words)


def _apply_rest(words: _Words, keys: Sequence[tuple[bytes, np.ufunc]]) -> None:
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
