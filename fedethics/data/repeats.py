"""Records that say the same: equal rows, equal texts, and texts on both sides of the split."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass

from fedethics.data.records import Split


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeats:
    """How much of a file says what another record says already.

    Attributes:
        rows: records that equal one before them in every column.
        texts: records whose text, but for case and spaces, is that of one before them.
        contradictions: texts that stand with both labels.
        leaked: held-out records whose text stands among the training records too.
    """

    rows: int
    texts: int
    contradictions: int
    leaked: int


def find_repeats(parts: Split) -> Repeats:
    """Count repeats by exact hash."""
    labels: defaultdict[bytes, set[int]] = defaultdict(set)
    seen: list[Counter[bytes]] = []
    for part in (parts.train, parts.held_out):
        digests = [text_hash(text) for text in part.texts]
        seen.append(Counter(digests))
        for digest, label in zip(digests, part.labels, strict=True):
            labels[digest].add(int(label))
    train, held_out = seen
    rows = parts.train.row_hashes + parts.held_out.row_hashes
    return Repeats(
        rows=len(rows) - len(set(rows)),
        texts=len(rows) - len(labels),
        contradictions=sum(len(found) > 1 for found in labels.values()),
        leaked=sum(count for digest, count in held_out.items() if digest in train),
    )


def reading_notes(parts: Split) -> dict[str, int]:
    """Return what the site's own log says of a reading: counts, for the site's eyes only."""
    repeats = find_repeats(parts)
    return {
        "train": len(parts.train),
        "held_out": len(parts.held_out),
        "left_out": sum(parts.train.dropped.values()),
        "repeated_rows": repeats.rows,
        "held_out_texts_in_training": repeats.leaked,
    }


def text_hash(text: str) -> bytes:
    """Return the SHA-256 of a text without regard to case and spaces."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode("utf-8")).digest()
