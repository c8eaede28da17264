"""The fewest honest sites in a sum: no coordinator, whatever it tells, opens one with fewer."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from fedethics.errors import CharterError
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import SampledGaussian
from fedethics.privacy.gaussian_shares import NORM_STEPS, SMOOTHING, share_std
from fedethics.secagg.honest_sites import (
    fewest_honest_sites,
    fewest_in_any_sum,
    share_threshold,
)
from tests.secagg.federation import Federation


def smallest(cohort, colluders, minimum):
    threshold = share_threshold(cohort, colluders=colluders)
    return threshold, max(threshold, minimum)


def fast(cohort, colluders, minimum):
    threshold, _ = smallest(cohort, colluders, minimum)
    return fewest_honest_sites(
        cohort, colluders=colluders, threshold=threshold, minimum=minimum, mode="fast"
    )


def stories(site, honest, listed):
    """Every (peers shared with, survivors) that an honest site would take for true."""
    others = [peer for peer in range(honest) if peer != site]
    for fates in itertools.product(("absent", "dropped", "alive"), repeat=len(others)):
        shared = {site} | {p for p, fate in zip(others, fates, strict=True) if fate != "absent"}
        alive = {site} | {p for p, fate in zip(others, fates, strict=True) if fate == "alive"}
        if len(alive) >= listed:
            yield shared, alive


def fewest_opened(told, needed):
    """By the protocol's own rules: the smallest set whose vectors are free of every mask."""
    honest = range(len(told))
    revealed = [(shared, alive) for shared, alive in told if alive is not None]
    seeds = {i for i in honest if sum(i in alive for _, alive in revealed) >= needed}
    keys = {i for i in honest if sum(i in shared - alive for shared, alive in revealed) >= needed}
    assert not seeds & keys  # never both kinds of one site
    best = None
    for start in seeds:
        group, fringe = set(), {start}
        while fringe and fringe <= seeds:
            group |= fringe
            fringe = {p for i in group for p in told[i][0]} - keys - group
        mutual = all(i in told[p][0] for i in group for p in told[i][0] - keys)
        if not fringe and mutual:
            best = min(best or len(group), len(group))
    return best


@pytest.mark.parametrize(("cohort", "colluders"), [(3, 0), (4, 0), (4, 1), (5, 1), (5, 2), (6, 2)])
def test_of_all_that_a_coordinator_can_tell_nothing_opens_fewer_and_something_opens_as_few(
    cohort, colluders
):
    minimum = max(3, colluders + 2)
    threshold, least = smallest(cohort, colluders, minimum)
    honest = cohort - colluders
    every = [list(stories(site, honest, least - colluders)) for site in range(honest)]
    found = {fewest_opened(told, threshold - colluders) for told in itertools.product(*every)}
    assert min(size for size in found if size) == fast(cohort, colluders, minimum)


def views(honest, listed, needed):
    """Every way in strict mode: one signed view, who reveals for it, and other lists for the rest.

    Two views never both find signers enough: twice t - c is more than the honest sites.
    """
    sites = frozenset(range(honest))
    lists = [
        frozenset(some)
        for size in range(listed, honest + 1)
        for some in itertools.combinations(sites, size)
    ]
    for shared, alive in itertools.product(lists, repeat=2):
        if not alive <= shared:
            continue
        for size in range(needed, len(alive) + 1):
            for signers in itertools.combinations(sorted(alive), size):
                rest = sorted(sites - set(signers))
                choices = [[own for own in lists if site in own] for site in rest]
                for others in itertools.product(*choices):
                    told = dict.fromkeys(signers, (shared, alive))
                    silent = {k: (own, None) for k, own in zip(rest, others, strict=True)}
                    yield [{**told, **silent}[k] for k in range(honest)]


@pytest.mark.parametrize(("cohort", "colluders"), [(3, 1), (4, 1), (5, 1), (5, 2), (6, 2), (6, 1)])
def test_in_strict_mode_no_list_of_sharers_told_to_some_alone_opens_a_smaller_sum(
    cohort, colluders
):
    minimum = max(3, colluders + 2)
    threshold, least = smallest(cohort, colluders, minimum)
    honest, listed = cohort - colluders, least - colluders
    found = {
        fewest_opened(told, threshold - colluders)
        for told in views(honest, listed, threshold - colluders)
    }
    function = fewest_honest_sites(
        cohort, colluders=colluders, threshold=threshold, minimum=minimum, mode="strict"
    )
    assert min(size for size in found if size) == function == least - colluders


