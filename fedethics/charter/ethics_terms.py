"""What the federation promises to people: purpose, who may be harmed, objectives and their bars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from fedethics.charter.data_terms import DataTerms
from fedethics.charter.explanation_terms import ExplanationTerms
from fedethics.errors import FairnessError
from fedethics.identity import key_fault
from fedethics.learning_tasks import know_rates
from fedethics.terms import KEY, term

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
    "hiring": "a cut-off that depends on the applicant's group treats that person differently "
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
        from fedethics.fairness import objective  # here: as above

        try:
            objective.Objective(
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
    """Somebody besides the sites who must sign the charter before it is run.

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
            must not be. By default all that need nobody's group when a decision is taken.
        stakeholders: who signs besides the sites and the coordinator.
        approval_by: roles of which each must approve the release; empty: any one party that the
            charter names a key of (a stakeholder, if there are any).
        explanation: which of the model's reasons are measured.
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

    def problems(self) -> list[str]:
        """Check what spans stakeholders."""
        found: list[str] = []
        keys = [one.public_key for one in self.stakeholders if one.public_key]
        if len(set(keys)) < len(keys):
            found.append(
                "stakeholders: a public key stands twice; each signs with a key of its own"
            )
        found.extend(_contradictions(self.objectives))
        absent = set(self.approval_by) - {one.role for one in self.stakeholders}
        if absent:
            found.append(f"approval-by: {sorted(absent)} not among the stakeholders' roles")
        return found

    @property
    def utility_floors(self) -> tuple[Objective, ...]:
        """Objectives over everyone: below these the model is of no use."""
        return tuple(one for one in self.objectives if not one.feature)


def _contradictions(objectives: tuple[Objective, ...]) -> Iterator[str]:
    """Yield each pair of bars on one metric between which no value lies: no model could pass."""
    for floor in objectives:
        for roof in objectives:
            if (
                (floor.direction, roof.direction) == ("at-least", "at-most")
                and (floor.metric, floor.feature) == (roof.metric, roof.feature)
                and floor.bar >= roof.bar
            ):
                yield (
                    f"objectives: {floor.metric} must be at least {floor.bar:g} and at most "
                    f"{roof.bar:g}; no model can be both"
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
            f"{objective.feature!r} has one group only, so there is nothing to compare and the "
            "objective would hold whatever the model does"
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
