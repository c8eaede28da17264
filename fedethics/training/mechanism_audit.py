"""Attack a charter's training mechanism with canaries: is its noise what its epsilon rests on?

Nothing real is read and nothing is charged: the canaries are the only units.

The tests of noise, shift and sampling find a mechanism that is not as agreed after a few steps; the
bounds on epsilon find one that breaks its promise, and need more.

Source: one run: Steinke, Nasr and Jagielski 2023 (arXiv 2305.08846).

Canaries through the steps that sites train with, and what came out of them.

A canary is a made-up unit whose gradient is one coordinate, ten times the clipping norm long, so
that clipping must cut it. Each is in the training data with probability 1/2. Steps are taken by the
functions of dp_sgd.py: Poisson sample, clipping, sum, noise. What comes out at a canary's
coordinate says whether it was in; coordinates without one show the noise alone. Canaries do not
touch each other, so one run is as good as many.

Source: Dirac canaries: Nasr et al. 2023 (arXiv 2302.07956).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binom, chi2, norm

from fedethics.charter.cohorts import most_rounds
from fedethics.charter.model import Charter
from fedethics.data.records import Targets
from fedethics.errors import TrainingError
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.audit import independent_trials, one_run
from fedethics.privacy.audit.independent_trials import Outcomes
from fedethics.privacy.events import SampledGaussian
from fedethics.privacy.noise import NoiseSource
from fedethics.privacy.plan import make_plan
from fedethics.training.activations import ALONE, Activations, Batch, Shape
from fedethics.training.clipping import Site
from fedethics.training.dp_sgd import private_mean, sampled_sum, with_moved_norm
from fedethics.training.factors import trained_coordinates
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms
from fedethics.training.per_sample import Sampled

_STRETCH = 10.0


class _Canaries:
    """The gradients of the canaries that are in; what clipping asks of an engine."""

    def __init__(self, size: int, places: NDArray[np.intp], length: float) -> None:
        self._size, self._places, self._length = size, torch.from_numpy(places), length

    @property
    def size(self) -> int:
        return self._size

    def each(
        self, activations: Activations, rows: NDArray[np.intp], _labels: Targets
    ) -> Iterator[tuple[Batch, Sampled]]:
        for batch in activations.batches(rows, _alone):
            samples = torch.zeros(1, self._size)
            samples[0, self._places[batch.rows]] = self._length
            yield batch, (samples, torch.zeros(1))


def _alone(_length: int, *, places: int = 0) -> Shape:
    # One row of it needs no places filled up.
    return dataclasses.replace(ALONE, places=places)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CanaryRun:
    """What came out, in clipping norms.

    Attributes:
        inside: which canaries were in, shape (m,).
        score: sum over the steps at each canary's coordinate, shape (m,).
        background: mean square of one step at coordinates without a canary.
        draws: numbers that `background` is the mean of.
        sampled: canaries sampled in each step, shape (steps,).
    """

    inside: NDArray[np.bool_]
    score: NDArray[np.float64]
    background: float
    draws: int
    sampled: NDArray[np.int64]

    @classmethod
    def of(
        cls, learner: Learner, terms: LocalTerms, *, noise: NoiseSource, canaries: int, steps: int
    ) -> CanaryRun:
        """Take the steps.

        Args:
            learner: whose coordinates are trained; the model itself computes nothing.
            terms: of a round at a site.
            noise: a fresh source, as a site's.
            canaries: how many; at most half of the trained coordinates are used.
            steps: how many.
        """
        mask = trained_coordinates(learner, terms.frozen)
        trained = np.flatnonzero(mask)
        order = np.argsort(noise.uniform(len(trained)))
        count = min(canaries, len(trained) // 2)
        places, others = trained[order[:count]], trained[order[count:]]
        inside = noise.uniform(count) < 0.5
        members = places[inside]
        site = Site(
            learner=learner,
            gradients=_Canaries(learner.size, members, _STRETCH * terms.clipping_norm),
            activations=Activations((torch.zeros(1),) * len(members)),
            labels=np.zeros(len(members), dtype=np.int16),
            units=np.arange(len(members)),
        )
        score, squares = np.zeros(count), 0.0
        sampled: list[int] = []
        chosen, current = torch.from_numpy(mask), terms
        for _ in range(steps):
            clipped = sampled_sum(site, terms=current, noise=noise)
            mean = private_mean(clipped.total, chosen, terms=current, noise=noise)
            seen = mean.double().numpy() * terms.expected_batch / current.clipping_norm
            score += seen[places]
            squares += float(np.square(seen[others]).sum())
            sampled.append(clipped.units)
            current = with_moved_norm(current, clipped, noise=noise)
        draws = steps * len(others)
        return cls(
            inside=inside,
            score=score,
            background=squares / draws,
            draws=draws,
            sampled=np.array(sampled, dtype=np.int64),
        )

    @property
    def steps(self) -> int:
        """Steps taken."""
        return len(self.sampled)


CANARIES = 1000
CONFIDENCE = 0.95
_MOST_STEPS = 100
_DECLARED = 100
# A sound mechanism fails a test of its figures by chance less than once in a million.
_CHANCE = 1e-6
# False alarms of the attack's thresholds.
_ALARMS = (0.3, 0.1, 0.03, 0.01, 0.003)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One figure of the audit: what was measured, what was agreed, and whether they fit."""

    name: str
    measured: float
    agreed: str
    passed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class MechanismAudit:
    """All figures, and the terms that they are of.

    Attributes:
        steps: steps taken: those of a run, or 100 if it has more.
        canaries: canaries, in and out.
        noise_multiplier, sampling_rate, delta: as agreed.
        promised: epsilon of these steps.
        lines: in order.
    """

    steps: int
    canaries: int
    noise_multiplier: float
    sampling_rate: float
    delta: float
    promised: float
    lines: tuple[Line, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing speaks against the mechanism; not that anything proves it."""
        return all(line.passed for line in self.lines)


def audit_mechanism(
    charter: Charter,
    learner: Learner,
    *,
    noise: NoiseSource,
    canaries: int = CANARIES,
) -> MechanismAudit:
    """Run one site's training mechanism on canaries alone.

    Args:
        charter: the terms; noise and steps follow from them.
        learner: whose coordinates are trained; the model itself computes nothing.
        noise: a fresh source, as a site's.
        canaries: how many; at most half of the trained coordinates are used.

    Raises:
        TrainingError: the charter trains without noise, or under distributed trust, where no site
            adds all of the noise and this audit is not built.
    """
    training, plan = charter.privacy.training, make_plan(charter)
    if plan.update.noise_multiplier is None or training.trust_mode != "local":
        raise TrainingError(
            f"mechanism {training.mechanism!r} under {training.trust_mode!r} trust has no noise of "
            "one site that an epsilon rests on; this audit is for dp-sgd under local trust"
        )
    terms = LocalTerms.of(
        charter,
        noise_multiplier=plan.update.noise_multiplier,
        declared_records=_DECLARED,
        round_number=1,
    )
    steps = min(_MOST_STEPS, most_rounds(charter) * charter.training.local_steps)
    event = SampledGaussian(plan.update.noise_multiplier, training.sampling_rate, steps)
    seen = CanaryRun.of(learner, terms, noise=noise, canaries=canaries, steps=steps)
    promised = epsilon((event,), delta=plan.delta)
    # What adaptive clipping takes for its count, the gradients' noise must make up for.
    share = terms.adaptive.share if terms.adaptive else 0.0
    sigma = plan.update.noise_multiplier / math.sqrt(1.0 - share)
    return MechanismAudit(
        steps=steps,
        canaries=len(seen.inside),
        noise_multiplier=plan.update.noise_multiplier,
        sampling_rate=training.sampling_rate,
        delta=plan.delta,
        promised=promised,
        lines=(
            _step_noise(seen, sigma),
            _run_noise(seen, sigma),
            _shift(seen, sigma, training.sampling_rate),
            _mean_sample(seen, training.sampling_rate),
            _spread_of_samples(seen, training.sampling_rate),
            *_bounds(seen, sigma, promised=promised, delta=plan.delta),
        ),
    )


def _step_noise(seen: CanaryRun, sigma: float) -> Line:
    return _variance_line("noise of one step", seen.background, seen.draws, sigma)


def _run_noise(seen: CanaryRun, sigma: float) -> Line:
    # Noise that repeats itself from step to step adds up faster, or slower, than fresh noise.
    outside = seen.score[~seen.inside] / math.sqrt(seen.steps)
    square = float(np.square(outside).mean()) if outside.size else math.nan
    return _variance_line("noise of all steps, per step", square, outside.size, sigma)


def _variance_line(name: str, square: float, draws: int, sigma: float) -> Line:
    ratio = square / sigma**2
    low, high = chi2.ppf([_CHANCE / 2, 1.0 - _CHANCE / 2], draws) / draws
    # Noise is drawn in float64 or on a grid; a thousandth is no defect of either.
    passed = bool(low - 1e-3 <= ratio <= high + 1e-3)
    agreed = f"noise multiplier {sigma:.4g}"
    return Line(name=name, measured=math.sqrt(square), agreed=agreed, passed=passed)


def _shift(seen: CanaryRun, sigma: float, rate: float) -> Line:
    shift = float(seen.score[seen.inside].mean() - seen.score[~seen.inside].mean())
    expected, members = rate * seen.steps, int(seen.inside.sum())
    noise = seen.steps * sigma**2
    error = math.sqrt(
        (noise + seen.steps * rate * (1.0 - rate)) / members + noise / (len(seen.inside) - members)
    )
    return Line(
        name="shift of a canary that is in, in clipping norms",
        measured=shift,
        agreed=f"{expected:.4g}: sampling rate times steps",
        passed=abs(shift - expected) <= float(norm.isf(_CHANCE / 2)) * error + 1e-3 * expected,
    )


def _mean_sample(seen: CanaryRun, rate: float) -> Line:
    trials, total = seen.steps * int(seen.inside.sum()), int(seen.sampled.sum())
    low, high = binom.ppf([_CHANCE / 2, 1.0 - _CHANCE / 2], trials, rate)
    return Line(
        name="share of units sampled in a step",
        measured=total / trials,
        agreed=f"sampling rate {rate:g}",
        passed=bool(low <= total <= high),
    )


def _spread_of_samples(seen: CanaryRun, rate: float) -> Line:
    members = int(seen.inside.sum())
    variance = members * rate * (1.0 - rate)
    if not variance:
        return Line(
            name="variance of sample sizes, of Poisson sampling's",
            measured=float(seen.sampled.var()),
            agreed="0: every unit is in every step",
            passed=not seen.sampled.var(),
        )
    spread = float(np.square(seen.sampled - members * rate).sum()) / variance
    low, high = chi2.ppf([_CHANCE / 2, 1.0 - _CHANCE / 2], seen.steps)
    return Line(
        name="variance of sample sizes, of Poisson sampling's",
        measured=spread / seen.steps,
        agreed="1: each unit is drawn by itself",
        passed=bool(low <= spread <= high),
    )


def _bounds(seen: CanaryRun, sigma: float, *, promised: float, delta: float) -> tuple[Line, Line]:
    scale = sigma * math.sqrt(seen.steps)
    agreed = f"at most {promised:.4g}"
    found = {
        "epsilon at least, canaries as independent trials": independent_trials.epsilon_bound(
            (_outcomes(seen, scale * float(norm.isf(rate))) for rate in _ALARMS),
            delta=delta,
            confidence=CONFIDENCE,
        ),
        "epsilon at least, one run": one_run.bound_of_scores(
            seen.score, seen.inside, delta=delta, error=1.0 - CONFIDENCE
        ),
    }
    first, second = (
        Line(name=name, measured=value, agreed=agreed, passed=value <= promised)
        for name, value in found.items()
    )
    return first, second


def _outcomes(seen: CanaryRun, threshold: float) -> Outcomes:
    called = seen.score >= threshold
    return Outcomes(
        true_positives=int((called & seen.inside).sum()),
        members=int(seen.inside.sum()),
        false_positives=int((called & ~seen.inside).sum()),
        non_members=int((~seen.inside).sum()),
    )