def fewest_by_program(cohort, colluders, minimum):
    """The coordinator's problem as an integer program over who is told what, solved exactly."""
    threshold, least = smallest(cohort, colluders, minimum)
    n, needed, listed = cohort - colluders, threshold - colluders, least - colluders
    pair = {(k, j): k * n + j for k in range(n) for j in range(n)}
    shared, alive = (lambda k, j: pair[k, j]), (lambda k, j: n * n + pair[k, j])
    opened, keyed = (lambda i: 2 * n * n + i), (lambda i: 2 * n * n + n + i)
    size, rows, low = 2 * n * n + 2 * n, [], []

    def at_least(bound, **terms):
        row = np.zeros(size)
        for sign, columns in ((1.0, terms.get("plus", ())), (-1.0, terms.get("minus", ()))):
            for column in columns:
                row[column] += sign
        rows.append(row)
        low.append(bound)

    for k in range(n):
        at_least(2, plus=[alive(k, k), shared(k, k)])
        at_least(listed, plus=[alive(k, j) for j in range(n)])
        at_least(0, plus=[alive(j, k) for j in range(n)], minus=[opened(k)] * needed)
        calls = [shared(j, k) for j in range(n)]
        lives = [alive(j, k) for j in range(n)]
        at_least(0, plus=calls, minus=[*lives, *[keyed(k)] * needed])
        for j in range(n):
            at_least(0, plus=[shared(k, j)], minus=[alive(k, j)])
            if j != k:
                # A mask of an opened site is known by a key, or cancels in a peer's vector.
                reached = [opened(j), keyed(j), keyed(k)]
                at_least(-1, plus=reached, minus=[opened(k), shared(k, j)])
                mutual = [shared(j, k), keyed(j), keyed(k)]
                at_least(-2, plus=mutual, minus=[opened(k), opened(j), shared(k, j)])
    at_least(1, plus=[opened(i) for i in range(n)])
    cost = np.zeros(size)
    cost[[opened(i) for i in range(n)]] = 1.0
    answer = milp(
        cost,
        constraints=LinearConstraint(np.array(rows), lb=np.array(low, dtype=float)),
        integrality=np.ones(size),
        bounds=Bounds(0, 1),
    )
    assert answer.success
    return round(answer.fun)


@pytest.mark.parametrize(
    ("cohort", "colluders", "minimum"),
    [(7, 2, 4), (7, 1, 3), (7, 2, 6), (8, 2, 4), (8, 3, 5), (9, 3, 5), (10, 3, 5)],
)
def test_the_worst_telling_of_larger_cohorts_is_as_bad_as_the_function_says(
    cohort, colluders, minimum
):
    assert fewest_by_program(cohort, colluders, minimum) == fast(cohort, colluders, minimum)


FEDERATIONS = [
    (roster, colluders, minimum)
    for roster in (3, 4, 7, 12, 30, 60)
    for minimum in {3, 5, roster // 2, 2 * roster // 3 + 1, roster}
    for colluders in {0, 1, 2, minimum // 3}
    if 3 <= minimum <= roster and minimum - colluders >= 2
]


@pytest.mark.parametrize("mode", ["strict", "fast"])
@pytest.mark.parametrize(("roster", "colluders", "minimum"), FEDERATIONS)
def test_the_epsilon_charged_is_that_of_the_noise_left_in_the_worst_sum(
    roster, colluders, minimum, mode
):
    planned = fewest_in_any_sum(
        roster, colluders=colluders, minimum=minimum, mode=mode, whole_roster=False
    )
    multiplier = 1.1
    share = share_std(multiplier * NORM_STEPS, shares=planned)
    for cohort in range(minimum, roster + 1):
        threshold, least = smallest(cohort, colluders, minimum)
        left = (
            least - colluders
            if mode == "strict"
            else fewest_honest_sites(
                cohort, colluders=colluders, threshold=threshold, minimum=minimum, mode=mode
            )
        )
        true = math.sqrt(left * share**2 - SMOOTHING) / NORM_STEPS
        assert true >= multiplier * (1 - 1e-12)
    charged = epsilon([SampledGaussian(multiplier, 0.1, 20)], delta=1e-5)
    worst = math.sqrt(planned * share**2 - SMOOTHING) / NORM_STEPS
    assert epsilon([SampledGaussian(worst, 0.1, 20)], delta=1e-5) <= charged + 1e-6


@pytest.mark.parametrize("mode", ["strict", "fast"])
def test_sums_over_the_whole_roster_hold_every_honest_site(mode):
    assert fewest_in_any_sum(9, colluders=2, minimum=4, mode=mode, whole_roster=True) == 7


def test_the_largest_federation_in_fast_mode_has_its_answer_within_seconds():
    assert fewest_in_any_sum(500, colluders=1, minimum=450, mode="fast", whole_roster=False) > 250


@pytest.mark.parametrize(("sites", "minimum", "colluders"), [(7, 4, 2), (30, 20, 9), (12, 8, 3)])
def test_terms_that_let_one_honest_vector_be_opened_alone_are_refused(
    tmp_path, sites, minimum, colluders
):
    alone = fewest_in_any_sum(
        sites, colluders=colluders, minimum=minimum, mode="fast", whole_roster=False
    )
    assert alone == 1
    with pytest.raises(CharterError, match="vector alone"):
        Federation(tmp_path, sites, minimum_cohort=minimum, colluders=colluders, mode="fast")
