"""A mask is the AES-256 counter keystream from zero, whatever routine makes it."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedethics.secagg import masking
from fedethics.secagg.masking import CHUNK_BYTES, apply_masks

KEY = bytes(range(32))
HEAD_BYTES = 32


def counter_blocks(size):
    """The cipher, block by block, over 0, 1, 2, ...: SP 800-38A section 6.5 by its definition."""
    blocks = Cipher(algorithms.AES256(KEY), modes.ECB()).encryptor()
    return blocks.update(b"".join(k.to_bytes(16, "big") for k in range(-(-size // 16))))[:size]


def sizes(itemsize):
    borders = (HEAD_BYTES, CHUNK_BYTES, HEAD_BYTES + CHUNK_BYTES, HEAD_BYTES + 2 * CHUNK_BYTES)
    near = {border // itemsize + by for border in borders for by in (-1, 0, 1)}
    return sorted(near | {1, 2, 3})


@pytest.mark.parametrize("word", ["<u2", "<u4", "<u8"])
def test_every_word_of_a_mask_is_the_keystreams_at_every_border(word):
    dtype = np.dtype(word)
    stream = np.frombuffer(counter_blocks(HEAD_BYTES + 3 * CHUNK_BYTES), dtype=dtype)
    for length in sizes(dtype.itemsize):
        words = np.full(length, 7, dtype=dtype)
        apply_masks(words, add=[KEY])
        assert np.array_equal(words, stream[:length] + dtype.type(7)), length
        apply_masks(words, subtract=[KEY])
        assert np.all(words == 7)


def test_masks_of_several_keys_add_up_in_any_order_and_cancel():
    keys = [bytes([k]) * 32 for k in range(6)]
    words = np.arange(50_001, dtype="<u4")
    once = words.copy()
    apply_masks(once, add=keys[:4], subtract=keys[4:])
    one_by_one = words.copy()
    for key in reversed(keys):
        place = {"add": [key]} if key in keys[:4] else {"subtract": [key]}
        apply_masks(one_by_one, **place)
    assert np.array_equal(once, one_by_one)
    apply_masks(once, add=keys[4:], subtract=keys[:4])
    assert np.array_equal(once, words)


@pytest.mark.parametrize("cores", [2, 3, 16])
@pytest.mark.parametrize("masks", [1, 2, 5, 50])
def test_threads_change_nothing_but_the_time(monkeypatch, cores, masks):
    keys = [bytes([k]) * 32 for k in range(masks)]
    alone = np.arange(70_001, dtype="<u4")
    together = alone.copy()
    monkeypatch.setattr(masking, "_CORES", 1)
    apply_masks(alone, add=keys[::2], subtract=keys[1::2])
    monkeypatch.setattr(masking, "_CORES", cores)
    monkeypatch.setattr(masking, "_WORTH_A_THREAD", alone.nbytes)
    apply_masks(together, add=keys[::2], subtract=keys[1::2])
    assert np.array_equal(alone, together)
