"""Texts that say nearly the same: MinHash over runs of words finds pairs, exact counts decide.

Guarantee: every pair that is reported has a Jaccard similarity of its word runs of at least the
threshold, computed exactly. A pair at a similarity of 0.8 is missed with a chance of 5e-5, one
at 0.9 with less than 1e-9.
Source: Broder, "On the resemblance and containment of documents" (1997); banding as in Leskovec,
Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4.

Sensitive: all of it is about one site's records.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedethics.data.content import Content, parts
from fedethics.errors import DataError

Runs: TypeAlias = NDArray[np.uint64]

# Words of a run. Fewer find more pairs that only share phrases.
RUN = 3
THRESHOLD = 0.8
# At a similarity s, a pair is looked at with a chance of 1 - (1 - s^ROWS)^BANDS.
BANDS, ROWS = 25, 5
_WORD = re.compile(r"\w+")
# An entry of a Python dict with its key and its list, measured generously.
_BYTES_OF_BAND, _BYTES_OF_WORD, _MIB = 250, 8, 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Near:
    """A record that says nearly the same as an earlier one.

    Attributes:
        record: its place among all, training records first.
        other: the place of the earlier one.
        similarity: the Jaccard similarity of their word runs.
        across: whether it is held out and the other is a training record.
    """

    record: int
    other: int
    similarity: float
    across: bool


def words(content: Content) -> list[str]:
    """Return the words of a content, in small letters, without punctuation."""
    return [word for part in parts(content) for word in _WORD.findall(part.casefold())]


def run_hashes(said: Sequence[str], length: int) -> Runs:
    """Return the hashes of all runs of `length` words, each once, sorted.

    A text of fewer words is one run.
    """
    last = max(len(said) - length + 1, 1 if said else 0)
    found = {
        int.from_bytes(
            hashlib.blake2b(" ".join(said[i : i + length]).encode(), digest_size=8).digest()
        )
        for i in range(last)
    }
    return np.array(sorted(found), dtype=np.uint64)


def require_memory(contents: Sequence[Content], *, mebibytes: int) -> None:
    """Refuse texts whose comparison would need more memory than is allowed.

    Raises:
        DataError: they would.
    """
    size = sum(sum(map(len, parts(one))) for one in contents)
    needed = len(contents) * BANDS * _BYTES_OF_BAND + size * _BYTES_OF_WORD // 2
    if needed > mebibytes * _MIB:
        raise DataError(
            f"comparing {len(contents)} texts needs about {-(-needed // _MIB)} MiB, more than the "
            f"{mebibytes} MiB allowed. Nothing was compared. Give --memory more, or check the file "
            "in parts"
        )


def near_duplicates(
    train: Sequence[Content],
    held_out: Sequence[Content],
    *,
    threshold: float = THRESHOLD,
    mebibytes: int = 2048,
) -> tuple[Near, ...]:
    """Return each record that says nearly the same as an earlier one, with the earlier one.

    A held-out record is compared with every training record, and then with earlier held-out
    records. Within one part a record is compared with those that are no repeats themselves: with
    all reported records left out, no pair is left. Records without a word are not compared.

    Args:
        train: texts of the training records.
        held_out: texts of the held-out records.
        threshold: the least Jaccard similarity, over 0 and up to 1.
        mebibytes: of memory that may be used.

    Raises:
        DataError: it would need more memory.
    """
    contents = [*train, *held_out]
    require_memory(contents, mebibytes=mebibytes)
    earlier = _Earlier(len(train), threshold)
    return tuple(found for content in contents if (found := earlier.nearest(content)) is not None)


class _Earlier:
    """The records before one, found again by their bands."""

    def __init__(self, train: int, threshold: float) -> None:
        self._train, self._threshold = train, threshold
        self._permutations = _permutations()
        self._sets: list[Runs] = []
        self._buckets: defaultdict[bytes, list[int]] = defaultdict(list)
        self._repeats: set[int] = set()

    def nearest(self, content: Content) -> Near | None:
        """Return what the next record repeats, and keep the record for those that follow."""
        place, runs = len(self._sets), run_hashes(words(content), RUN)
        self._sets.append(runs)
        if not len(runs):
            return None
        keys = list(_keys(runs, *self._permutations))
        near = self._match(place, {other for key in keys for other in self._buckets[key]})
        if near is not None:
            self._repeats.add(place)
        # Of texts that are equal in each word, the first stands for all.
        if near is None or near.similarity < 1.0:
            for key in keys:
                self._buckets[key].append(place)
        return near

    def _match(self, place: int, candidates: set[int]) -> Near | None:
        # Training records come first: a leak weighs more than a repeat.
        for other in sorted(candidates):
            across = place >= self._train > other
            if other in self._repeats and not across:
                continue
            similarity = jaccard(self._sets[place], self._sets[other])
            if similarity >= self._threshold:
                return Near(record=place, other=other, similarity=similarity, across=across)
        return None


def jaccard(one: Runs, other: Runs) -> float:
    """Return the Jaccard similarity of two sets, each sorted and without repeats."""
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / (len(one) + len(other) - both)


def _permutations() -> tuple[Runs, Runs]:
    """Return BANDS * ROWS odd multipliers and offsets, the same on every machine."""
    count = BANDS * ROWS
    stream = hashlib.shake_256(b"fedethics/near-duplicates/1").digest(16 * count)
    numbers = np.frombuffer(stream, dtype="<u8").astype(np.uint64)
    return numbers[:count] | np.uint64(1), numbers[count:]


def _keys(runs: Runs, multipliers: Runs, offsets: Runs) -> Iterator[bytes]:
    # Hashes are uniform already; multiplication modulo 2^64 orders them anew, by high bits.
    least = np.full(len(multipliers), np.iinfo(np.uint64).max, dtype=np.uint64)
    for begin in range(0, len(runs), 1024):  # bounds the memory of one long text
        ordered = runs[begin : begin + 1024, None] * multipliers + offsets
        least = np.minimum(least, ordered.min(axis=0))
    for band in range(BANDS):
        row = least[band * ROWS : (band + 1) * ROWS]
        yield bytes([band]) + hashlib.blake2b(row.tobytes(), digest_size=12).digest()
