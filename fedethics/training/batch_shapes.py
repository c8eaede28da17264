"""The shapes that records are computed in, so that nothing of one depends on the others.

In a batch, the last bits of a record's numbers may follow from its batch mates: from how many there
are, from the longest of them, from how many rows their answers add to a product. An adapter can be
made to turn such bits into other decisions. Here a batch has a fixed number of rows, filled up with
rows of zeros, and a padded length that follows from the record's own length; every product in it
has the same shape whoever is beside. Whether that is enough on this machine is not assumed: a shape
is used once it was proven (records_apart.py), else its records are computed one at a time. Either
way it is the record's own length and the machine that decide.
"""

from __future__ import annotations

from dataclasses import dataclass

# Four lengths to a doubling: at most a quarter is padding, and few shapes have to be proven.
_SHORTEST = 16
_PARTS = 4
_FINEST = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The shape of a physical batch.

    Attributes:
        rows: rows of every batch, filled up with rows of zeros.
        length: tokens that every row is padded to; 0 for the record's own length.
        used: most rows that hold records. One less than `rows` where a record may be as long as
            the shape: then a row of zeros is always there, and no mask is ever all ones, which
            transformers would drop, and with it choose another attention kernel.
    """

    rows: int
    length: int
    used: int


# One record at a time, at its own length: company that cannot matter, since there is none.
ALONE = Shape(rows=1, length=0, used=1)


def shape_for(length: int, *, rows: int, positions: int) -> Shape:
    """Return the shape that a record of `length` tokens is computed in.

    Args:
        length: of the record.
        rows: of a batch, a multiple of 8: products of other row counts were measured to differ in
            the last place of some rows.
        positions: most tokens that the model has positions for. A record may be longer, if what
            is read of it at once is not: of a causal LM's entry, the prompt with either answer.
    """
    padded = _above(length)
    if padded <= positions:
        return Shape(rows=rows, length=padded, used=rows)
    return Shape(rows=rows, length=positions, used=rows - 1)


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
