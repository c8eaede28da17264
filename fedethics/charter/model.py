"""The charter as typed terms: task, model, data schema, objectives, privacy, aggregation, roster.

Everything that decides what is computed at a site is here and nowhere else, so that agreeing on one
hash is agreeing on all of it. Bounds are next to each field.

Who the charter is between: its name and version, and each institution with its key.

What the training mechanism and the unit of privacy need of other tables of the charter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fedethics.charter.annotation_terms import AnnotationTerms, annotation_rule
from fedethics.charter.benchmark_terms import benchmark_rule
from fedethics.charter.census_terms import CensusTerms, census_rule
from fedethics.charter.class_rules import (
    class_problems,
    impossible_problems,
    too_many_classes,
)
from fedethics.charter.data_terms import DataTerms
from fedethics.charter.documentation_terms import DocumentationTerms
from fedethics.charter.ethics_terms import (
    EthicsTerms,
    MitigationTerms,
    explanation_problems,
    groups_rule,
    mitigation_problems,
    objective_feature_problems,
)
from fedethics.charter.measure_terms import MeasureTerms, measures_rule
from fedethics.charter.monitoring_terms import MonitoringTerms, monitoring_rule, watched_search_rule
from fedethics.charter.norm_terms import NormTerms, norms_rule
from fedethics.charter.paired_terms import PairedTerms, paired_rule
from fedethics.charter.privacy_terms import AggregationTerms, PrivacyTerms
from fedethics.charter.training_terms import AdapterTerms, ModelTerms, TrainingTerms
from fedethics.charter.tuning_terms import TuningTerms, tuning_rule
from fedethics.identity import key_fault, public_key_term
from fedethics.learning_tasks import find_task
from fedethics.learning_tasks.task import COLUMNS
from fedethics.secagg.honest_sites import COMPLETE_UP_TO, RING_FAILURE, SMALLEST_HONEST
from fedethics.terms import KEY, NAME, term


@dataclass(frozen=True, kw_only=True, slots=True)
class Heading:
    """What the charter is called and which version it is."""

    name: str = term(pattern=NAME)
    version: int = term(at_least=1)
    industry: Literal[
        "healthcare", "finance", "law-enforcement", "content-moderation", "retail", "hiring"
    ] = term()


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One institution of the roster.

    Attributes:
        declared_records: training size the site chooses to publish; it sets the site's weight and
            normalises its gradient sums, so that no count computed from records leaves the site.
        absent_groups: groups ("sex=Female") that the site publishes to have hardly anybody of, so
            that a figure which would be that of one or two sites is not shown as a sum.
    """

    site: str = term(pattern=NAME)
    public_key: str = term(pattern=KEY)
    declared_records: int = term(at_least=1, at_most=10**12)
    absent_groups: tuple[str, ...] = term(default=(), pattern=r"[^=]+=.+")

    def problems(self) -> list[str]:
        """Refuse a key by which anybody could sign in this member's name."""
        fault = key_fault(self.public_key)
        return [f"public-key: the key of {self.site} {fault}"] if fault else []


# A failure of the ring comes on top of delta; it may be this share of it.
_RING_SHARE = 1e-3


def unit_rule(privacy: PrivacyTerms, data: DataTerms) -> Iterator[str]:
    """Yield what is wrong between unit and data: a person needs an id, a record has none."""
    if privacy.unit == "person" and not data.person:
        yield 'privacy.unit "person": data.person does not name the column that identifies persons'
    if privacy.unit == "record" and data.person:
        yield (
            f'data.person: {data.person!r} is named, but privacy.unit is "record"; the epsilon '
            "would hold only for one row of a person"
        )


def adaptive_clipping_rule(privacy: PrivacyTerms, training: TrainingTerms) -> Iterator[str]:
    """Yield why the optimiser cannot go with a clipping norm that moves."""
    if privacy.training.adaptive_quantile and training.optimizer == "adam-bc":
        yield (
            'privacy.training.adaptive-quantile: optimizer "adam-bc" subtracts the noise\'s '
            "variance, which changes with the norm; use another optimizer"
        )


