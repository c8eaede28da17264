"""Who shares masks with whom: everyone with everyone, or each site with its ring neighbours.

Source: Bell et al. (2020). On a ring of n sites in random order each site is joined to the k/2
before and the k/2 after it, a Harary graph: cost grows with k, about log n, instead of with n.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from fedethics.secagg.ring_degree import RingDegree, ring_degree
from fedethics.secagg.terms import SecaggTerms

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
    degree = _degree(epoch_size, terms)
    if degree is None:
        return Shape(COMPLETE, terms.threshold(cohort_size))
    return Shape(HARARY, degree.threshold)


def graph_of(cohort: Sequence[str], *, ring: Sequence[str], terms: SecaggTerms) -> Graph:
    """Return the graph of a session.

    Args:
        cohort: sorted; on a ring it is the whole epoch.
        ring: the epoch's sites in ring order, or nothing if the epoch drew none.
        terms: the charter's terms.
    """
    everyone = tuple(cohort)
    degree = _degree(len(ring), terms)
    if degree is None:
        return Graph(cohort=everyone, threshold=terms.threshold(len(everyone)))
    reach = degree.neighbours // 2
    around = (*ring[-reach:], *ring, *ring[:reach])
    neighbourhoods = {
        site: tuple(sorted((*around[k : k + reach], *around[k + reach + 1 : k + 2 * reach + 1])))
        for k, site in enumerate(ring)
    }
    return Graph(cohort=everyone, threshold=degree.threshold, neighbourhoods=neighbourhoods)


def _degree(epoch_size: int, terms: SecaggTerms) -> RingDegree | None:
    if not terms.draws_ring or epoch_size <= terms.complete_up_to:
        return None
    dropouts = int(terms.ring_dropout_rate * epoch_size)
    return ring_degree(epoch_size, colluders=terms.colluders, dropouts=dropouts)
