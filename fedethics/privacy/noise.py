"""Randomness for noise: a cryptographic stream that no two sites, runs or processes share.

Guarantee: a source made `from_os` is AES-256-CTR under a fresh 256-bit key of the operating
system; it cannot be copied or pickled, and a forked process gets a new key, because two holders of
one stream would draw the same noise and their difference would be noise-free.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
from typing import NoReturn

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from fedethics.errors import AccountingError
from fedethics.privacy.sampler import skellam_table

_KEY_BYTES = 32


class NoiseSource:
    """A stream of random bytes and the exact noise drawn from it.

    Attributes:
        fixed_for_tests: True when the stream follows from a seed. What it draws is reproducible
            and therefore gives no protection; a site's policy refuses it by default.
    """

    __slots__ = ("_encryptor", "_key", "_lock", "_process", "fixed_for_tests")

    def __init__(self, key: bytes, *, fixed_for_tests: bool) -> None:
        """Use `from_os` or `fixed`."""
        self.fixed_for_tests = fixed_for_tests
        self._lock = threading.Lock()
        self._start(key)

    @classmethod
    def from_os(cls) -> NoiseSource:
        """Return a source keyed by the operating system's randomness."""
        return cls(os.urandom(_KEY_BYTES), fixed_for_tests=False)

    @classmethod
    def fixed(cls, seed: bytes) -> NoiseSource:
        """Return a reproducible source, for tests and exact comparisons only."""
        key = hashlib.sha256(b"fedethics fixed noise\x00" + seed).digest()
        return cls(key, fixed_for_tests=True)

    def derive(self, label: str) -> NoiseSource:
        """Return an independent source.

        From an operating-system source it has a fresh key, whatever the label. From a fixed one it
        follows from the label: the same label gives the same stream again.
        """
        if not self.fixed_for_tests:
            return NoiseSource.from_os()
        key = hmac.digest(self._key, b"derive\x00" + label.encode("utf-8"), "sha256")
        return NoiseSource(key, fixed_for_tests=True)

    def random_bytes(self, count: int) -> bytes:
        """Return the next `count` bytes of the stream."""
        with self._lock:
            if self._process != os.getpid() and not self.fixed_for_tests:
                self._start(os.urandom(_KEY_BYTES))
            return self._encryptor.update(bytes(count))

    def uniform(self, size: int) -> NDArray[np.float64]:
        """Return `size` numbers in [0, 1), uniform on the multiples of 2^-53."""
        return (self._words(size) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def skellam(self, *, variance: float, size: int) -> NDArray[np.int64]:
        """Return `size` independent draws of Skellam(variance), mean 0.

        Raises:
            AccountingError: variance not above 0. A table that is to leave without noise must
                not pass through here, so that a wrong variance can never mean "no noise".
        """
        if not variance > 0:
            raise AccountingError(
                f"Skellam variance must be above 0, got {variance!r}; nothing was drawn"
            )
        return skellam_table(variance).draw(self._words(size), lambda: int(self._words(1)[0]))

    def _words(self, count: int) -> NDArray[np.uint64]:
        return np.frombuffer(self.random_bytes(8 * count), dtype="<u8").astype(np.uint64)

    def _start(self, key: bytes) -> None:
        self._key = key
        self._process = os.getpid()
        # The counter starts at zero under a key that is never used again.
        self._encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a NoiseSource cannot be copied or pickled: both copies would draw alike")

    def __repr__(self) -> str:
        return f"NoiseSource(fixed_for_tests={self.fixed_for_tests})"
