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
from fedethics.privacy.audit_plan import AuditPlan, audit_plan, held_out_events, trained_events
from fedethics.privacy.calibration import noise_multiplier, smallest_scale
from fedethics.privacy.events import (
    CountMechanism,
    Event,
    NonPrivate,
    SampledGaussian,
    count_mechanism,
)
from fedethics.privacy.explanation_noise import explanation_noise, largest_base

ReleaseKind = Literal["update", "progress", "fairness", "steering", "audit"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PrivacyPlan:
    """One run's mechanisms and what they cost, for one unit of one site.

    Training and held-out records are disjoint, so a record pays `training_events` or
    `evaluation_events`, never both. Where training is steered between groups, the counts of
    training records are part of `training_events`.

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
        effects_std, flips_std: the same for the sums of score changes, in the steps that they are
            counted in, and for the counts of flips; 0.0 where nothing is explained.
        fairness_events: what the one final release (counts, histogram and what the charter asks to
            have explained) costs.
        evaluation_events: all evaluations of the run.
        evaluation_epsilon: their epsilon; infinite without DP.
        progress_rounds: rounds, counted from 1, after which a progress evaluation is taken; the
            last round has the fairness release instead.
        sites: sites whose tables are summed (for a draft, the minimum cohort).
        noise_shares: sites among them whose noise together carries the guarantee.
        evaluation_trust_mode: "distributed" or "local", from the charter.
        count_mechanism: how the noise of tables is drawn; None without DP.
        training_trust_mode: "distributed" or "local", from the charter.
        colluders: sites that may share all they know with a coordinator that lies.
        training_shares: sites whose noise together carries the training guarantee: under
            distributed trust, the fewest honest ones in any sum that can be opened.
        steering_rounds: rounds before which training records are counted; empty without.
        steering_std: standard deviation on which the guarantee of such a table rests.
        steering_event: what one such table costs.
        steering_shares: sites whose noise together carries it; as trusted as the training.
        audit: noise and cost of the membership audit's histograms; None without.
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
    effects_std: float
    flips_std: float
    progress_event: Event
    fairness_events: tuple[Event, ...]
    evaluation_events: tuple[Event, ...]
    evaluation_epsilon: float
    progress_rounds: tuple[int, ...]
    sites: int
    noise_shares: int
    evaluation_trust_mode: Literal["local", "distributed"]
    count_mechanism: type[CountMechanism] | None
    training_trust_mode: Literal["local", "distributed"]
    colluders: int
    training_shares: int
    steering_rounds: tuple[int, ...]
    steering_std: float
    steering_event: Event
    steering_shares: int
    audit: AuditPlan | None = None

    @property
    def steering_site_variance(self) -> float:
        """The variance that each site adds to every entry of a steering table."""
        return self.steering_std**2 / self.steering_shares

    @property
    def steering_sum_variance(self) -> float:
        """The variance of the noise in every entry of an opened steering table."""
        return self.sites * self.steering_site_variance

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
        if kind == "steering":
            return (self.steering_event,)
        if kind == "audit":  # of held-out units; trained ones pay `audit.members.event`
            return held_out_events(self.audit)
        return (self.progress_event,) if kind == "progress" else self.fairness_events


@lru_cache(maxsize=32)
def make_plan(charter: Charter) -> PrivacyPlan:
    """Return the plan that follows from the charter.

    Guarantee: `training_epsilon` and `evaluation_epsilon` are verified by the accountant of
    record to be at most the charter's, at the charter's delta, over the whole run.

    Raises:
        AccountingError: no noise makes the run fit the charter's epsilon.
    """
    steering = _steering(charter)
    audit = audit_plan(charter)
    tables = (*(steering.event for _ in steering.rounds), *trained_events(audit))
    sigma = _noise_multiplier(charter, tables)
    evaluation = charter.privacy.evaluation
    progress_rounds = _progress_rounds(charter)
    audited = held_out_events(audit)
    base = _base_std(charter, progress=len(progress_rounds), audited=audited)
    chosen = evaluation.mechanism
    mechanism = None if chosen == "none" else count_mechanism(chosen)
    noise_shares, rows = _noise_shares(charter), charter.data.max_rows_per_person
    progress, counts, histogram = (
        NonPrivate('privacy.evaluation.mechanism = "none"')
        if mechanism is None
        else mechanism.of(std=ratio * base, shares=noise_shares, sensitivity=rows)
        for ratio in _ratios(evaluation)
    )
    training_events = (_training(charter, sigma, rounds=charter.training.rounds), *tables)
    explained = explanation_noise(charter, base, shares=noise_shares)
    fairness_events = (counts, histogram, *explained.events)
    evaluation_events = (*(progress for _ in progress_rounds), *audited, *fairness_events)
    delta = charter.privacy.delta
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
        effects_std=explained.effects_std,
        flips_std=explained.flips_std,
        progress_event=progress,
        fairness_events=fairness_events,
        evaluation_events=evaluation_events,
        evaluation_epsilon=epsilon(evaluation_events, delta=delta),
        progress_rounds=progress_rounds,
        sites=_sites(charter),
        noise_shares=noise_shares,
        evaluation_trust_mode=evaluation.trust_mode,
        count_mechanism=mechanism,
        training_trust_mode=charter.privacy.training.trust_mode,
        colluders=charter.secagg.colluders,
        training_shares=_training_shares(charter),
        steering_rounds=steering.rounds,
        steering_std=steering.std,
        steering_event=steering.event,
        steering_shares=steering.shares,
        audit=audit,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Steering:
    rounds: tuple[int, ...]
    std: float
    event: Event
    shares: int


def _steering(charter: Charter) -> _Steering:
    """Return what counting training records takes; its noise is trusted as the training's is."""
    rounds = charter.mitigation.rounds(charter.training.rounds)
    distributed = charter.privacy.training.trust_mode == "distributed"
    shares = _honest_of_roster(charter) if distributed else 1
    mechanism, rows = charter.privacy.evaluation.mechanism, charter.data.max_rows_per_person
    without = charter.privacy.training.mechanism == "none" or mechanism == "none"
    if mechanism == "none" or without or not rounds:
        event: Event = NonPrivate('privacy.training.mechanism = "none"')
        return _Steering(rounds=rounds, std=0.0, event=event, shares=shares)
    chosen = count_mechanism(mechanism)

    def table(std: float, releases: int) -> Event:
        return chosen.of(std=std, shares=shares, releases=releases, sensitivity=rows)

    std = smallest_scale(
        lambda scale: (table(scale, len(rounds)),),
        epsilon=charter.mitigation.epsilon,
        delta=charter.privacy.delta,
    )
    return _Steering(rounds=rounds, std=std, event=table(std, 1), shares=shares)


def _sites(charter: Charter) -> int:
    return len(charter.roster) or charter.secagg.minimum_cohort


def _noise_shares(charter: Charter) -> int:
    distributed = charter.privacy.evaluation.trust_mode == "distributed"
    return _honest_of_roster(charter) if distributed else 1


def _honest_of_roster(charter: Charter) -> int:
    return charter.secagg.fewest_honest(_sites(charter), whole_roster=True)


def _training_shares(charter: Charter) -> int:
    # Sites may drop out of an update sum, or be left out of it, so the worst sum counts.
    distributed = charter.privacy.training.trust_mode == "distributed"
    return charter.secagg.fewest_honest(_sites(charter), whole_roster=False) if distributed else 1


def _noise_multiplier(charter: Charter, tables: tuple[Event, ...]) -> float | None:
    terms = charter.privacy.training
    if terms.mechanism == "none":
        return None
    if tables:
        return smallest_scale(
            lambda sigma: (_training(charter, sigma, rounds=charter.training.rounds), *tables),
            epsilon=terms.epsilon,
            delta=charter.privacy.delta,
        )
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


def _base_std(charter: Charter, *, progress: int, audited: tuple[Event, ...]) -> float:
    evaluation = charter.privacy.evaluation
    mechanism, shares = evaluation.mechanism, _noise_shares(charter)
    rows = charter.data.max_rows_per_person
    if mechanism == "none":
        return 0.0
    chosen = count_mechanism(mechanism)
    progress_ratio, counts_ratio, histogram_ratio = _ratios(evaluation)

    def events_at(base: float) -> tuple[Event, ...]:
        releases = [(counts_ratio, 1), (histogram_ratio, 1), (progress_ratio, progress)]
        tables = tuple(
            chosen.of(std=ratio * base, shares=shares, releases=count, sensitivity=rows)
            for ratio, count in releases
            if count
        )
        return (*audited, *tables, *explanation_noise(charter, base, shares=shares).events)

    return smallest_scale(
        events_at,
        epsilon=evaluation.epsilon,
        delta=charter.privacy.delta,
        largest=largest_base(charter.ethics.explanation, chosen),
    )