def distributed_training_rule(
    privacy: PrivacyTerms, training: TrainingTerms, secagg: AggregationTerms
) -> Iterator[str]:
    """Yield why training cannot be distributed as asked; nothing under local trust."""
    terms = privacy.training
    if terms.trust_mode != "distributed":
        return
    if terms.mechanism == "none":
        yield (
            'privacy.training.trust-mode "distributed": there is no noise to distribute under '
            'mechanism "none"'
        )
    if training.local_steps != 1:
        yield (
            f"training.local-steps: {training.local_steps}, but under distributed trust a round "
            "has one step: a second step would use a gradient without enough noise. Use 1"
        )
    if training.optimizer != "sgd" or training.momentum:
        yield (
            "training.optimizer: under distributed trust the coordinator takes the step, and only "
            '"sgd" without momentum is built'
        )
    if secagg.colluders == 0:
        yield (
            "secagg.colluders: 0, but under distributed trust any member can subtract its own "
            "share of the training noise; set it to at least 1"
        )


def server_optimizer_rule(adapter: AdapterTerms, training: TrainingTerms) -> Iterator[str]:
    """Yield why a server that remembers earlier rounds cannot go with the adapter's form."""
    if training.server is not None and adapter.form in ("fedsvd", "alternating"):
        why = {
            "fedsvd": "turns the factors again after each round, so that memory of earlier rounds "
            "is of other coordinates",
            "alternating": "keeps one factor still in each round, and memory would move it",
        }
        yield f'training.server: form "{adapter.form}" {why[adapter.form]}; use "ffa" or "both"'


def smallest_cohort_rule(training: TrainingTerms, secagg: AggregationTerms) -> Iterator[str]:
    """Yield why cohorts of so many sites could never be summed."""
    per_round = training.sites_per_round
    if per_round is not None and per_round < secagg.minimum_cohort:
        yield (
            f"training.sites-per-round: {per_round}, fewer than secagg.minimum-cohort "
            f"{secagg.minimum_cohort}; no sum over so few sites is ever opened"
        )


