"""The accountant of record: one epsilon for everything that a data set ever answered.

Guarantee: `epsilon` is an upper bound, under add-or-remove-one neighbours, on the privacy loss of
the adaptive composition of all events together. It composes privacy loss distributions (PLD);
epsilons are never added up. Runs chosen in view of earlier results are covered, because the ledger
stops before a fixed cap is passed (a privacy filter: Rogers et al. 2016; Whitehouse et al. 2023)
and each event's dominating pair holds whatever came before it.

Sources: Koskela et al. (2020), arXiv 1906.03049; Doroshenko et al. (2022), arXiv 2207.04380, by
way of `dp-accounting`. Attack bound: Kairouz, Oh and Viswanath (2015), theorem 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import AccountingError
from fedethics.privacy.events import Event, merge

GRID_INTERVAL = 1e-3
_SPARSE_STEPS = 64
MINIMUM_DELTA = 1e-12


def epsilon(events: Sequence[Event], *, delta: float) -> float:
    """Return the epsilon of all events together at `delta`.

    Edge cases: no events cost 0; any `NonPrivate` event costs infinity.

    Raises:
        AccountingError: delta outside [1e-12, 1); below that, rounding in the FFT would show.
    """
    _require_delta(delta)
    return _epsilon(merge(events), delta)


def _require_delta(delta: float) -> None:
    if not MINIMUM_DELTA <= delta < 1:
        raise AccountingError(f"delta {delta:g} is not in [{MINIMUM_DELTA:g}, 1)")


def delta_curve(
    events: Sequence[Event], epsilons: NDArray[np.float64], *, delta: float
) -> NDArray[np.float64]:
    """Return the delta of all events together at each of these epsilons.

    Guarantee: upper bounds, up to rounding of some 1e-13.

    Args:
        events: each with noise.
        epsilons: at least 0, in rising order.
        delta: where the curve is to be as fine as `epsilon` is.

    Raises:
        AccountingError: delta as in `epsilon`, or an event without noise, which has no curve.
    """
    _require_delta(delta)
    merged = merge(events)
    if any(event.multiplier is None for event in merged):
        raise AccountingError("a release without noise has no curve of delta over epsilon")
    if not merged:
        return np.zeros_like(epsilons)
    return np.asarray(_all_together(merged, delta).get_delta_for_epsilon(epsilons))


def attack_bound(epsilon: float, delta: float, false_positive_rate: float) -> float:
    """Return the highest true-positive rate of any membership attack at a false-positive rate.

    The attacker knows everything but whether one unit took part, and sees everything released.
    """
    if math.isinf(epsilon):
        return 1.0
    return min(
        1.0,
        math.exp(min(epsilon, 700.0)) * false_positive_rate + delta,
        1.0 - math.exp(-epsilon) * (1.0 - delta - false_positive_rate),
    )


@lru_cache(maxsize=4096)
def _epsilon(events: tuple[Event, ...], delta: float) -> float:
    if not events:
        return 0.0
    if any(event.multiplier is None for event in events):
        return math.inf
    return float(_all_together(events, delta).get_epsilon_for_delta(delta))


@lru_cache(maxsize=16)
def _all_together(events: tuple[Event, ...], delta: float) -> Any:  # noqa: ANN401  untyped library object
    interval = _interval(events, delta)
    composed: Any = None
    for event in events:
        loss = _loss(event, interval)
        composed = loss if composed is None else composed.compose(loss)
    return composed


@lru_cache(maxsize=512)
def _loss(event: Event, interval: float) -> Any:  # noqa: ANN401  untyped library object
    return _composed(_once(event.once(), interval), event.times)


@lru_cache(maxsize=512)
def _once(event: Event, interval: float) -> Any:  # noqa: ANN401
    return event.loss(interval)


def _composed(once: Any, times: int) -> Any:  # noqa: ANN401
    """Return `times` of one mechanism together.

    dp-accounting's sparse form computes its size to the power of `times` first, a number of
    millions of digits for a million steps, and then goes to the dense form. Past 64 steps it always
    does, so here it starts from there, and gets the same numbers.
    """
    if times == 1:
        return once
    if times <= _SPARSE_STEPS:
        return once.self_compose(times)
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

    remove = once._pmf_remove.to_dense_pmf()
    if once._symmetric:
        return PrivacyLossDistribution(remove).self_compose(times)
    add = once._pmf_add.to_dense_pmf()
    return PrivacyLossDistribution(remove, add).self_compose(times)


def _interval(events: tuple[Event, ...], delta: float) -> float:
    """Return the grid step: 1e-3, but coarser for little noise, and finer for a small epsilon.

    Little noise would burst the grid; in a small epsilon a step of 1e-3 would show.
    Any step gives a valid bound; this choice only trades time against tightness, so a rough guess
    of the widest loss (zCDP with a subsampling factor; one step's ten-sigma range) is enough.
    """
    rho = sum(event.rough_rho() for event in events)
    composed = (rho + 2 * math.sqrt(rho * math.log(1 / delta))) / 200
    one_step = max(event.rough_range() for event in events) / 50
    if composed >= 1.0 or one_step >= 1.0:
        return float(GRID_INTERVAL * 2.0 ** math.ceil(math.log2(max(composed, one_step))))
    # `composed` is epsilon / 200, and `one_step` a fiftieth of the range: at most a million steps.
    finest = max(composed / GRID_INTERVAL, one_step / 20, 1e-4)
    return float(GRID_INTERVAL * min(1.0, 2.0 ** math.ceil(math.log2(finest))))
