"""What the guarantee for one record becomes for a person with several: group privacy.

An epsilon is for one unit. A person with k units among the records changes the data k times, and
the k-fold of epsilon is not what they get: at the same delta it is more, since delta grows as well.

The accountant's whole curve delta(epsilon) says how much an attacker can find at each rate of false
accusations: of those who took part, at most g(a) if a share a of the others is accused. Adding k
units one after another applies g k times, g(g(..g(a))), and no bound that rests on the curve alone
is better. From that follow the epsilon of k units at the charter's delta, and what an attacker
finds.

Guarantee: upper bounds, for any k units of the federation, whichever of them are trained on and
whichever are held out, and at however many sites, if every site spends as the plan says.

Sources: Dong, Roth and Su (2022), "Gaussian Differential Privacy", J. R. Stat. Soc. B 84:3,
theorem 2.14 (groups), proposition 2.12 (from delta(epsilon) to the trade-off of errors) and 2.5
(and back). For what a sampled Gaussian mechanism alone could be shown to give, which is less than
a tenth lower: Ganesh (2024), arXiv 2401.10294.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedethics.privacy.accounting import MINIMUM_DELTA, delta_curve, epsilon
from fedethics.privacy.events import Event

SIZES = (1, 2, 5, 10)
FALSE_ALARMS = (0.01, 0.10)
# Points of the curve: losses that matter, and those of accounts with hardly any noise.
_LOSSES = np.concatenate((np.linspace(0.0, 20.0, 401), np.geomspace(20.5, 200.0, 60)))
# False alarms, down to where nothing is found that delta would not cover.
_LEAST, _POINTS = 1e-27, 2400


@dataclass(frozen=True, kw_only=True, slots=True)
class Guarantee:
    """What holds for a person with `records` units.

    Attributes:
        records: how many units are theirs.
        epsilon: at the delta that was asked; infinite where the curve gives no limit.
        found: of those who took part, the largest share that an attacker can find, for each rate
            of `FALSE_ALARMS`.
    """

    records: int
    epsilon: float
    found: tuple[float, ...]


def guarantees(
    accounts: Sequence[Sequence[Event]], *, delta: float, sizes: Sequence[int] = SIZES
) -> tuple[Guarantee, ...]:
    """Return the guarantee for a person with each of these numbers of units.

    Args:
        accounts: all that one unit of each account is charged for; a unit is of one account.
        delta: as in the charter.
        sizes: numbers of units, each at least 1, in rising order.

    Raises:
        AccountingError: delta out of range.
    """
    single = max(epsilon(events, delta=delta) for events in accounts)
    if math.isinf(single):
        return tuple(
            Guarantee(records=size, epsilon=math.inf, found=(1.0,) * len(FALSE_ALARMS))
            for size in sizes
        )
    curves = [
        np.maximum(delta_curve(events, _LOSSES, delta=delta), MINIMUM_DELTA) for events in accounts
    ]
    # Epsilon is read off the fine grid, what is found at the rates themselves.
    grid = np.geomspace(_LEAST, 1.0, _POINTS)
    rates = np.concatenate((grid, FALSE_ALARMS))
    found, power = [], rates
    for size in range(1, max(sizes) + 1):
        power = np.max([_power(power, curve) for curve in curves], axis=0)
        if size in sizes:
            found.append(
                Guarantee(
                    records=size,
                    epsilon=single if size == 1 else _epsilon(grid, power[:_POINTS], delta),
                    found=tuple(map(float, power[_POINTS:])),
                )
            )
    return tuple(found)


def _power(false_alarms: NDArray[np.float64], deltas: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the most that is found at these rates, by a curve of delta at `_LOSSES`."""
    rates, grow = false_alarms[:, None], np.exp(_LOSSES)
    accused = np.min(deltas + grow * rates, axis=1)
    missed = np.max((1.0 - deltas - rates) / grow, axis=1)
    return np.asarray(np.clip(np.minimum(accused, 1.0 - missed), false_alarms, 1.0))


def _epsilon(rates: NDArray[np.float64], power: NDArray[np.float64], delta: float) -> float:
    """Return the least epsilon with power(a) <= delta + e^epsilon a for every rate a.

    Between two rates of the grid power is at most that of the higher one, so each is held to the
    rate below it. Under the lowest rate nothing may be found that delta does not cover.
    """
    if power[0] > delta:
        return math.inf
    above = power[1:] - delta
    shown = above > 0
    if not shown.any():
        return 0.0
    return max(0.0, float(np.max(np.log(above[shown] / rates[:-1][shown]))))
