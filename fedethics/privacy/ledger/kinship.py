"""Files that hold the same people: a data file that grew or was corrected is kin to the one before.

Guarantee: kinship only ever grows. It is symmetric and transitive, so putting an earlier file back,
or a third one in its place, frees no budget.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedethics.privacy.ledger.entries import DataSet


def linked_files(charged: Sequence[DataSet], data_set: DataSet | None) -> frozenset[str]:
    """Return the other files whose charges count against `data_set`; none for None.

    Args:
        charged: every account as it was named in each charge, released ones too.
        data_set: the account asked about; its own `follows` count although not charged yet.
    """
    if data_set is None:
        return frozenset()
    kin = {data_set.file}
    ties = [{each.file, *each.follows} for each in (*charged, data_set) if each.follows]
    while reached := [tie for tie in ties if tie & kin and not tie <= kin]:
        kin.update(*reached)
    return frozenset(kin - {data_set.file})
