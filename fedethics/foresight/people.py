"""How many records are held out, by group, as far as it is declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedethics.charter.model import Charter
from fedethics.fairness.explained import FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class People:
    """Held-out records of all sites.

    Attributes:
        charter: the terms.
        records: how many.
        groups: by feature, the records of each group in declared order; equal where not given.
    """

    charter: Charter
    records: int
    groups: Mapping[str, tuple[int, ...]]

    def of(self, feature: str, *, at_most: int | None = None) -> FloatArray:
        """Return the records of each group of a feature; of "" those of everyone, shape (1,).

        Args:
            feature: a sensitive feature, or "".
            at_most: of them are counted, of the same mix; None for all.
        """
        counted = self.records if at_most is None else min(self.records, at_most)
        if not feature:
            return np.array([float(counted)])
        names = {one.name: one.groups for one in self.charter.data.sensitive}[feature]
        given = self.groups.get(feature)
        if given is None:
            return np.full(len(names), counted / len(names))
        return np.array(given, dtype=np.float64) * counted / self.records
