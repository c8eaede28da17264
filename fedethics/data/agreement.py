"""Agreement between annotators: Krippendorff's alpha for nominal values.

Source: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C. The
coincidence matrix is a sum over items, so the matrices of several sites add up to that of all.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

# Krippendorff's customary limits: rely on 0.800 and above, draw tentative conclusions from 0.667.
RELIABLE = 0.8
TENTATIVE = 0.667


@dataclass(frozen=True, kw_only=True, slots=True)
class Coincidences:
    """How often two annotators of one item gave the values c and k, each item weighing its raters.

    Attributes:
        pairs: (c, k) -> o_ck, symmetric; items with fewer than two values add nothing.
        items: items that added something.
    """

    pairs: Mapping[tuple[str, str], float] = field(default_factory=dict)
    items: int = 0

    def __add__(self, other: Coincidences) -> Coincidences:
        """Return the coincidences of both sets of items: another site, another group."""
        both = set(self.pairs) | set(other.pairs)
        pairs = {key: self.pairs.get(key, 0.0) + other.pairs.get(key, 0.0) for key in both}
        return Coincidences(pairs=pairs, items=self.items + other.items)

    def alpha(self) -> float:
        """Return alpha = 1 - observed over expected disagreement; NaN where values do not vary."""
        totals: defaultdict[str, float] = defaultdict(float)
        for (value, _), count in self.pairs.items():
            totals[value] += count
        everything = sum(totals.values())
        observed = sum(count for (c, k), count in self.pairs.items() if c != k)
        expected = everything**2 - sum(count**2 for count in totals.values())
        if not expected:
            return math.nan
        return 1 - (everything - 1) * observed / expected


def coincidences(items: Iterable[Sequence[str]]) -> Coincidences:
    """Count the coincidences of `items`: each one's values, "" where an annotator gave none."""
    pairs: defaultdict[tuple[str, str], float] = defaultdict(float)
    used = 0
    for item in items:
        given = Counter(value for value in item if value)
        raters = sum(given.values())
        if raters < 2:
            continue
        used += 1
        for c, times in given.items():
            for k, others in given.items():
                together = times * (times - 1) if c == k else times * others
                if together:
                    pairs[c, k] += together / (raters - 1)
    return Coincidences(pairs=dict(pairs), items=used)
