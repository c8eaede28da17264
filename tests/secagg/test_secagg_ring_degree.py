"""Degree and threshold of the ring: Google's published vectors, brute force, and our addition."""

import math
from fractions import Fraction
from itertools import combinations

import pytest

from fedethics.secagg.graph import _feasible, graph_of, ring_degree
from tests.secagg.federation import Federation

# (sites, adversarial rate, dropout rate, degree, threshold): the semi-malicious rows of
# fcp/secagg/server/graph_parameter_finder_test.cc with a degree below 1000, as published.
PUBLISHED = [
    (100, 0.3, 0.3, 92, 62),
    (1000, 0.3, 0.3, 872, 584),
    (10, 0.05, 0.33, 8, 5),
    (100, 0.05, 0.33, 72, 39),
    (1000, 0.05, 0.33, 398, 223),
    (10000, 0.05, 0.33, 746, 420),
    (100000, 0.05, 0.33, 882, 496),
    (1000000, 0.05, 0.33, 970, 545),
    (10, 0.33, 0.05, 4, 4),
    (100, 0.33, 0.05, 42, 37),
    (1000, 0.33, 0.05, 132, 109),
    (10000, 0.33, 0.05, 178, 146),
    (100000, 0.33, 0.05, 196, 160),
    (1000000, 0.33, 0.05, 212, 173),
    (10, 0.05, 0.05, 2, 2),
    (100, 0.05, 0.05, 16, 11),
    (1000, 0.05, 0.05, 52, 37),
    (10000, 0.05, 0.05, 62, 44),
    (100000, 0.05, 0.05, 68, 48),
    (1000000, 0.05, 0.05, 74, 52),
    (10, 0.33, 0.0, 4, 4),
    (100, 0.33, 0.0, 26, 26),
    (1000, 0.33, 0.0, 38, 37),
    (10000, 0.33, 0.0, 42, 41),
    (100000, 0.33, 0.0, 46, 45),
    (1000000, 0.33, 0.0, 50, 49),
    (10, 0.0, 0.33, 8, 5),
    (100, 0.0, 0.33, 68, 35),
    (1000, 0.0, 0.33, 228, 115),
    (10000, 0.0, 0.33, 326, 164),
    (100000, 0.0, 0.33, 372, 187),
    (1000000, 0.0, 0.33, 410, 206),
    (10, 0.0, 0.0, 2, 2),
    (100, 0.0, 0.0, 2, 2),
    (1000, 0.0, 0.0, 2, 2),
    (10000, 0.0, 0.0, 2, 2),
    (100000, 0.0, 0.0, 2, 2),
    (1000000, 0.0, 0.0, 2, 2),
]


def bell_degree(sites, *, colluders, dropouts):
    """The smallest degree and threshold of Bell et al.: those for dropouts that nobody chose."""
    return next((degree for degree, _ in _feasible(sites, colluders, dropouts)), None)


def counts(sites, adversaries, dropouts):
    """Rates as counts, rounded as in the published finder."""
    survivors = math.ceil((1 - dropouts - 1e-14) * sites)
    return math.floor((adversaries + 1e-14) * sites), sites - survivors


@pytest.mark.parametrize(("sites", "adversaries", "dropouts", "degree", "threshold"), PUBLISHED)
def test_the_finder_gives_the_published_degree_and_threshold(
    sites, adversaries, dropouts, degree, threshold
):
    colluders, gone = counts(sites, adversaries, dropouts)
    assert bell_degree(sites, colluders=colluders, dropouts=gone) == (degree, threshold)


