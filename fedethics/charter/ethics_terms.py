"""What the federation promises to people: purpose, who may be harmed, objectives and their bars.

What is asked of the model's reasons: which columns it relies on, and what a swapped word changes.

Records are rows written as text. Leaving a column's phrase out and scoring again shows how much the
score relies on it; writing the other group's word shows how much a decision depends on that word.
The sums of both belong to the group tables of the last round and share their budget.

How training is steered between groups, if it is: rule, feature, and its part of the budget.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from fedethics.charter.benchmark_terms import BenchmarkObjective
from fedethics.charter.data_terms import Column, DataTerms, SensitiveColumn
from fedethics.errors import FairnessError
from fedethics.identity import key_fault
from fedethics.learning_tasks import know_rates
from fedethics.terms import KEY, term

# A change of `largest-change` counts as this many steps; a change below half a step as none.
STEPS = 64
EVERY_TOLD_COLUMN = "*"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplanationTerms:
    """Sums of score changes over the held-out records of the last round; off by default.

    Attributes:
        columns: columns to leave out, one at a time; "*" alone for every column in the text.
        by: sensitive feature whose groups are summed apart; empty for everyone together. Each
            group's sum has noise of its own, so everyone's figure has that many times more.
        swap: sensitive features whose word is swapped for that of each other group.
        largest_change: a record's change of score counts up to this much. Less means less noise
            and an importance that is cut for the records that change more.
        effect_ratio: standard deviation of the noise on a sum of changes, a change of
            `largest-change` counting 1, relative to `privacy.evaluation.counts-ratio` and its like.
        flip_ratio: the same for counts of decisions that flip.
    """

    columns: tuple[str, ...] = term(default=())
    by: str = term(default="")
    swap: tuple[str, ...] = term(default=())
    largest_change: float = term(default=0.5, at_least=1e-3, at_most=1)
    effect_ratio: float = term(default=4.0, at_least=0.01, at_most=16)
    flip_ratio: float = term(default=2.0, at_least=0.01, at_most=16)

    @property
    def asked(self) -> bool:
        """Whether anything is explained at all."""
        return bool(self.columns or self.swap)

    def occluded(self, data: DataTerms) -> tuple[str, ...]:
        """Return the columns to leave out, in the order of the text."""
        told = tuple(column.name for column in data.columns if column.phrase)
        if self.columns == (EVERY_TOLD_COLUMN,):
            return told
        return tuple(name for name in told if name in self.columns)

    def changes(self, data: DataTerms) -> int:
        """Return how many sums of score changes one record can enter."""
        return len(self.occluded(data)) + len(self.swap)

    def problems(self) -> list[str]:
        """Check what spans fields."""
        found: list[str] = []
        for name, values in (("columns", self.columns), ("swap", self.swap)):
            if len(set(values)) < len(values):
                found.append(f"{name}: a name is listed twice")
        if EVERY_TOLD_COLUMN in self.columns and len(self.columns) > 1:
            found.append(
                f'columns: "{EVERY_TOLD_COLUMN}" means all of them, so it must be the only entry'
            )
        if self.by and not self.columns:
            found.append("by: no column is left out, so there is nothing to compare by group")
        return found


def stand_ins(feature: SensitiveColumn, column: Column) -> dict[str, str]:
    """Return the raw value that stands for each group: the first declared one that is in it."""
    found: dict[str, str] = {}
    for raw in column.choices:
        found.setdefault(feature.merged.get(raw, raw), raw)
    return found


def explanation_problems(terms: ExplanationTerms, data: DataTerms) -> Iterator[str]:
    """Yield what the data cannot answer: columns not in the text, words that cannot be swapped."""
    told = {column.name for column in data.columns if column.phrase}
    named = set(terms.columns) - {EVERY_TOLD_COLUMN}
    for name in sorted(named - told):
        yield f"columns: {name!r} is not in the text, so the model never reads it"
    if terms.columns and len(told) < 2:
        yield (
            f"columns: {', '.join(sorted(told)) or 'no column'} is all that the model reads; "
            "without it there is no text to judge. `fedethics explain` marks the words of single "
            "records"
        )
    features = {feature.name: feature for feature in data.sensitive}
    if terms.by and terms.by not in features:
        yield f"by: {terms.by!r} is not a sensitive feature"
    for name in terms.swap:
        if name not in features:
            yield f"swap: {name!r} is not a sensitive feature"
        else:
            yield from _swap_problems(features[name], data)


def _swap_problems(feature: SensitiveColumn, data: DataTerms) -> Iterator[str]:
    column = next((one for one in data.columns if one.name == feature.column), None)
    if column is None:
        return  # said by the schema
    if column.kind != "category" or feature.edges:
        yield (
            f"swap: {feature.name!r} is read from {column.name!r}, which is not a category; only a "
            "word can be swapped"
        )
        return
    if not column.phrase:
        yield (
            f"swap: {feature.name!r} is read from {column.name!r}, which is not in the text, so "
            "swapping would change nothing and prove nothing"
        )
    wordless = sorted(set(feature.groups) - set(stand_ins(feature, column)))
    if wordless or len(feature.groups) < 2:
        yield (
            f"swap: {feature.name!r} needs two groups or more, each named by a declared value of "
            f"{column.name!r}; without one: {', '.join(wordless) or 'the other group'}"
        )


StakeholderRole = Literal[
    "privacy-officer",
    "ethicist",
    "domain-expert",
    "legal",
    "patient-representative",
    "community-representative",
]
Mitigation = Literal["none", "reweighing", "dual-ascent", "group-dro", "thresholds"]

# Group thresholds alone need to know the group of the person who is being decided about.
AT_DECISION_TIME: Mitigation = "thresholds"
NOT_AT_DECISION_TIME: dict[str, str] = {
    "finance": "a credit decision that depends on the applicant's group treats that person "
    "differently because of it, which credit law forbids in many places (in the US: ECOA, 12 CFR "
    "1002.4)",
    "hiring": "a threshold that depends on the applicant's group treats that person differently "
    "because of it, which employment law forbids in many places (in the US: Title VII, 42 U.S.C. "
    "2000e-2(l))",
}


def _metric_problem(metric: object) -> str:
    from fedethics import fairness  # here: an officer's commands start without scipy

    know_rates()
    try:
        fairness.find_metric(str(metric))
    except FairnessError as error:
        return str(error)
    return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """One thing the release must hold to: a metric, a bar, and how sure we must be.

    Attributes:
        metric: Fairlearn's name, e.g. "equalized_odds_difference", or "roc_auc_score".
        feature: sensitive feature or intersection ("sex*age_band"); empty for utility floors.
        bar: the value not to cross, in the metric's own unit.
        direction: which side of the bar is good.
        confidence: level of the interval that must lie on the good side.
        why: the reason in plain words, printed in every report.
    """

    metric: str = term(nonempty=True, check=_metric_problem)
    feature: str = term(default="")
    bar: float = term()
    direction: Literal["at-most", "at-least"] = term()
    confidence: float = term(default=0.95, above=0.5, below=1.0)
    why: str = term(nonempty=True, prose=True)

    @property
    def needs_scores(self) -> bool:
        """Whether the metric needs score histograms besides counts."""
        from fedethics.fairness.metrics import find_metric

        return find_metric(self.metric).binned

    @property
    def needs_swap(self) -> bool:
        """Whether the metric needs `ethics.explanation.swap` to list its feature."""
        from fedethics.fairness.metrics import find_metric

        return find_metric(self.metric).swapped

    @property
    def needs_whole_shifts(self) -> bool:
        """Whether the metric is a change of score, which must not be cut before it is judged."""
        return self.needs_swap and "flip" not in self.metric

    def problems(self) -> list[str]:
        """Refuse what could never be judged: a bar outside the metric's range, and the like."""
        from fedethics.fairness.judge import Objective as Judged  # here: as above

        try:
            Judged(
                metric=self.metric,
                feature=self.feature or None,
                bar=self.bar,
                direction=self.direction,
                confidence=self.confidence,
            )
        except FairnessError as error:
            return [str(error)]
        return []


