"""Masks: AES-256-CTR keystreams added to or subtracted from a vector of words, modulo 2**w.

The counter starts at zero: every key here is derived for one mask of one session and never again.
Source: SP 800-38A (CTR), by way of `cryptography`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

CHUNK_BYTES = 1 << 20
_BLOCK_BYTES = 16
_ZEROS = bytes(CHUNK_BYTES)


def apply_masks(
    words: NDArray[np.unsignedinteger[Any]],
    *,
    add: Iterable[bytes] = (),
    subtract: Iterable[bytes] = (),
) -> None:
    """Add and subtract in place the masks of 32-byte keys.

    Args:
        words: one-dimensional, contiguous, unsigned little-endian; changed in place.
        add: keys whose masks are added, modulo 2**w.
        subtract: keys whose masks are subtracted.
    """
    streams: list[tuple[CipherContext, np.ufunc]] = [(_stream(key), np.add) for key in add]
    streams += [(_stream(key), np.subtract) for key in subtract]
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


def _stream(key: bytes) -> CipherContext:
    return Cipher(AES256(key), CTR(bytes(_BLOCK_BYTES))).encryptor()
