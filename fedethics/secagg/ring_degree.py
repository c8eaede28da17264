"""How many neighbours a site needs on the ring, and how many of them must answer.

Source: Bell, Bonawitz, Gascón, Lepoint, Raykova (2020), "Secure single-server aggregation with
(poly)logarithmic overhead", for the semi-malicious server; the parameters are those of Google's
published finder. All probabilities are exact integer ratios.

Bell et al. let dropouts fall at random. Our server may choose whom it declares dropped after it
has seen the graph, so `ring_degree` adds a condition (docs/secagg.md, "The ring").
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

# The sites' secrets hold but for 2**-40, shared between two bad events; a sum fails to open for
# want of neighbours in 2**-20 of all cases.
_SECRECY_BITS: Final = 40 + 1
_FAILURE_BITS: Final = 20
_SMALLEST_THRESHOLD: Final = 2


class RingDegree(NamedTuple):
    """`neighbours` (even) of each site, and the `threshold` of them that opens a secret."""

    neighbours: int
    threshold: int


def bell_degree(sites: int, *, colluders: int, dropouts: int) -> RingDegree | None:
    """Return the smallest degree and threshold of Bell et al., or None if there are none."""
    return next((degree for degree, _ in _feasible(sites, colluders, dropouts)), None)


@lru_cache(maxsize=64)
def ring_degree(sites: int, *, colluders: int, dropouts: int) -> RingDegree | None:
    """Return the smallest degree and threshold that also hold when the server picks the dropouts.

    Guarantee: but for 2**-40 over the order of the ring, no site has `threshold` colluding
    neighbours, no two disjoint sets of `threshold` honest-or-colluding neighbours exist, and no
    choice of dropouts that leaves `threshold` neighbours to each opened site cuts the honest
    sites in two.

    Args:
        sites: in the epoch.
        colluders: of them.
        dropouts: that a sum should survive in all but 2**-20 of all cases.

    Returns:
        None if no degree below `sites` - 1 does: use the complete graph.
    """
    for degree, most in _feasible(sites, colluders, dropouts):
        for threshold in range(degree.threshold, most + 1):
            if _holds_against_chosen_dropouts(sites, colluders, degree.neighbours, threshold):
                return RingDegree(degree.neighbours, threshold)
    return None


def _feasible(sites: int, colluders: int, dropouts: int) -> Iterator[tuple[RingDegree, int]]:
    """Yield each degree that is secure and correct, and the largest threshold that is correct."""
    for neighbours in range(2, sites - 1, 2):
        if not _stays_connected(sites, colluders + dropouts, neighbours):
            continue
        colluding = _rarely_more(sites, colluders, neighbours, bits=_SECRECY_BITS)
        most = neighbours - _rarely_more(sites, dropouts, neighbours, bits=_FAILURE_BITS)
        # 2 * threshold > neighbours + colluding: two sets of answers share an honest site.
        least = (neighbours + colluding) // 2 + 1
        if least <= most:
            threshold = max(least, _SMALLEST_THRESHOLD)
            yield RingDegree(neighbours, threshold), max(most, threshold)


def _stays_connected(sites: int, bad: int, neighbours: int) -> bool:
    # To cut the ring, neighbours/2 successive sites must be bad at two places.
    pairs_of_gaps = sites * (sites - neighbours - 1)
    cut = pairs_of_gaps * math.comb(bad, neighbours)
    return cut << _SECRECY_BITS < 2 * math.comb(sites, neighbours)


def _holds_against_chosen_dropouts(
    sites: int, colluders: int, neighbours: int, threshold: int
) -> bool:
    # Beside a gap lives an opened site, so at most neighbours - threshold of the gap's sites are
    # honest and dropped; the others of two gaps, 2 * threshold - neighbours, must collude.
    pairs_of_gaps = sites * (sites - neighbours - 1)
    needed = 2 * threshold - neighbours
    numerator = sum(
        count for number, count in _samples(sites, colluders, neighbours) if number >= needed
    )
    total = math.comb(sites, neighbours)
    return pairs_of_gaps * numerator << _SECRECY_BITS < 2 * total


def _rarely_more(sites: int, marked: int, sampled: int, *, bits: int) -> int:
    """Return the least x such that a site has more than x marked neighbours rarely enough."""
    total, tail = math.comb(sites, sampled), 0
    for number, count in _samples(sites, marked, sampled):
        tail += count
        if (tail * sites) << bits >= total:
            return number
    return -1


def _samples(sites: int, marked: int, sampled: int) -> Iterator[tuple[int, int]]:
    """Yield x from above, and how many samples of `sampled` sites hold x of the marked ones."""
    number = min(marked, sampled)
    count = math.comb(marked, number) * math.comb(sites - marked, sampled - number)
    while number >= 0 and count:
        yield number, count
        count = count * number * (sites - marked - sampled + number)
        count //= (marked - number + 1) * (sampled - number + 1)
        number -= 1