@dataclass(frozen=True, kw_only=True, slots=True)
class Stakeholder:
    """A person, not of a site, who must sign the charter before it is run.

    Attributes:
        name: a person or a body, as it is printed in reports.
        public_key: as `fedethics key new` prints it; may be empty in a draft only.
    """

    role: StakeholderRole = term()
    name: str = term(nonempty=True)
    public_key: str = term(default="", pattern=f"({KEY})?")

    def problems(self) -> list[str]:
        """Refuse a key by which anybody could sign in this person's name."""
        fault = key_fault(self.public_key) if self.public_key else ""
        return [f"public-key: the key of {self.name} {fault}"] if fault else []


@dataclass(frozen=True, kw_only=True, slots=True)
class EthicsTerms:
    """Purpose, people, objectives, and what is deliberately not measured.

    Attributes:
        allowed_mitigation: methods that may be used to close gaps; a method that is not listed
            must not be. By default all methods that do not use a person's group for a decision.
        stakeholders: who signs besides the sites and the coordinator.
        approval_by: roles of which each must approve the release; empty: any one party that the
            charter names a key of (a stakeholder, if there are any).
        explanation: which of the model's reasons are measured.
        benchmarks: bars on what a language model says, by public benchmarks; absent for none.
        without_groups: why free text has no sensitive features, so that nothing is measured by
            group; gate, report and card print it. Absent where there are sensitive features.
    """

    purpose: str = term(nonempty=True, prose=True)
    harmed: str = term(nonempty=True, prose=True)
    reference_population: str = term(nonempty=True, prose=True)
    not_measured: tuple[str, ...] = term(nonempty=True, prose=True)
    objectives: tuple[Objective, ...] = term(nonempty=True)
    allowed_mitigation: tuple[Mitigation, ...] = term(
        default=("none", "reweighing", "dual-ascent", "group-dro"), nonempty=True
    )
    stakeholders: tuple[Stakeholder, ...] = term(default=())
    approval_by: tuple[StakeholderRole, ...] = term(default=())
    explanation: ExplanationTerms = term(default=ExplanationTerms())
    benchmarks: tuple[BenchmarkObjective, ...] | None = term(default=None, nonempty=True)
    without_groups: str | None = term(default=None, nonempty=True, prose=True)

    @property
    def left_out(self) -> tuple[str, ...]:
        """What pages list as not measured by the charter's choice: groups too, with the reason."""
        if self.without_groups is None:
            return self.not_measured
        return (f"groups: {self.without_groups}", *self.not_measured)

    def problems(self) -> list[str]:
        """Check what spans stakeholders."""
        found: list[str] = []
        keys = [one.public_key for one in self.stakeholders if one.public_key]
        if len(set(keys)) < len(keys):
            found.append(
                "stakeholders: a public key is listed twice; each stakeholder needs a different key"
            )
        found.extend(_contradictions(self.objectives))
        absent = set(self.approval_by) - {one.role for one in self.stakeholders}
        if absent:
            found.append(f"approval-by: {sorted(absent)} not among the stakeholders' roles")
        return found


