"""The terms of one round of training at one site, and what they refuse.

Adaptive clipping: the norm follows a quantile of the gradients' lengths, learnt from a noised
count. In each step a site counts how many of the sampled units had a gradient within the norm,
noises the count, and moves the norm. Each unit counts +1/2 or -1/2, so one unit more or less moves
the count by 1/2 (counting 0 or 1 would be twice as sensitive).

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
from typing import Literal

from fedethics.charter.model import Charter
from fedethics.charter.privacy_terms import LARGEST_NORM, SMALLEST_NORM, TrainingPrivacy
from fedethics.errors import TrainingError
from fedethics.privacy.gaussian_shares import NORM_STEPS
from fedethics.training.factors import Frozen, frozen_factor
from fedethics.training.gradient_noise import GradientNoise, gradient_noise

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


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalTerms:
    """Terms of one round at one site.

    Attributes:
        steps: optimiser steps; each is one release, also when no unit was sampled.
        sampling_rate: probability that a unit joins a step.
        clipping_norm: L2 bound of one unit's gradient, `SMALLEST_NORM` to `LARGEST_NORM`; infinite
            only without noise.
        noise_multiplier: noise std over clipping norm; 0.0 is no differential privacy.
        expected_batch: sampling_rate times the site's declared units; divides every sum. The
            batch that was drawn must not, since its size is private.
        optimizer: starts fresh in every round.
        momentum: of "sgd"; unused by the others.
        weight_decay: decoupled, of "adamw"; per step and unit of learning rate.
        noise: "fast" adds float64 Gaussian noise to a float64 sum; "strict" rounds each unit's
            gradient to an integer grid and adds exact discrete Gaussian noise.
        unit: whose gradients are clipped as one: a record's, or all of a person's.
        frozen: the adapter factor that is left alone in this round.
        adaptive: how the clipping norm moves from step to step; None keeps it.
        physical_batch: records computed at once; bounds memory, changes no result.
        proximal: FedProx's mu: how strongly a step is pulled to the round's start; 0 for no pull.
    """

    steps: int
    sampling_rate: float
    clipping_norm: float
    noise_multiplier: float
    expected_batch: float
    optimizer: Literal["sgd", "adam", "adamw", "adam-bc"]
    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    noise: Literal["fast", "strict"] = "fast"
    unit: Literal["record", "person"] = "record"
    frozen: Frozen = ""
    adaptive: Adaptive | None = None
    physical_batch: int = 64
    proximal: float = 0.0

    def __post_init__(self) -> None:
        """Refuse terms under which the guarantee would not hold."""
        bounded = math.isfinite(self.clipping_norm)
        sound = (
            self.steps >= 1
            and 0.0 < self.sampling_rate <= 1.0
            and self.clipping_norm >= SMALLEST_NORM
            and (self.clipping_norm <= LARGEST_NORM or not bounded)
            and 0.0 <= self.noise_multiplier < math.inf
            and self.expected_batch > 0.0
            and self.physical_batch >= 1
            and 0.0 <= self.proximal < math.inf
            and (bounded or (self.noise_multiplier == 0.0 and not self.mode.exact))
            and (self.adaptive is None or (bounded and not self.mode.exact))
        )
        if not sound:
            raise TrainingError(f"no DP-SGD with {self}; nothing was computed")

    @classmethod
    def of(
        cls,
        charter: Charter,
        *,
        noise_multiplier: float,
        declared_records: int,
        round_number: int,
    ) -> LocalTerms:
        """Return the terms of a round, counted from 1, at a site of this declared size.

        Raises:
            TrainingError: no noise, though the charter trains with differential privacy.
        """
        training, privacy = charter.training, charter.privacy.training
        if privacy.mechanism != "none" and not noise_multiplier > 0.0:
            raise TrainingError(
                f"noise multiplier {noise_multiplier!r}, but the charter's mechanism is "
                f"{privacy.mechanism!r}; nothing was computed"
            )
        return cls(
            steps=training.local_steps,
            sampling_rate=privacy.sampling_rate,
            clipping_norm=privacy.clipping_norm,
            noise_multiplier=noise_multiplier,
            expected_batch=privacy.sampling_rate * declared_records,
            optimizer=training.optimizer,
            learning_rate=training.learning_rate,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
            noise=privacy.noise,
            unit=charter.privacy.unit,
            frozen=frozen_factor(charter.adapter.form, round_number),
            adaptive=Adaptive.of(privacy),
            physical_batch=training.physical_batch,
            proximal=training.proximal or 0.0,
        )

    @property
    def mode(self) -> GradientNoise:
        """How the noise of a clipped sum is drawn."""
        return gradient_noise(self.noise)

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise on every trained coordinate of a clipped sum."""
        if not self.noise_multiplier:
            return 0.0
        share = self.adaptive.share if self.adaptive else 0.0
        return self.noise_multiplier * self.clipping_norm / math.sqrt(1.0 - share)

    @property
    def batch(self) -> int:
        """Records that are usually computed at once."""
        if self.mode.exact:
            return 1
        return min(self.physical_batch, math.ceil(self.expected_batch))

    @property
    def grid_scale(self) -> float:
        """Grid steps in a unit of gradient, where gradients are integers."""
        return NORM_STEPS / self.clipping_norm