@pytest.mark.parametrize(
    ("sites", "dropouts", "degree", "threshold"),
    [
        (100, 10, 32, 22),
        (200, 20, 56, 39),
        (500, 50, 82, 57),
        (1000, 100, 96, 67),
        (5000, 500, 116, 81),
        (100, 30, 72, 42),
        (500, 150, 276, 164),
        (1000, 300, 414, 247),
    ],
)
def test_the_finder_gives_what_an_earlier_port_of_the_published_one_gave(
    sites, dropouts, degree, threshold
):
    assert bell_degree(sites, colluders=sites // 10, dropouts=dropouts) == (degree, threshold)


def more_than(sites, marked, sampled, number):
    """P[more than `number` of `sampled` sites are marked], from the definition."""
    favourable = sum(
        math.comb(marked, x) * math.comb(sites - marked, sampled - x)
        for x in range(number + 1, sampled + 1)
    )
    return Fraction(favourable, math.comb(sites, sampled))


@pytest.mark.parametrize("sites", [60, 100, 500, 1000, 3000])
@pytest.mark.parametrize(("colluders", "dropouts"), [(0.02, 0.05), (0.1, 0.1), (0.05, 0.3)])
def test_every_claimed_probability_holds(sites, colluders, dropouts):
    bad, gone = int(colluders * sites), int(dropouts * sites)
    found = ring_degree(sites, colluders=bad, dropouts=gone)
    if found is None:
        assert sites < 100
        return
    k, t = found
    secrecy, failure = Fraction(1, 2**41), Fraction(1, 2**20)
    assert more_than(sites, bad, k, 2 * t - k - 1) * sites < secrecy
    assert more_than(sites, gone, k, k - t) * sites < failure
    pairs_of_gaps = Fraction(sites * (sites - k - 1), 2)
    assert pairs_of_gaps * more_than(sites, bad, k, 2 * t - k - 1) < secrecy
    assert found >= bell_degree(sites, colluders=bad, dropouts=gone)


def connected(sites, graph):
    reached, frontier = set(), {min(sites)}
    while frontier:
        reached |= frontier
        frontier = {p for site in frontier for p in graph.peers(site) if p in sites} - reached
    return reached == set(sites)


@pytest.fixture
def ring_of_11(tmp_path):
    federation = Federation(tmp_path, 11, colluders=0, complete_up_to=3, ring_dropout_rate=0.1)
    names = federation.names
    order = [names[(4 * k) % 11] for k in range(11)]  # any order
    return graph_of(names, ring=order, terms=federation.terms)


def test_no_choice_of_dropouts_cuts_the_sites_that_keep_enough_neighbours(ring_of_11):
    """All 2**11 choices: k = 4, t = 3, nobody colludes."""
    everyone, tried = set(ring_of_11.cohort), 0
    for size in range(1, 12):
        for alive in map(set, combinations(ring_of_11.cohort, size)):
            left = (len(alive & set(ring_of_11.peers(site))) for site in alive)
            if all(count >= ring_of_11.threshold for count in left):
                tried += 1
                assert connected(alive, ring_of_11)
    assert tried > len(everyone)


def test_with_a_lower_threshold_dropouts_can_cut_the_ring(ring_of_11):
    """The check above can fail: with one neighbour each, two pairs are islands."""
    alive = {ring_of_11.cohort[0], ring_of_11.peers(ring_of_11.cohort[0])[0]}
    far = next(
        site
        for site in ring_of_11.cohort
        if site not in alive and not set(ring_of_11.peers(site)) & alive
    )
    assert not connected(alive | {far}, ring_of_11)


@pytest.mark.parametrize("sites", [9, 10, 16, 25])
def test_the_graph_is_harary_each_site_has_its_degree_and_every_edge_two_ends(tmp_path, sites):
    federation = Federation(
        tmp_path, sites, colluders=0, complete_up_to=3, ring_dropout_rate=2 / sites
    )
    order = sorted(federation.names, key=lambda name: name[::-1])
    graph = graph_of(federation.names, ring=order, terms=federation.terms)
    degree = ring_degree(sites, colluders=0, dropouts=2)
    for position, site in enumerate(order):
        near = {
            order[(position + step) % sites]
            for step in range(-degree.neighbours // 2, degree.neighbours // 2 + 1)
        } - {site}
        assert set(graph.peers(site)) == near
        assert graph.holders(site) == graph.peers(site) == tuple(sorted(near))
        assert all(site in graph.peers(peer) for peer in near)
    assert graph.threshold == degree.threshold


def test_where_no_degree_is_safe_the_graph_is_complete(tmp_path):
    federation = Federation(
        tmp_path, 20, minimum_cohort=9, colluders=6, complete_up_to=3, ring_dropout_rate=0.45
    )
    assert ring_degree(20, colluders=6, dropouts=9) is None
    graph = graph_of(federation.names, ring=federation.names, terms=federation.terms)
    assert graph.neighbourhoods is None
    assert graph.threshold == federation.terms.threshold(20)
