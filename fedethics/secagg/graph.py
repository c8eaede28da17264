"""Who shares masks with whom: everyone with everyone, or each site with its ring neighbours.

Source: Bell et al. (2020). On a ring of n sites in random order each site is joined to the k/2
before and the k/2 after it, a Harary graph: cost grows with k, about log n, instead of with n.

How many neighbours a site needs on the ring, and how many of them must answer.

Source: Bell, Bonawitz, Gascón, Lepoint, Raykova (2020), "Secure single-server aggregation with
(poly)logarithmic overhead", for the semi-malicious server; the parameters are those of Google's
published finder. All probabilities are exact integer ratios.

Bell et al. let dropouts fall at random. Our server may choose whom it declares dropped after it
has seen the graph, so `ring_degree` adds a condition (docs/secagg.md, "The ring").

The order of the ring: drawn together, so that neither the coordinator nor a site can choose it.

Each site commits to a nonce in EPOCH and opens it in EPOCH_ACK, after ROSTER has fixed everybody's
commitments. The order is a hash of all nonces: as long as one honest site's nonce is unknown when
the commitments are fixed, nobody knows the order while they can still change anything but whether
the epoch goes on (docs/secagg.md, "The ring").
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from fedethics.secagg import derivation
from fedethics.secagg.terms import SecaggTerms

# The sites' secrets hold but for 2**-40, shared between two bad events; a sum fails to open for
# want of neighbours in 2**-20 of all cases.
_SECRECY_BITS: Final = 40 + 1
_FAILURE_BITS: Final = 20
_SMALLEST_THRESHOLD: Final = 2


class RingDegree(NamedTuple):
    """`neighbours` (even) of each site, and the `threshold` of them that opens a secret."""

    neighbours: int
    threshold: int


@lru_cache(maxsize=64)
def ring_degree(sites: int, *, colluders: int, dropouts: int) -> RingDegree | None:
    """Return the smallest degree and threshold that also hold when the server picks the dropouts.

    Guarantee, except with probability 2**-40 over the order of the ring: no site has `threshold`
    colluding neighbours; no two disjoint sets of `threshold` honest-or-colluding neighbours exist;
    no choice of dropouts that leaves `threshold` neighbours to each opened site cuts the honest
    sites in two.

    Args:
        sites: in the epoch.
        colluders: of them.
        dropouts: that a sum should survive, except in 2**-20 of all cases.

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


COMPLETE: Final = "complete"
HARARY: Final = "harary"


class Shape(NamedTuple):
    """What OPEN says of the graph: its name, and how many shares open a secret."""

    graph: str
    threshold: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """The graph of one session.

    Attributes:
        cohort: every site, sorted.
        threshold: how many shares open a secret.
        neighbourhoods: site -> its neighbours, sorted; None if everyone is everyone's.
    """

    cohort: tuple[str, ...]
    threshold: int
    neighbourhoods: Mapping[str, tuple[str, ...]] | None = None

    def peers(self, site: str) -> tuple[str, ...]:
        """Return the sites that share a mask with `site`, sorted."""
        if self.neighbourhoods is None:
            return tuple(peer for peer in self.cohort if peer != site)
        return self.neighbourhoods[site]

    def holders(self, site: str) -> tuple[str, ...]:
        """Return who holds shares of the secrets of `site`; holder k, from 1, has point x = k.

        In the complete graph a site holds one of its own, as in Bonawitz et al.; on the ring only
        its neighbours do, as in Bell et al.
        """
        return self.cohort if self.neighbourhoods is None else self.neighbourhoods[site]

    def held_by(self, holder: str, *, among: Sequence[str]) -> list[str]:
        """Return those of `among`, in their order, of whose secrets `holder` has a share."""
        if self.neighbourhoods is None:
            return list(among)
        near = set(self.neighbourhoods[holder])  # neighbours are mutual
        return [site for site in among if site in near]


def shape(cohort_size: int, *, epoch_size: int, terms: SecaggTerms) -> Shape:
    """Return the graph that the charter prescribes for a cohort in an epoch."""
    degree = _degree(cohort_size, epoch_size, terms)
    if degree is None:
        return Shape(COMPLETE, terms.threshold(cohort_size))
    return Shape(HARARY, degree.threshold)


def graph_of(cohort: Sequence[str], *, ring: Sequence[str], terms: SecaggTerms) -> Graph:
    """Return the graph of a session.

    Args:
        cohort: sorted; on a ring it is the whole epoch. A smaller one, where the charter draws
            cohorts, shares masks with all of itself.
        ring: the epoch's sites in ring order, or nothing if the epoch drew none.
        terms: the charter's terms.
    """
    everyone = tuple(cohort)
    degree = _degree(len(cohort), len(ring), terms)
    if degree is None:
        return Graph(cohort=everyone, threshold=terms.threshold(len(everyone)))
    reach = degree.neighbours // 2
    around = (*ring[-reach:], *ring, *ring[:reach])
    neighbourhoods = {
        site: tuple(sorted((*around[k : k + reach], *around[k + reach + 1 : k + 2 * reach + 1])))
        for k, site in enumerate(ring)
    }
    return Graph(cohort=everyone, threshold=degree.threshold, neighbourhoods=neighbourhoods)


def _degree(cohort_size: int, epoch_size: int, terms: SecaggTerms) -> RingDegree | None:
    if not terms.draws_ring or epoch_size <= terms.complete_up_to:
        return None
    # Nobody can choose neighbours in a cohort that shares masks with all of itself.
    if terms.draws_cohorts and cohort_size <= min(epoch_size - 1, terms.complete_up_to):
        return None
    dropouts = int(terms.ring_dropout_rate * epoch_size)
    return ring_degree(epoch_size, colluders=terms.colluders, dropouts=dropouts)


RING_NONCE_BYTES = 32


def nonce_commitment(nonce: bytes, *, epoch: str, site: str) -> str:
    """Return the hex hash by which a site commits to its nonce."""
    bound_to = derivation.label(epoch)
    return derivation.commitment(nonce, session=bound_to, use="ring", sites={site}).hex()


def drawn_order(nonces: Mapping[str, bytes], *, epoch_hash: bytes) -> tuple[str, ...]:
    """Return the sites of an epoch in the order of the ring."""
    drawn = b"".join(nonces[site] for site in sorted(nonces))
    seed = derivation.derive(drawn, salt=epoch_hash, info=derivation.label("ring-seed"))
    return tuple(sorted(nonces, key=lambda site: _position(site, seed)))


def _position(site: str, seed: bytes) -> bytes:
    return hashlib.sha256(derivation.label("ring-position", site) + seed).digest()
