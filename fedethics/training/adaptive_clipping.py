"""A clipping norm that follows a quantile of the gradients' lengths, learnt from a noised count.

In each step a site counts how many of the sampled units had a gradient within the norm, noises the
count, and moves the norm. Each unit counts +1/2 or -1/2, so one unit more or less moves the count
by 1/2 (counting 0 or 1 would be twice as sensitive).

Guarantee: with noise z / sqrt(1 - s) norms on the sum and z / (2 sqrt(s)) on the count, where s is
the share, sum and count together are one Gaussian mechanism of noise multiplier z on one Poisson
sample: in units of their noise, a unit moves the sum by at most sqrt(1 - s) / z and the count by
exactly sqrt(s) / z, so both by at most 1 / z. They are charged as that and nothing more.

What is private: the norm follows from noised counts alone, so it is a release like the updates. It
starts at the charter's norm in every round and is not kept: a site that is asked again after a
crash does the same as one that never crashed.

Source: Andrew, Thakkar, McMahan and Ramaswamy 2021 (arXiv 1905.03871), algorithm 1 and theorem 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedethics.charter.privacy_terms import LARGEST_NORM, SMALLEST_NORM, TrainingPrivacy

# How far the norm may wander from where it was, in one step.
_MOST = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Adaptive:
    """How the norm moves.

    Attributes:
        quantile: the share of units whose gradient should stay within the norm, in (0, 1).
        rate: step of the norm's logarithm for a share that is off by 1.
        share: share of each step's privacy that goes to the count, in (0, 1).
    """

    quantile: float
    rate: float
    share: float

    @classmethod
    def of(cls, terms: TrainingPrivacy) -> Adaptive | None:
        """Return the charter's choice; None where the norm stays."""
        if not terms.adaptive_quantile:
            return None
        return cls(
            quantile=terms.adaptive_quantile, rate=terms.adaptive_rate, share=terms.adaptive_share
        )

    def count_std(self, noise_multiplier: float) -> float:
        """Return the standard deviation of the noise on the count of +1/2 and -1/2."""
        return noise_multiplier / (2.0 * math.sqrt(self.share))

    def next_norm(
        self, norm: float, *, short: int, units: int, expected: float, draw: float
    ) -> float:
        """Return the norm of the next step, between the charter's smallest and largest.

        Args:
            norm: the norm of this step.
            short: sampled units whose gradient was within it. Sensitive.
            units: sampled units. Sensitive.
            expected: expected batch: public, unlike `units`.
            draw: noise of `count_std`.
        """
        noisy = short - units / 2.0 + draw
        within = noisy / expected + 0.5
        # Bounded before the exponential: much noise on a small batch would be too large for it.
        most = math.log(_MOST)
        power = min(max(-self.rate * (within - self.quantile), -most), most)
        return min(max(norm * math.exp(power), SMALLEST_NORM), LARGEST_NORM)