def cohort_rule(roster: tuple[Member, ...], training: TrainingTerms) -> Iterator[str]:
    """Yield why this roster cannot be dealt into cohorts (`fedethics.charter.cohorts`)."""
    per_round, sites = training.sites_per_round, len(roster)
    if per_round is None or not sites:
        return
    where, cohorts = f"training.sites-per-round: {per_round} of {sites} sites", sites // per_round
    if cohorts < _FEWEST_COHORTS:
        yield (
            f"{where}; the roster is dealt into cohorts of at least so many, and there must be two "
            f"of them. Ask for at most {sites // 2}, or leave the key out: then every site trains "
            "in each round"
        )
    elif sites > COMPLETE_UP_TO and -(-sites // cohorts) > COMPLETE_UP_TO:
        yield (
            f"{where}; a cohort of more than {COMPLETE_UP_TO} sites would need a ring of its own, "
            "which is not built. Ask for smaller cohorts"
        )
    elif training.rounds < cohorts:
        yield (
            f"{where} makes {cohorts} cohorts, but training.rounds is {training.rounds}, so some "
            f"would never train. Use at least {cohorts} rounds, or larger cohorts"
        )


def fast_mode_rule(roster: tuple[Member, ...], secagg: AggregationTerms) -> Iterator[str]:
    """Yield why survivors must be signed: unsigned, a sum could be one honest site's vector."""
    if secagg.mode != "fast" or secagg.problems():
        return
    if len(roster) > COMPLETE_UP_TO:
        yield (
            f'secagg.mode "fast": {len(roster)} sites; above {COMPLETE_UP_TO} the survivors of a '
            'sum must be signed. Use "strict"'
        )
    elif not roster or len(roster) >= secagg.minimum_cohort:
        sites = len(roster) or secagg.minimum_cohort
        if secagg.fewest_honest(sites, whole_roster=False) < SMALLEST_HONEST:
            yield (
                f'secagg.mode "fast": with {sites} sites, minimum-cohort {secagg.minimum_cohort} '
                f"and {secagg.colluders} colluders, a lying coordinator could open the vector of "
                'one honest site alone. Use "strict", or raise minimum-cohort'
            )


def ring_rule(roster: tuple[Member, ...], privacy: PrivacyTerms) -> Iterator[str]:
    """Yield why noise cannot be shared on a ring: the chance that it is cut must hide in delta."""
    if len(roster) <= COMPLETE_UP_TO or privacy.delta * _RING_SHARE >= RING_FAILURE:
        return
    for name, terms in (("training", privacy.training), ("evaluation", privacy.evaluation)):
        if terms.trust_mode == "distributed":
            yield (
                f'privacy.{name}.trust-mode "distributed": above {COMPLETE_UP_TO} sites a ring '
                f"fails with probability {RING_FAILURE:.2g}, on top of privacy.delta "
                f"{privacy.delta:g}; that is more than {_RING_SHARE:g} of it. Use a delta of at "
                f"least {RING_FAILURE / _RING_SHARE:.2g}, or local trust"
            )


_FEWEST_COHORTS = 2
# Expected held-out records under which hardly any split of a site has one.
_FEWEST_HELD_OUT = 0.01
_NOT_DECIDED = "model.task {!r} has no score that a threshold decides on"


@dataclass(frozen=True, kw_only=True, slots=True)
class Charter:
    """All that the federation agreed on; a draft, which cannot run, while the roster is empty."""

    charter: Heading = term()
    ethics: EthicsTerms = term()
    model: ModelTerms = term()
    adapter: AdapterTerms = term()
    data: DataTerms = term()
    training: TrainingTerms = term()
    privacy: PrivacyTerms = term()
    secagg: AggregationTerms = term()
    mitigation: MitigationTerms = term(default=MitigationTerms())
    annotation: AnnotationTerms | None = term(default=None)
    measures: MeasureTerms | None = term(default=None)
    documentation: DocumentationTerms | None = term(default=None)
    paired: PairedTerms | None = term(default=None)
    census: CensusTerms | None = term(default=None)
    norms: NormTerms | None = term(default=None)
    monitoring: MonitoringTerms | None = term(default=None)
    tuning: TuningTerms | None = term(default=None)
    coordinator_key: str = public_key_term(default="")
    roster: tuple[Member, ...] = term(default=())

    @classmethod
    def partial_problems(cls, values: Mapping[str, Any]) -> list[str]:
        """Check what spans tables, as far as the tables named are sound themselves."""
        return [
            problem
            for needed, rule in _RULES
            if all(name in values for name in needed)
            for problem in rule(*(values[name] for name in needed))
        ]

    def problems(self) -> list[str]:
        """Check what must be there once the roster is filled."""
        if not self.roster:
            return []
        found: list[str] = []
        if not self.coordinator_key:
            found.append("coordinator-key: missing, though the roster is filled")
        found.extend(
            f"ethics.stakeholders[{index}].public-key: missing, though the roster is filled; "
            f"{one.name} makes one with `fedethics key new`"
            for index, one in enumerate(self.ethics.stakeholders)
            if not one.public_key
        )
        keys = {one.public_key for one in self.ethics.stakeholders}
        if keys & {self.coordinator_key, *(member.public_key for member in self.roster)}:
            found.append(
                "ethics.stakeholders: a stakeholder's key is also that of a site or the "
                "coordinator; a signature must show who signed"
            )
        return found

    @property
    def name(self) -> str:
        """The charter's short name."""
        return self.charter.name

    @property
    def site_names(self) -> tuple[str, ...]:
        """The roster's sites in order."""
        return tuple(member.site for member in self.roster)

    @property
    def cohorts(self) -> int:
        """How many cohorts take turns in training; 1 where every site trains in each round."""
        per_round = self.training.sites_per_round
        return 1 if per_round is None else max(len(self.roster) // per_round, 1)

    @property
    def visits(self) -> float:
        """How often a training record is expected to be sampled over the whole run."""
        steps = self.training.rounds * self.training.local_steps / self.cohorts
        return self.privacy.training.sampling_rate * steps

    def member(self, site: str) -> Member | None:
        """Return the roster entry of `site`, or None when it is not a member."""
        return next((member for member in self.roster if member.site == site), None)


def _roster_rule(roster: tuple[Member, ...], secagg: AggregationTerms) -> Iterator[str]:
    names = [member.site for member in roster]
    keys = [member.public_key for member in roster]
    if len(set(names)) < len(names) or len(set(keys)) < len(keys):
        yield "roster: a site name or public key is listed twice"
    if roster and len(roster) < secagg.minimum_cohort:
        yield (
            f"roster: {len(roster)} sites, fewer than secagg.minimum-cohort "
            f"{secagg.minimum_cohort}; no sum could ever be opened"
        )


def quorum_rule(roster: tuple[Member, ...], secagg: AggregationTerms) -> Iterator[str]:
    """Yield why the roster could never reach the quorum."""
    if roster and secagg.quorum is not None and secagg.quorum > len(roster):
        yield f"secagg.quorum: {secagg.quorum}, but the roster has {len(roster)} sites"


def _trust_rule(privacy: PrivacyTerms, secagg: AggregationTerms) -> Iterator[str]:
    if privacy.evaluation.trust_mode == "distributed" and secagg.colluders == 0:
        yield (
            "secagg.colluders: 0, but under distributed trust any member can subtract its own "
            "share of the noise; set it to at least 1"
        )


def _histogram_rule(privacy: PrivacyTerms, data: DataTerms) -> Iterator[str]:
    for name in sorted(set(privacy.evaluation.histogram_by) - _features(data)):
        yield f"privacy.evaluation.histogram-by: {name!r} is not a sensitive feature"


def _edges_rule(model: ModelTerms, data: DataTerms, privacy: PrivacyTerms) -> Iterator[str]:
    task = find_task(model.task)
    if privacy.evaluation.finest_at is None:
        return
    if data.label is not None and task.label_problems(data.label):
        return
    if not task.measured(data.labels).thresholded:
        yield f"privacy.evaluation.finest-at: {_NOT_DECIDED.format(model.task)}"


def _objective_rule(ethics: EthicsTerms, data: DataTerms) -> Iterator[str]:
    for index, objective in enumerate(ethics.objectives):
        for problem in objective_feature_problems(objective, data):
            yield f"ethics.objectives[{index}].feature: {problem}"


def _class_rule(ethics: EthicsTerms, data: DataTerms) -> Iterator[str]:
    if data.label is None or data.label.classes is None:
        return
    yield from impossible_problems(data)
    for index, objective in enumerate(ethics.objectives):
        for problem in class_problems(objective, data):
            yield f"ethics.objectives[{index}].metric: {problem}"


def _many_classes_rule(
    roster: tuple[Member, ...], ethics: EthicsTerms, data: DataTerms
) -> Iterator[str]:
    if not roster or data.label is None or data.label.classes is None:
        return
    units = sum(member.declared_records for member in roster) / (1 - data.holdout_fraction)
    held_out = round(units * data.holdout_fraction) * data.max_rows_per_person
    for index, objective in enumerate(ethics.objectives):
        if problem := too_many_classes(objective, data, held_out=held_out):
            yield f"ethics.objectives[{index}].metric: {problem}"


def _binned_rule(ethics: EthicsTerms, privacy: PrivacyTerms) -> Iterator[str]:
    crossed = set(privacy.evaluation.histogram_by)
    for index, objective in enumerate(ethics.objectives):
        missing = sorted(set(filter(None, objective.feature.split("*"))) - crossed)
        if missing and objective.needs_scores:
            yield (
                f"ethics.objectives[{index}]: {objective.metric} needs score histograms by "
                f"{', '.join(missing)}, which privacy.evaluation.histogram-by does not list"
            )


def _form_rule(model: ModelTerms, data: DataTerms) -> Iterator[str]:
    task, form = find_task(model.task), data.content.form if data.content else COLUMNS
    if form not in task.forms:
        needed = " or ".join(map(repr, task.forms))
        yield (
            f"data.content.form: a record has the form {form!r}, and model.task {model.task!r} "
            f'reads {needed} ("{COLUMNS}": from data.columns, without data.content)'
        )
    if task.labelled and data.label is None:
        yield f"data.label: missing; model.task {model.task!r} learns it"
    if data.label is not None and not task.labelled:
        yield f"data.label: model.task {model.task!r} learns from the text alone and reads no label"
    if data.label is not None and task.labelled:
        yield from (f"data.label.{problem}" for problem in task.label_problems(data.label))


def _task_rule(model: ModelTerms, data: DataTerms, ethics: EthicsTerms) -> Iterator[str]:
    from fedethics.fairness.metrics import find_metric  # here: officers' commands start without it

    task = find_task(model.task)
    if data.label is not None and task.label_problems(data.label):
        return
    measured = task.measured(data.labels)
    for index, objective in enumerate(ethics.objectives):
        if data.label and data.label.classes and any(class_problems(objective, data)):
            continue  # said by the rule on classes
        if not measured.answers(find_metric(objective.metric)):
            yield (
                f"ethics.objectives[{index}].metric: {objective.metric} cannot be computed from "
                f"what model.task {model.task!r} measures: {', '.join(measured.listed)}"
            )
    explained = ethics.explanation.occluded(data) or ethics.explanation.swap
    if explained and not measured.thresholded:
        yield f"ethics.explanation: {_NOT_DECIDED.format(model.task)}"


def _benchmark_rule(model: ModelTerms, ethics: EthicsTerms) -> Iterator[str]:
    yield from benchmark_rule(model.task, ethics.benchmarks)


def _steered_task_rule(
    model: ModelTerms, data: DataTerms, mitigation: MitigationTerms
) -> Iterator[str]:
    steered = mitigation.method != "none"
    if steered and not find_task(model.task).measured(data.labels).thresholded:
        yield f"mitigation.method {mitigation.method!r}: {_NOT_DECIDED.format(model.task)}"


def _explanation_rule(ethics: EthicsTerms, data: DataTerms) -> Iterator[str]:
    for problem in explanation_problems(ethics.explanation, data):
        yield f"ethics.explanation.{problem}"
    for index, objective in enumerate(ethics.objectives):
        if objective.needs_swap and objective.feature not in ethics.explanation.swap:
            yield (
                f"ethics.objectives[{index}]: {objective.metric} needs the words of "
                f"{objective.feature!r} swapped, which ethics.explanation.swap does not list"
            )
        if objective.needs_whole_shifts and ethics.explanation.largest_change < 1:
            yield (
                f"ethics.objectives[{index}]: {objective.metric} would be judged on changes that "
                "are cut at ethics.explanation.largest-change "
                f"{ethics.explanation.largest_change:g}; set it to 1, or ask for a flip rate"
            )


def _absent_rule(roster: tuple[Member, ...], data: DataTerms) -> Iterator[str]:
    known = {f"{feature.name}={group}" for feature in data.sensitive for group in feature.groups}
    for member in roster:
        for group in sorted(set(member.absent_groups) - known):
            yield f"roster: {member.site} declares {group!r} absent, which is no declared group"
        for feature in data.sensitive:
            declared = {f"{feature.name}={group}" for group in feature.groups}
            if declared <= set(member.absent_groups):
                yield (
                    f"roster: {member.site} declares every group of {feature.name} absent, so no "
                    "record could be there"
                )


def _split_rule(roster: tuple[Member, ...], data: DataTerms) -> Iterator[str]:
    for member in roster:
        # Units in all, if the declared ones are the share of them that is trained on.
        units = member.declared_records / (1 - data.holdout_fraction)
        if units * data.holdout_fraction < _FEWEST_HELD_OUT:
            yield (
                f"data.holdout-fraction: {data.holdout_fraction:g} would hold out "
                f"{units * data.holdout_fraction:.1g} records at {member.site}, which declares "
                f"{member.declared_records}; a site without a held-out record cannot take part"
            )


def _mitigation_rule(heading: Heading, ethics: EthicsTerms) -> Iterator[str]:
    yield from mitigation_problems(ethics.allowed_mitigation, industry=heading.industry)


def _steering_rule(
    mitigation: MitigationTerms, ethics: EthicsTerms, data: DataTerms, privacy: PrivacyTerms
) -> Iterator[str]:
    if mitigation.method == "none":
        return
    if mitigation.method not in ethics.allowed_mitigation:
        yield (
            f"mitigation.method {mitigation.method!r} is not in ethics.allowed-mitigation "
            f"{list(ethics.allowed_mitigation)}"
        )
    unknown = sorted(set(mitigation.feature.split("*")) - _features(data))
    if unknown:
        yield f"mitigation.feature: {unknown} not among the sensitive features"
    if privacy.training.mechanism == "none":
        return
    if privacy.evaluation.mechanism == "none":
        yield (
            "mitigation counts training records with privacy.evaluation.mechanism, which is "
            '"none": the training would not be differentially private'
        )
    if mitigation.epsilon >= privacy.training.epsilon:
        yield (
            f"mitigation.epsilon {mitigation.epsilon:g} uses up privacy.training.epsilon "
            f"{privacy.training.epsilon:g}; nothing is left for the gradients"
        )


def _features(data: DataTerms) -> set[str]:
    return {feature.name for feature in data.sensitive}


# The tables that a rule needs, and the rule.
_RULES: tuple[tuple[tuple[str, ...], Callable[..., Iterator[str]]], ...] = (
    (("roster", "secagg"), _roster_rule),
    (("roster", "secagg"), fast_mode_rule),
    (("training", "secagg"), smallest_cohort_rule),
    (("roster", "training"), cohort_rule),
    (("roster", "secagg"), quorum_rule),
    (("roster", "privacy"), ring_rule),
    (("privacy", "secagg"), _trust_rule),
    (("privacy", "data"), _histogram_rule),
    (("model", "data", "privacy"), _edges_rule),
    (("privacy", "data"), unit_rule),
    (("privacy", "training", "secagg"), distributed_training_rule),
    (("privacy", "training"), adaptive_clipping_rule),
    (("adapter", "training"), server_optimizer_rule),
    (("ethics", "data"), groups_rule),
    (("ethics", "data"), _objective_rule),
    (("ethics", "data"), _class_rule),
    (("roster", "ethics", "data"), _many_classes_rule),
    (("ethics", "privacy"), _binned_rule),
    (("ethics", "data"), _explanation_rule),
    (("model", "data"), _form_rule),
    (("model", "data", "ethics"), _task_rule),
    (("model", "ethics"), _benchmark_rule),
    (("model", "data", "mitigation"), _steered_task_rule),
    (("roster", "data"), _absent_rule),
    (("roster", "data"), _split_rule),
    (("charter", "ethics"), _mitigation_rule),
    (("mitigation", "ethics", "data", "privacy"), _steering_rule),
    (("annotation", "data", "privacy"), annotation_rule),
    (("tuning", "ethics"), tuning_rule),
    (("monitoring", "tuning"), watched_search_rule),
    (("measures", "model", "data", "privacy"), measures_rule),
    (("paired", "model", "adapter", "data", "privacy"), paired_rule),
    (("census", "data", "privacy"), census_rule),
    (("norms", "privacy", "training"), norms_rule),
    (("monitoring", "model", "adapter", "data"), monitoring_rule),
)
