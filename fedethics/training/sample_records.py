"""Records made up from a charter's columns alone, to try the engine where no data may be."""

from __future__ import annotations

import numpy as np

from fedethics.charter.data_terms import Column, DataTerms
from fedethics.data.cells import Value, wording
from fedethics.data.records import Targets

_SEED = 20_240_601
_WIDEST = 1000.0
_WORDS = ("one", "patient", "applied", "with", "two", "years", "of", "work", "and", "some", "pain")


def sample_records(
    terms: DataTerms, count: int, *, classes: int = 2
) -> tuple[tuple[str, ...], Targets]:
    """Return `count` texts as a site's records would be worded, and targets in turn.

    Nothing in them is real: numbers are uniform in their range, categories uniform, and in every
    other record the last column is not recorded, so that lengths differ.
    """
    random = np.random.Generator(np.random.Philox(_SEED))
    shown = [column for column in terms.columns if column.phrase]
    texts = []
    for row in range(count):
        kept = shown[: max(1, len(shown) - row % 2)]
        texts.append(", ".join(wording(_value(column, random), column) for column in kept))
    return tuple(texts), np.arange(count, dtype=np.int16) % classes


def _value(column: Column, random: np.random.Generator) -> Value:
    if column.kind == "category":
        raws = tuple(column.choices)
        return raws[int(random.integers(len(raws)))]
    if column.kind == "text":
        return " ".join(random.choice(_WORDS, int(random.integers(1, 40))))[: column.max_chars]
    low, high = max(column.minimum, -_WIDEST), min(column.maximum, _WIDEST)
    return round(float(random.uniform(low, high)), 1)
