r"""A lower bound on epsilon from many units in a single run.

Each unit was in the training data with probability `prior`, independently of all others; having
seen the result, an attacker names some units as members. An (epsilon, delta)-private mechanism
makes each name right with probability at most

    accuracy = prior e^epsilon / (prior e^epsilon + 1 - prior),

whatever is known of the other units, but for an excess F_i with
`E[F_i] <= prior (1 - accuracy) delta`: the integral of max(0, prior P - accuracy (prior P +
(1 - prior) Q)) over the two laws P, Q of the result is prior (1 - accuracy) times that of
max(0, P - e^epsilon Q), which is at most delta. So the number of right names is at most
Binomial(guesses, accuracy) + N, where N >= 0 may depend on it in any way and E[N] is at most the
sum of all excesses (`p_value` takes the worst such N). The number of guesses is taken as given.

Source: Steinke, Nasr and Jagielski (2023), "Privacy Auditing with One (1) Training Run", theorem
5.2, arXiv 2305.08846: there the prior is 1/2 and the term for delta is 2 m delta max_i P[v > W >=
v - i] / i. The same argument is written here for any prior, with the excess added up exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

# An epsilon that no count of this size could refute.
_LARGEST = 60.0
_HALVINGS = 25
# Terms of the worst N that are added up one by one; the rest is bounded.
_TERMS = 512
# Shares of all units that an attacker names.
NAMED = (0.05, 0.2, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Guesses:
    """What an attacker named in one run.

    Attributes:
        correct: names that were right.
        guesses: units named.
        units: all units, named or not.
        prior: probability with which a unit was what it was named, before the run.
        sides: 1 where every name says the same ("member"); 2 where some say "member" and others
            "non-member", for which `prior` must be 1/2.
    """

    correct: int
    guesses: int
    units: int
    prior: float = 0.5
    sides: int = 1


def epsilon_bound(found: Guesses, *, delta: float, error: float) -> float:
    """Return the epsilon up to which these guesses refute (epsilon, delta); 0 where none is.

    Guarantee: above the mechanism's true epsilon at `delta` with probability at most `error`.
    """
    if not refuted(found, epsilon=0.0, delta=delta, error=error):
        return 0.0
    low, high = 0.0, _LARGEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if refuted(found, epsilon=middle, delta=delta, error=error):
            low = middle
        else:
            high = middle
    return low


def bound_of_scores(
    scores: NDArray[np.float64], inside: NDArray[np.bool_], *, delta: float, error: float
) -> float:
    """Return the best bound of naming the highest scores "in" and as many of the lowest "out".

    Guarantee: as `epsilon_bound`; the error is split evenly over the shares of units named.

    Args:
        scores: what the attack ranks by, shape (m,).
        inside: who was in, each with probability 1/2, shape (m,).
        delta: of the promise.
        error: probability with which the bound may be too high.
    """
    return max(
        epsilon_bound(_named(scores, inside, share), delta=delta, error=error / len(NAMED))
        for share in NAMED
    )


def _named(scores: NDArray[np.float64], inside: NDArray[np.bool_], share: float) -> Guesses:
    half = max(1, int(len(scores) * share / 2))
    order = np.argsort(scores)
    correct = int(inside[order[-half:]].sum() + (~inside[order[:half]]).sum())
    return Guesses(correct=correct, guesses=2 * half, units=len(scores), sides=2)


def refuted(found: Guesses, *, epsilon: float, delta: float, error: float) -> bool:
    """Say whether so many right guesses have probability at most `error` under the epsilon."""
    accuracy = float(expit(logit(found.prior) + epsilon))
    extra = found.sides * found.units * found.prior * (1.0 - accuracy) * delta
    return p_value(found.correct, found.guesses, accuracy=accuracy, extra=extra) <= error


def p_value(correct: int, guesses: int, *, accuracy: float, extra: float) -> float:
    """Return the greatest P[Binomial(guesses, accuracy) + N >= correct] over N with E[N] <= extra.

    N = i helps where the binomial falls short by i, at a cost of i times that probability; the
    cheapest shortfalls are made up first.
    """
    from scipy.stats import binom  # here: it takes half a second to import

    reached = float(binom.sf(correct - 1, guesses, accuracy))
    short = np.arange(1, min(correct, _TERMS) + 1)
    chance = binom.pmf(correct - short, guesses, accuracy)
    spent = np.cumsum(short * chance)
    paid = int(np.searchsorted(spent, extra, side="right"))
    left = extra - (float(spent[paid - 1]) if paid else 0.0)
    if paid < correct:
        left /= paid + 1
    else:
        left = 0.0
    return min(1.0, reached + float(chance[:paid].sum()) + left)
