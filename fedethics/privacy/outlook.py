"""Looking ahead: what a training budget buys, before anyone agrees to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fedethics.privacy.accounting import epsilon
from fedethics.privacy.calibration import noise_multiplier
from fedethics.privacy.events import SampledGaussian

NOISE_FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
ROUND_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
# Measured on SmolLM2: filling the cache costs 0.9 of a visit without it, and a visit with it 0.43.
VISITS_THAT_PAY = 2
RECORDS = (50, 100, 200, 500, 1_000, 5_000, 20_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingQuestion:
    """The public terms of DP-SGD at one site."""

    rounds: int
    local_steps: int
    sampling_rate: float
    epsilon: float
    delta: float

    @property
    def steps(self) -> int:
        """Steps over the whole run."""
        return self.rounds * self.local_steps

    def noise(self) -> float:
        """Return the noise multiplier that the whole run needs."""
        return noise_multiplier(
            epsilon=self.epsilon,
            delta=self.delta,
            sampling_rate=self.sampling_rate,
            steps=self.steps,
        )

    def cost(self, sigma: float, *, rounds: int | None = None) -> float:
        """Return the epsilon of training with another noise or number of rounds."""
        steps = (rounds or self.rounds) * self.local_steps
        return epsilon([SampledGaussian(sigma, self.sampling_rate, steps)], delta=self.delta)


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteOutlook:
    """What one site can expect.

    Attributes:
        signal_to_noise: of one step, see `signal_to_noise`.
        obstacles: why it cannot take part; empty when it can.
        cautions: what it should know all the same.
    """

    site: str
    records: int
    expected_batch: float
    signal_to_noise: float
    obstacles: tuple[str, ...]
    cautions: tuple[str, ...]


def signal_to_noise(*, records: int, sampling_rate: float, sigma: float) -> float:
    """Return the most that one step's summed gradient can stand out from the noise.

    The expected number of sampled units over the noise multiplier: the length of the clipped sum
    if all gradients pointed one way, over the standard deviation of the noise along that way.
    Gradients that disagree lower it.
    """
    return sampling_rate * records / sigma


def by_rounds(question: TrainingQuestion, sigma: float) -> list[tuple[int, float]]:
    """Return (rounds, epsilon) with the noise held."""
    rounds = sorted({max(1, round(question.rounds * factor)) for factor in ROUND_FACTORS})
    return [(count, question.cost(sigma, rounds=count)) for count in rounds]


def by_noise(question: TrainingQuestion, sigma: float) -> list[tuple[float, float]]:
    """Return (noise multiplier, epsilon) with the rounds held."""
    return [(sigma * factor, question.cost(sigma * factor)) for factor in NOISE_FACTORS]


def site_outlook(
    site: str, records: int, *, question: TrainingQuestion, sigma: float | None
) -> SiteOutlook:
    """Say whether a site with this many training records can take part, and what it will see."""
    obstacles: list[str] = []
    cautions: list[str] = []
    batch = question.sampling_rate * records
    ratio = math.inf
    if question.delta >= 1 / records:
        obstacles.append(
            f"delta {question.delta:g} is not below 1/{records} = {1 / records:.2g}: at such a "
            "delta a record may be published in full. Lower delta"
        )
    if sigma is not None:
        ratio = signal_to_noise(records=records, sampling_rate=question.sampling_rate, sigma=sigma)
        if ratio < 1:
            cautions.append("the noise of a step is larger than any signal of this site can be")
    if batch < 1:
        cautions.append("most steps will sample no record and hold only noise")
    return SiteOutlook(
        site=site,
        records=records,
        expected_batch=batch,
        signal_to_noise=ratio,
        obstacles=tuple(obstacles),
        cautions=tuple(cautions),
    )


def together(sites: Sequence[SiteOutlook], *, question: TrainingQuestion, sigma: float) -> float:
    """Return the signal to noise of one step's sum over all sites, each with its own noise."""
    records = sum(site.records for site in sites)
    own = signal_to_noise(records=records, sampling_rate=question.sampling_rate, sigma=sigma)
    return own / math.sqrt(max(len(sites), 1))