def _contradictions(objectives: tuple[Objective, ...]) -> Iterator[str]:
    """Yield each pair of bars on one metric between which no value lies, or that say one thing.

    With each objective more, the gate says "fail" more rarely: it allows for all of them (Holm).
    """
    bars = Counter((one.metric, one.feature, one.direction) for one in objectives)
    for (metric, feature, direction), count in bars.items():
        if count > 1:
            by = f" by {feature}" if feature else ""
            yield (
                f"objectives: {metric}{by} has {count} bars {direction}; keep the strictest. A "
                'second one says nothing more, and makes the verdict "fail" rarer'
            )
    for floor in objectives:
        for roof in objectives:
            if (
                (floor.direction, roof.direction) == ("at-least", "at-most")
                and (floor.metric, floor.feature) == (roof.metric, roof.feature)
                and floor.bar >= roof.bar
            ):
                yield (
                    f"objectives: {floor.metric} must be at least {floor.bar:g} and at most "
                    f"{roof.bar:g}; no model can satisfy both"
                )


def groups_rule(ethics: EthicsTerms, data: DataTerms) -> Iterator[str]:
    """Yield why the charter may not leave groups out, or not say so: one of the two, by name."""
    if data.sensitive and ethics.without_groups is not None:
        yield (
            "ethics.without-groups: the charter has sensitive features, so groups are measured; "
            "leave the key out"
        )
    if data.sensitive:
        return
    if ethics.without_groups is None:
        yield (
            "data.sensitive: missing; name the features whose groups are compared. Free text that "
            "has none says why: ethics.without-groups, which gate, report and card print"
        )
    elif read := [one.name for one in data.columns if one.phrase and one.kind != "text"]:
        yield (
            f"ethics.without-groups: the model reads {', '.join(read)}, which is no free text; "
            "only free text may be without groups. Name a column whose groups are compared in "
            "data.sensitive"
        )


