"""The fewest honest sites in any sum that can be opened: for how many shares noise is planned.

One answer for all callers: the charter's rules, the plan of noise, the site's permit and the
protocol's own terms. It is a bound against a coordinator that lies to each site as it likes and
holds all that the colluding sites know. Derivation: docs/secagg.md, "The fewest honest sites in a
sum".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

Mode: TypeAlias = Literal["strict", "fast"]
_Counts: TypeAlias = NDArray[np.int64]

# No sum may be one honest site's vector.
SMALLEST_HONEST = 2
# Up to so many sites everyone shares masks with everyone; larger epochs draw a ring.
COMPLETE_UP_TO = 500
# On the ring the bound for strict mode holds but for this probability over all the orders that a
# run may draw: 2**-40 for each of at most 2**8 attempts.
RING_FAILURE = 2.0**-32


def share_threshold(cohort: int, *, colluders: int) -> int:
    """Return t for a cohort of n sites: max(floor(2n/3) + 1, floor((n + c)/2) + 1).

    Guarantee: with at most c colluding sites, t answers of one kind and t of the other cannot both
    be gathered when each honest site answers once (2t > n + c).
    """
    return max(2 * cohort // 3 + 1, (cohort + colluders) // 2 + 1)


def fewest_honest_sites(
    cohort: int, *, colluders: int, threshold: int, minimum: int, mode: Mode
) -> int:
    """Return the fewest honest sites in any sum that can be opened over one cohort.

    Guarantee: whatever the coordinator tells each site, and whatever up to `colluders` sites add to
    it, no combination of masked vectors of one session is free of masks with fewer honest sites in
    it, but none at all. In mode "fast" the bound is exact: some telling reaches it.

    Args:
        cohort: sites of the session, n.
        colluders: sites that share all they know with the coordinator, c.
        threshold: shares that open a secret, t, with 2t > n + c.
        minimum: sites below which nobody reveals; m is this or `threshold`, whichever is more.
        mode: "strict": survivors are signed before a share is revealed. "fast": they are not.

    Returns:
        At least 1. In mode "fast" it may be 1: then a site's vector can be opened alone.
    """
    smallest = max(threshold, minimum)
    match mode:
        case "strict":
            return smallest - colluders
        case "fast":
            session = _Session(
                honest=cohort - colluders,
                needed=threshold - colluders,
                listed=smallest - colluders,
                spare=max(cohort - smallest, 0),
            )
            return session.fewest()
        case unknown:
            assert_never(unknown)


@lru_cache(maxsize=1024)
def fewest_in_any_sum(
    roster: int, *, colluders: int, minimum: int, mode: Mode, whole_roster: bool
) -> int:
    """Return the fewest honest sites in any sum that a federation's sites will help to open.

    The coordinator chooses the cohort, any from `minimum` sites to the whole roster, so the worst
    of them counts. Sums over the whole roster or nothing leave it no choice: every honest site is
    in them, in both modes.

    Args:
        roster: sites of the federation, at least `minimum`.
        colluders: of them.
        minimum: the smallest cohort.
        mode: of the charter.
        whole_roster: whether each site refuses any sum that does not span the roster.
    """
    if whole_roster:
        return roster - colluders
    # In strict mode the smallest sum grows with the cohort.
    most = minimum if mode == "strict" else roster
    return min(
        fewest_honest_sites(
            cohort,
            colluders=colluders,
            threshold=share_threshold(cohort, colluders=colluders),
            minimum=minimum,
            mode=mode,
        )
        for cohort in range(minimum, most + 1)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Session:
    """One session in mode "fast", seen by a coordinator that tells each site something different.

    Colluding sites are in every list and give every share, so all numbers are of honest sites.

    Attributes:
        honest: sites of the cohort that do not collude, n - c.
        needed: honest shares that open a secret, t - c.
        listed: honest sites that each list of survivors must hold, m - c.
        spare: sites of the whole cohort that a list may leave out, n - m.
    """

    honest: int
    needed: int
    listed: int
    spare: int

    def fewest(self) -> int:
        """Return the fewest sites whose sum can be opened without any other's."""
        if self.listed == 1:
            return 1
        # By number of opened sites (rows) and of others whose keys are had (columns).
        opened = np.arange(1, self.listed)[:, None]
        dropped = np.arange(1, self.honest)[None, :]
        known = opened + dropped
        possible = (known >= self.listed) & (known <= self.honest)
        # Opened sites know of no others than these two kinds, so they call fewer of them dropped.
        spare = np.minimum(self.spare, known - self.listed)
        for few in (1, spare, spare + 1, self.spare, self.spare + 1, dropped):
            some = np.clip(few, 1, dropped)
            possible &= self._shares(opened, spare, some) >= some * self.needed
        sizes = np.flatnonzero(possible.any(axis=1))
        return int(sizes[0]) + 1 if len(sizes) else self.listed

    def _shares(self, opened: _Counts, spare: _Counts, some: _Counts) -> _Counts:
        """Return how many key shares of `some` dropped sites all lists together can give.

        It is linear in `some` between the places that `fewest` looks at.
        """
        return np.asarray(
            opened * np.minimum(spare, some)
            + some * np.minimum(self.spare, some - 1)  # nobody calls itself dropped
            + (self.honest - opened - some) * np.minimum(self.spare, some)
        )
