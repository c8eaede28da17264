"""Opacus's accountants beside the accountant of record, before a run spends anything.

They bound the same epsilon from both sides: Renyi (RDP) from above, and the lower end of PRV's
error interval from below. Ours (PLD) must lie between. Opacus's GDP accountant reports less than
the truth and is not used. Opacus knows Poisson-sampled Gaussian steps only, so other releases are
left out on all sides.
Sources: Mironov, Talwar and Zhang 2019 (arXiv 1908.10530); Gopi, Lee and Wutschitz 2021 (arXiv
2106.02848).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

from opacus.accountants import PRVAccountant, RDPAccountant

from fedethics.errors import TrainingError
from fedethics.privacy.accounting import GRID_INTERVAL, epsilon
from fedethics.privacy.events import Event, SampledGaussian

_PRV_ERROR = 0.01
_PRV_DELTA_ERROR = 1e-3
_ASKING = Lock()


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossCheck:
    """Epsilon of the same steps by three accountants.

    Attributes:
        pld: ours, which the ledger is charged by.
        rdp: Opacus's Renyi upper bound.
        prv_lower: the lower end of Opacus's PRV interval; None where PRV cannot compute one.
    """

    pld: float
    rdp: float
    prv_lower: float | None


def cross_check(events: Sequence[Event], *, delta: float) -> CrossCheck | None:
    """Return what the accountants say of the training steps among `events`; None if there are none.

    The answer follows from the steps and delta alone, so each process asks once for a plan.

    Raises:
        TrainingError: ours lies outside the other two; the site must not train.
    """
    steps = tuple(event for event in events if isinstance(event, SampledGaussian))
    if not steps:
        return None
    with _ASKING:  # sites of one process with the same plan wait for one answer
        return _asked(steps, delta)


@lru_cache(maxsize=64)
def _asked(steps: tuple[SampledGaussian, ...], delta: float) -> CrossCheck:
    history = [(step.noise_multiplier, step.sampling_rate, step.steps) for step in steps]
    with warnings.catch_warnings():
        # Logarithms of zero at rate 1, and a best order that is the largest tried: bounds all the
        # same.
        warnings.simplefilter("ignore")
        found = CrossCheck(
            pld=epsilon(steps, delta=delta),
            rdp=_renyi(history, delta),
            prv_lower=_prv_lower(history, delta),
        )
    low = 0.0 if found.prv_lower is None else found.prv_lower
    # PLD rounds its losses up to a grid; a Renyi bound is above the truth by far more than that.
    if not low <= found.pld <= found.rdp + GRID_INTERVAL:
        raise TrainingError(
            f"accountants disagree on {history} at delta {delta:g}: ours says epsilon "
            f"{found.pld:.4f}, Opacus between {low:.4f} (PRV) and {found.rdp:.4f} (RDP); the "
            "epsilon would not be true, so nothing was computed"
        )
    return found


def _renyi(history: list[tuple[float, float, int]], delta: float) -> float:
    accountant = RDPAccountant()
    accountant.history = history
    return float(accountant.get_epsilon(delta))


def _prv_lower(history: list[tuple[float, float, int]], delta: float) -> float | None:
    accountant = PRVAccountant()
    accountant.history = history
    error = _PRV_DELTA_ERROR * delta
    try:
        # Its upper end at delta + 2 error is (point at delta + error) + error of epsilon.
        upper = accountant.get_epsilon(delta + 2 * error, eps_error=_PRV_ERROR, delta_error=error)
    except (RuntimeError, ValueError, FloatingPointError):
        return None
    return float(upper) - 2 * _PRV_ERROR