def objective_feature_problems(objective: Objective, data: DataTerms) -> Iterator[str]:
    """Yield what is wrong with the feature, or the intersection, that an objective is about."""
    features = {feature.name: feature for feature in data.sensitive}
    named = [name for name in objective.feature.split("*") if name]
    unknown = set(named) - set(features)
    if unknown:
        yield f"{sorted(unknown)} not among the sensitive features {sorted(features)}"
        return
    if len(set(named)) < len(named):
        yield f"{objective.feature!r} names a feature twice"
    if named and all(len(features[name].groups) < 2 for name in named):
        yield (
            f"{objective.feature!r} has only one group, so there is nothing to compare and the "
            "objective would hold for every model"
        )


def mitigation_problems(allowed: tuple[Mitigation, ...], *, industry: str) -> list[str]:
    """Return what speaks against the allowed methods in this industry.

    This is fedethics' own rule, not legal advice: it errs on the side of refusing.
    """
    reason = NOT_AT_DECISION_TIME.get(industry)
    if AT_DECISION_TIME not in allowed or reason is None:
        return []
    return [
        f'ethics.allowed-mitigation: "{AT_DECISION_TIME}" is refused for {industry}. They use the '
        f"group of the person at decision time, and {reason}. This is fedethics' own rule, not "
        "legal advice. The other methods change the training only"
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class MitigationTerms:
    """Weights by group and label in the training loss (fedethics/fairness/mitigation).

    Before a round, the training records' counts by group, label and prediction are summed with
    noise; every site computes the round's weights from these sums by the same rule.

    Attributes:
        method: the rule; "none" gives every record the same weight.
        feature: the sensitive feature, or an intersection such as "sex*race".
        epsilon: what the counts may cost a training record over the whole run. It is a part of
            `privacy.training.epsilon`, which covers counts and gradients together.
        every: rounds between counts; reweighing counts once, before the first round.
        step: how fast multipliers move; unused by reweighing.
        most: greatest weight of a record; its inverse is the least.
    """

    method: Literal["none", "reweighing", "dual-ascent", "group-dro"] = term(default="none")
    feature: str = term(default="")
    epsilon: float = term(default=0.5, above=0, at_most=1e3)
    every: int = term(default=1, at_least=1, at_most=10_000)
    step: float = term(default=1.0, at_least=1e-6, at_most=1e3)
    most: float = term(default=4.0, above=1, at_most=1e3)

    def problems(self) -> list[str]:
        """Check what spans fields."""
        if (self.method == "none") == bool(self.feature):
            return ['a method needs a feature; method "none" must have none']
        return []

    def rounds(self, last: int) -> tuple[int, ...]:
        """Return the rounds, of 1 to `last`, before which counts are summed."""
        if self.method == "none":
            return ()
        return (1,) if self.method == "reweighing" else tuple(range(1, last + 1, self.every))
