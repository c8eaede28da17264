"""What a charter's run will spend and the noise that it needs: computed by each site for itself.

The plan is a pure function of the charter. No number of it is ever received from a coordinator,
so no coordinator can understate noise or overstate a budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from fedethics.charter.document import hash_of
from fedethics.charter.model import Charter
from fedethics.charter.privacy_terms import EvaluationPrivacy
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.calibration import noise_multiplier, smallest_scale
from fedethics.privacy.events import Event, NonPrivate, SampledGaussian, SkellamRelease

ReleaseKind = Literal["update", "progress", "fairness"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PrivacyPlan:
    """One run's mechanisms and what they cost, for one unit of one site.

    Training and held-out records are disjoint, so a record pays `training_events` or
    `evaluation_events`, never both.

    Attributes:
        charter_hash: the charter that the plan follows from.
        delta: the delta of both epsilons.
        noise_multiplier: std over clipping norm of each DP-SGD step; None without DP.
        round_event: what one round of training costs, including a round that is done again.
        training_events: all rounds.
        training_epsilon: their epsilon; infinite without DP.
        progress_std, counts_std, histogram_std: standard deviations on which the guarantee of
            each table rests; 0.0 without DP.
        progress_event: what one progress evaluation costs.
        fairness_events: what the one final release (counts and histogram) costs.
        evaluation_events: all evaluations of the run.
        evaluation_epsilon: their epsilon; infinite without DP.
        progress_rounds: rounds, counted from 1, after which a progress evaluation is taken; the
            last round has the fairness release instead.
        sites: sites whose tables are summed (for a draft, the minimum cohort).
        noise_shares: sites among them whose noise together carries the guarantee.
        evaluation_trust_mode: "distributed" or "local", from the charter.
    """

    charter_hash: str
    delta: float
    noise_multiplier: float | None
    round_event: Event
    training_events: tuple[Event, ...]
    training_epsilon: float
    progress_std: float
    counts_std: float
    histogram_std: float
    progress_event: Event
    fairness_events: tuple[Event, ...]
    evaluation_events: tuple[Event, ...]
    evaluation_epsilon: float
    progress_rounds: tuple[int, ...]
    sites: int
    noise_shares: int
    evaluation_trust_mode: Literal["local", "distributed"]

    def site_variance(self, std: float) -> float:
        """Return the variance that each site adds to every entry, for a table of this std.

        In "distributed" mode, the shares of the sites that do not collude add up to `std`
        squared; in "local" mode each site adds all of it.
        """
        return std * std / self.noise_shares

    def sum_variance(self, std: float) -> float:
        """Return the variance of the noise in every entry of the opened sum."""
        return self.sites * self.site_variance(std)

    def demand(self, kind: ReleaseKind) -> tuple[Event, ...]:
        """Return what one release of this kind is charged for."""
        if kind == "update":
            return (self.round_event,)
        return (self.progress_event,) if kind == "progress" else self.fairness_events


@lru_cache(maxsize=32)
def make_plan(charter: Charter) -> PrivacyPlan:
    """Return the plan that follows from the charter.

    Guarantee: `training_epsilon` and `evaluation_epsilon` are verified by the accountant of
    record to be at most the charter's, at the charter's delta, over the whole run.

    Raises:
        AccountingError: no noise makes the run fit the charter's epsilon.
    """
    sigma = _noise_multiplier(charter)
    evaluation = charter.privacy.evaluation
    progress_rounds = _progress_rounds(charter)
    base = _base_std(charter, progress=len(progress_rounds))
    progress, counts, histogram = (_release(ratio, base) for ratio in _ratios(evaluation))
    training_events = (_training(charter, sigma, rounds=charter.training.rounds),)
    evaluation_events = (*(progress for _ in progress_rounds), counts, histogram)
    delta = charter.privacy.delta
    sites = len(charter.roster) or charter.secagg.minimum_cohort
    distributed = evaluation.trust_mode == "distributed"
    return PrivacyPlan(
        charter_hash=hash_of(charter),
        delta=delta,
        noise_multiplier=sigma,
        round_event=_training(charter, sigma, rounds=1),
        training_events=training_events,
        training_epsilon=epsilon(training_events, delta=delta),
        progress_std=evaluation.progress_ratio * base,
        counts_std=evaluation.counts_ratio * base,
        histogram_std=evaluation.histogram_ratio * base,
        progress_event=progress,
        fairness_events=(counts, histogram),
        evaluation_events=evaluation_events,
        evaluation_epsilon=epsilon(evaluation_events, delta=delta),
        progress_rounds=progress_rounds,
        sites=sites,
        noise_shares=sites - charter.secagg.colluders if distributed else 1,
        evaluation_trust_mode=evaluation.trust_mode,
    )


def _noise_multiplier(charter: Charter) -> float | None:
    terms = charter.privacy.training
    if terms.mechanism == "none":
        return None
    return noise_multiplier(
        epsilon=terms.epsilon,
        delta=charter.privacy.delta,
        sampling_rate=terms.sampling_rate,
        steps=charter.training.rounds * charter.training.local_steps,
    )


def _training(charter: Charter, sigma: float | None, *, rounds: int) -> Event:
    if sigma is None:
        return NonPrivate('privacy.training.mechanism = "none"')
    steps = rounds * charter.training.local_steps
    return SampledGaussian(sigma, charter.privacy.training.sampling_rate, steps)


def _progress_rounds(charter: Charter) -> tuple[int, ...]:
    every, last = charter.privacy.evaluation.progress_every, charter.training.rounds
    return tuple(range(every, last, every)) if every else ()


def _ratios(evaluation: EvaluationPrivacy) -> tuple[float, float, float]:
    return evaluation.progress_ratio, evaluation.counts_ratio, evaluation.histogram_ratio


def _release(ratio: float, base: float) -> Event:
    if base == 0.0:
        return NonPrivate('privacy.evaluation.mechanism = "none"')
    return SkellamRelease(ratio * base)


def _base_std(charter: Charter, *, progress: int) -> float:
    evaluation = charter.privacy.evaluation
    if evaluation.mechanism == "none":
        return 0.0
    progress_ratio, counts_ratio, histogram_ratio = _ratios(evaluation)

    def events_at(base: float) -> tuple[Event, ...]:
        final = (SkellamRelease(counts_ratio * base), SkellamRelease(histogram_ratio * base))
        return (*final, SkellamRelease(progress_ratio * base, progress)) if progress else final

    return smallest_scale(events_at, epsilon=evaluation.epsilon, delta=charter.privacy.delta)
