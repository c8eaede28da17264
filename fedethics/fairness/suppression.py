"""Small groups are withheld, visibly, together with those that would give them away."""

from __future__ import annotations

import numpy as np

from fedethics.errors import FairnessError
from fedethics.fairness.partition import BoolArray, FloatArray, Partition

MINIMUM_CELL = 11
# A sum over two sites is, to either of them, the other's own figure under noise.
MINIMUM_SITES = 3


def suppressed_groups(partition: Partition, *, minimum_cell: int) -> BoolArray:
    """Return which groups to withhold, shape (G,).

    Guarantee: along every feature of the partition, the withheld groups of a line are at least two
    and hold at least `minimum_cell` records together, unless the whole line is withheld; so the
    line's total less the shown groups gives no small group away. Without noise an empty group is
    not withheld: it holds nobody, and its emptiness must be seen. A group to which fewer than 3
    sites contribute, by the declarations in the roster, is withheld whatever its size.

    The number 11 is borrowed from the cell size policy of the US Centers for Medicare and Medicaid
    Services. This is not that policy: it keeps every cell of 1 to 10 from display, and all that a
    cell of 1 to 10 follows from, percentages too; here whole groups are withheld, and a shown group
    may have a (noisy) cell of 3. Complementary suppression as in Cox (1980), JASA 75:377. Both act
    on what reports show. The protection of the opened sums themselves is their noise.

    Args:
        partition: the groups, with noisy sizes.
        minimum_cell: least number of records shown; 0 turns suppression off.

    Raises:
        FairnessError: a negative minimum.
    """
    if minimum_cell < 0:
        raise FairnessError(f"minimum cell {minimum_cell!r} must not be negative")
    sizes = partition.sizes.reshape(partition.shape)
    empty = (sizes == 0) & (partition.size_variance == 0)
    hidden: BoolArray = (sizes < minimum_cell) & ~empty
    if minimum_cell and partition.contributors is not None:
        hidden |= partition.contributors.reshape(partition.shape) < MINIMUM_SITES
    changed = bool(hidden.any())
    while changed:
        changed = False
        for axis in range(sizes.ndim):
            size = np.moveaxis(sizes, axis, -1)
            hide, none = np.moveaxis(hidden, axis, -1), np.moveaxis(empty, axis, -1)
            for line in np.ndindex(size.shape[:-1]):
                changed |= _complete(size[line], hide[line], none[line], minimum_cell)
    return hidden.reshape(-1)


def _complete(sizes: FloatArray, hidden: BoolArray, empty: BoolArray, minimum_cell: int) -> bool:
    """Hide further groups of one line, in place, until its hidden sum tells nothing small."""
    changed = False
    while hidden.any() and not (hidden | empty).all():
        if hidden.sum() >= 2 and sizes[hidden].sum() >= minimum_cell:
            break
        hidden[np.where(hidden | empty, np.inf, sizes).argmin()] = True
        changed = True
    return changed


def suppression_reason(minimum_cell: int) -> str:
    """Return the one reason given for every withheld group, small or complementary."""
    # Sensitive: two different reasons would tell which of the withheld groups is the small one.
    return (
        f"withheld: fewer than {minimum_cell} records or {MINIMUM_SITES} sites, or needed so that "
        "such a group cannot be found by subtraction"
    )
