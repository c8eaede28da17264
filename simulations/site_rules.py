"""How much each site's update counts, where it depends on the sites' losses: baselines only.

These rules read every site's own loss. A simulation can; a federation under secure aggregation
must not, so fedethics does not offer them to sites.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

_Q = 1.0
_STEP = 1.0


class SiteRule(Protocol):
    """Turns the sites' losses before a round into shares of the round's mean."""

    def shares(
        self, losses: Mapping[str, float], declared: Mapping[str, int]
    ) -> Mapping[str, float]:
        """Return each site's share; they add up to 1."""


@dataclass(frozen=True, slots=True)
class QFedAvg:
    """Share in proportion to size times loss to the power q (Li et al. 2020, arXiv 1905.10497).

    Their method also rescales the step; here only the shares are theirs.
    """

    q: float = _Q

    def shares(
        self, losses: Mapping[str, float], declared: Mapping[str, int]
    ) -> Mapping[str, float]:
        """Return the shares; q = 0 is plain averaging."""
        raw = {site: declared[site] * losses[site] ** self.q for site in losses}
        return {site: value / sum(raw.values()) for site, value in raw.items()}


@dataclass(slots=True)
class AgnosticAveraging:
    """Shares grow by exp(step * loss) from round to round (AFL: Mohri et al. 2019, 1902.00146).

    Exponentiated gradient instead of their projection onto the simplex.
    """

    step: float = _STEP
    _weight: dict[str, float] = field(default_factory=dict)

    def shares(
        self, losses: Mapping[str, float], declared: Mapping[str, int]
    ) -> Mapping[str, float]:
        """Return the shares and remember them for the next round."""
        grown = {
            site: self._weight.get(site, declared[site]) * float(np.exp(self.step * loss))
            for site, loss in losses.items()
        }
        total = sum(grown.values())
        self._weight = {site: value / total for site, value in grown.items()}
        return self._weight
