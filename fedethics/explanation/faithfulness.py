"""Is an order of columns worth anything? Leave the first ones out, or keep only them, and look.

DeYoung et al. (2020), "ERASER", section 4.2, with phrases as the units and the area over the curve:
comprehensiveness is how much the model's confidence in its own answer falls when the k phrases that
speak most for it are left out, sufficiency how much it falls when only those k are kept, both meant
over k = 1 to one less than all. A faithful order has high comprehensiveness and low sufficiency;
what is high is told by random orders of the same record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RANDOM_ORDERS = 40
_SEED = 20200710
# At most this share of random orders may do as well.
_CHANCE = 0.05

LeftOut = Callable[..., list[float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Faithfulness:
    """The order by effect against random orders, for one record.

    Attributes:
        comprehensiveness: of the order by effect; higher is better.
        sufficiency: likewise; lower is better.
        random_comprehensiveness, random_sufficiency: means over the random orders.
        as_comprehensive, as_sufficient: share of random orders that do as well or better.
    """

    comprehensiveness: float
    sufficiency: float
    random_comprehensiveness: float
    random_sufficiency: float
    as_comprehensive: float
    as_sufficient: float

    @property
    def better_than_chance(self) -> bool:
        """Whether at most 5 % of random orders do as well, on both figures."""
        return max(self.as_comprehensive, self.as_sufficient) <= _CHANCE


def faithfulness(
    left_out: LeftOut, changes: Mapping[str, float], *, positive: bool
) -> Faithfulness:
    """Hold the order by effect against random orders; the same record gives the same figures.

    Args:
        left_out: scores of the record with each of several sets of columns left out.
        changes: by column, score with it less score without it.
        positive: the model's answer.
    """
    sign = 1.0 if positive else -1.0
    names = tuple(changes)
    order = sorted(names, key=lambda name: -sign * changes[name])
    shuffle = np.random.default_rng(_SEED)
    orders = [order, *(list(shuffle.permutation(names)) for _ in range(RANDOM_ORDERS))]
    everything = frozenset(names)
    fronts = [[frozenset(o[:k]) for k in range(1, len(o))] for o in orders]
    # One call, so that what several orders share is scored once.
    left_out(*(s for front in fronts for first in front for s in (first, everything - first)))
    (whole,) = left_out(frozenset())
    removed = np.array([_falls(left_out, front, whole, sign) for front in fronts])
    kept = np.array(
        [_falls(left_out, [everything - f for f in front], whole, sign) for front in fronts]
    )
    return Faithfulness(
        comprehensiveness=float(removed[0]),
        sufficiency=float(kept[0]),
        random_comprehensiveness=float(removed[1:].mean()),
        random_sufficiency=float(kept[1:].mean()),
        as_comprehensive=float((removed[1:] >= removed[0]).mean()),
        as_sufficient=float((kept[1:] <= kept[0]).mean()),
    )


def _falls(
    left_out: LeftOut, subsets: Sequence[frozenset[str]], whole: float, sign: float
) -> float:
    """Return the mean fall of the confidence in the answer over the subsets left out."""
    return float(np.mean([sign * (whole - score) for score in left_out(*subsets)]))
