"""Whether a step can be heard over its noise: the bound batch / (sigma sqrt(p)).

A step's sum of clipped gradients is at most `batch` clipping norms long, and that only if all
gradients point one way and none is shorter than the norm. Its noise has the expected length
sigma sqrt(p) clipping norms over p trained parameters. So the quotient bounds the signal over the
noise of a whole step, before anything is spent, from public numbers alone. The clipping norm is in
both and cancels out: it is not in the bound. A norm above nearly all gradients still wastes noise,
since gradients are then shorter than the norm that the noise is made for.

Unlike `outlook.signal_to_noise`, which looks along one direction, this one counts all directions
that are trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fedethics.charter.model import Charter
from fedethics.privacy.plan import PrivacyPlan

# Runs that learnt had 2.4 to 4.9, and a measured signal over noise of a seventh to an eighth of
# it; one with 0.34 learnt nothing.
HEARD = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSignal:
    """The bound of one step's sum over all sites.

    Attributes:
        parameters: trained in a step, p.
        batch: expected units in a step, over all sites that train in it; with cohorts, their mean.
        noise: standard deviation of a coordinate's noise in the sum, in clipping norms.
        shared_noise: the same under distributed trust, if only trust were changed; 0.0 where it is
            distributed already.
    """

    parameters: int
    batch: float
    noise: float
    shared_noise: float = 0.0

    @property
    def bound(self) -> float:
        """The most that the signal's length can be, over the noise's."""
        return _bound(self.batch, self.noise, self.parameters)

    @property
    def heard(self) -> bool:
        """Whether the bound is at least `HEARD`."""
        return self.bound >= HEARD

    def sentences(self) -> list[str]:
        """Return what to change; empty where the bound is high enough."""
        if self.heard:
            return []
        batch = HEARD * self.noise * math.sqrt(self.parameters)
        fewer = int((self.batch / (HEARD * self.noise)) ** 2)
        said = [
            f"A step's noise is longer than half of the longest signal there can be "
            f"(bound {self.bound:.3g}, below {HEARD:g}). Expect that texts are not learnt; a "
            "head on frozen layers may still learn over many steps."
        ]
        ways = [f"a batch of {math.ceil(batch)} (a higher sampling rate, or more records)"]
        if fewer:
            ways.insert(0, f"at most {fewer} trained parameters (lower rank, fewer layers, ffa)")
        if self.shared_noise:
            reached = _bound(self.batch, self.shared_noise, self.parameters)
            ways.append(f'training.trust-mode = "distributed" (bound {reached:.3g})')
        said.append(f"Each of these alone: {'; '.join(ways)}.")
        said.append(
            "The clipping norm is not in this bound. But a norm above nearly all gradients only "
            "adds noise: choose one near their median, from public data."
        )
        return said


def step_signal(
    charter: Charter, plan: PrivacyPlan, *, parameters: int, records: Mapping[str, int]
) -> StepSignal | None:
    """Return the bound of a charter's steps; None without noise or without records.

    Args:
        charter: the agreed terms.
        plan: the charter's.
        parameters: trained in a step.
        records: declared training units of each site.
    """
    multiplier = plan.update.noise_multiplier
    if multiplier is None or not records or parameters < 1:
        return None
    terms = charter.privacy.training
    if terms.adaptive_quantile:
        # The rest of a step's budget pays for the count that the norm follows.
        multiplier /= math.sqrt(1.0 - terms.adaptive_share)
    sites = len(records) / charter.cohorts
    shared = terms.trust_mode == "distributed"
    honest = charter.secagg.fewest_honest(plan.sites, whole_roster=False)
    return StepSignal(
        parameters=parameters,
        batch=terms.sampling_rate * sum(records.values()) / charter.cohorts,
        noise=multiplier * math.sqrt(sites / plan.update.shares),
        shared_noise=0.0 if shared else multiplier * math.sqrt(sites / honest),
    )


def _bound(batch: float, noise: float, parameters: int) -> float:
    return batch / (noise * math.sqrt(parameters))
