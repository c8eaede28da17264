"""The charter as typed terms: task, model, data schema, objectives, privacy, aggregation, roster.

Everything that decides what is computed at a site stands here and nowhere else, so that agreeing
on one hash is agreeing on all of it. Bounds stand beside each field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedethics.charter.data_terms import DataTerms
from fedethics.errors import FairnessError
from fedethics.terms import term

KEY = r"[0-9a-f]{64}"
NAME = r"[a-z0-9][a-z0-9-]{0,62}"


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

    metric: str = term(nonempty=True)
    feature: str = term(default="")
    bar: float = term()
    direction: Literal["at-most", "at-least"] = term()
    confidence: float = term(default=0.95, above=0.5, below=1.0)
    why: str = term(nonempty=True)

    def problems(self) -> list[str]:
        """Refuse what could never be judged: an unknown metric, a bar outside its range."""
        from fedethics.fairness import objective  # here: an officer's commands start without scipy

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
class EthicsTerms:
    """Purpose, people, objectives, and what is deliberately not measured."""

    purpose: str = term(nonempty=True)
    harmed: str = term(nonempty=True)
    reference_population: str = term(nonempty=True)
    not_measured: tuple[str, ...] = term(nonempty=True)
    objectives: tuple[Objective, ...] = term(nonempty=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelTerms:
    """The base model, named by the SHA-256 of its weights."""

    name: str = term(nonempty=True)
    sha256: str = term(pattern=KEY)
    max_tokens: int = term(at_least=8, at_most=4096)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterTerms:
    """LoRA settings. `freeze_a` trains B and the head only (FFA-LoRA, arXiv 2403.12313)."""

    rank: int = term(at_least=1, at_most=256)
    alpha: float = term(above=0)
    targets: tuple[str, ...] = term(nonempty=True)
    layers: tuple[int, ...] = term(nonempty=True, at_least=0)
    freeze_a: bool = term()
    seed: int = term(at_least=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingTerms:
    """How the federation learns; every number is public and the same at each site."""

    rounds: int = term(at_least=1, at_most=10_000)
    local_steps: int = term(at_least=1, at_most=10_000)
    optimizer: Literal["sgd", "adam"] = term()
    learning_rate: float = term(above=0)
    momentum: float = term(default=0.0, at_least=0, below=1)
    server_learning_rate: float = term(default=1.0, above=0)
    physical_batch: int = term(default=64, at_least=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPrivacy:
    """DP-SGD terms for the whole run; `mechanism = "none"` has epsilon infinity, and says so.

    Attributes:
        trust_mode: "local": each site's own noise gives the guarantee, whoever else is dishonest.
        epsilon: bound for one unit over all rounds of this run, at `privacy.delta`.
        clipping_norm: L2 bound of one unit's gradient.
        sampling_rate: Poisson probability that a unit joins a step.
    """

    mechanism: Literal["dp-sgd", "none"] = term()
    trust_mode: Literal["local", "distributed"] = term()
    epsilon: float = term(above=0)
    clipping_norm: float = term(above=0)
    sampling_rate: float = term(above=0, at_most=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationPrivacy:
    """Noise on the integer tables that leave the held-out records, over the whole run.

    Attributes:
        trust_mode: "distributed": shares of noise add up to the guarantee in the opened sum, if
            at most `secagg.colluders` sites collude; "local": each site's noise is enough alone.
        epsilon: bound for one held-out unit over all evaluations of this run.
        histogram_by: sensitive features that the score histograms are crossed with; the counts
            are always crossed with all. Fewer say more about everyone on few records.
        counts_ratio, histogram_ratio, progress_ratio: standard deviations relative to each other.
        progress_every: rounds between light evaluations without groups; 0 for none.
        bins: uniform score bins over [0, 1]; even, so that 0.5 is an edge.
        threshold: score at and above which the prediction is positive.
    """

    mechanism: Literal["skellam", "none"] = term()
    trust_mode: Literal["local", "distributed"] = term()
    epsilon: float = term(above=0)
    histogram_by: tuple[str, ...] = term(default=())
    counts_ratio: float = term(default=1.0, above=0)
    histogram_ratio: float = term(default=2.0, above=0)
    progress_ratio: float = term(default=4.0, above=0)
    progress_every: int = term(default=1, at_least=0)
    bins: int = term(default=64, at_least=64, at_most=1024)
    threshold: float = term(default=0.5, above=0, below=1)

    def problems(self) -> list[str]:
        """Check what spans fields."""
        edge = self.threshold * self.bins
        if edge != int(edge):
            return [f"threshold {self.threshold:g} is not an edge of {self.bins} uniform bins"]
        return []


@dataclass(frozen=True, kw_only=True, slots=True)
class PrivacyTerms:
    """The unit, the neighbouring relation, delta, and the two mechanisms.

    Training and held-out records are disjoint, so one record is touched by one of the two
    mechanisms only (docs/adr/0003-unit-and-neighbours.md).
    """

    unit: Literal["record"] = term()
    neighbouring: Literal["add-or-remove-one"] = term()
    delta: float = term(above=0, below=1)
    training: TrainingPrivacy = term()
    evaluation: EvaluationPrivacy = term()

    def problems(self) -> list[str]:
        """Refuse by name what is not built."""
        if self.training.trust_mode == "distributed":
            return [
                'training.trust-mode "distributed" is not built yet; "local" is, where each '
                "site's own noise carries the whole guarantee"
            ]
        return []


@dataclass(frozen=True, kw_only=True, slots=True)
class AggregationTerms:
    """Secure aggregation: suite, cohort rules, and the fixed-point grid of updates.

    Attributes:
        suite: key agreement: 1 X25519, 2 P-256, 3 X25519 with ML-KEM-768 (post-quantum hybrid).
        minimum_cohort: no sum over fewer sites is ever opened.
        colluders: sites assumed to share all they know with the coordinator.
        mode: "strict" signs the survivor set, at one more round trip than "fast".
        clip: largest magnitude of one coordinate of an update that the grid carries.
        scale: grid steps per unit; rounding error is below 1/scale.
        word_bits: width of the masked words of an update.
        recovery: how a lost site's masks are removed: our "blob", or "classic" (suite 1 only).
    """

    suite: Literal[1, 2, 3] = term()
    minimum_cohort: int = term(at_least=3)
    colluders: int = term(at_least=0)
    mode: Literal["strict", "fast"] = term()
    clip: float = term(above=0)
    scale: float = term(above=0)
    word_bits: Literal[16, 32, 64] = term(default=32)
    recovery: Literal["blob", "classic"] = term(default="blob")

    def problems(self) -> list[str]:
        """At least two honest sites must stand behind every opened sum."""
        if self.recovery == "classic" and self.suite != 1:
            return [f'recovery "classic" goes with suite 1 only, not with suite {self.suite}']
        if self.minimum_cohort - self.colluders < 2:
            return [
                f"minimum-cohort {self.minimum_cohort} with {self.colluders} colluders leaves "
                "fewer than 2 honest sites in a sum; raise minimum-cohort or lower colluders"
            ]
        return []


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One institution of the roster.

    Attributes:
        declared_records: training size the site chooses to publish; it sets the site's weight and
            normalises its gradient sums, so that no count computed from records leaves the site.
    """

    site: str = term(pattern=NAME)
    public_key: str = term(pattern=KEY)
    declared_records: int = term(at_least=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Heading:
    """What the charter is called and which version it is."""

    name: str = term(pattern=NAME)
    version: int = term(at_least=1)
    industry: Literal[
        "healthcare", "finance", "law-enforcement", "content-moderation", "retail", "hiring"
    ] = term()


@dataclass(frozen=True, kw_only=True, slots=True)
class Charter:
    """All that the federation agreed on. An empty roster means a draft that nobody can run."""

    charter: Heading = term()
    ethics: EthicsTerms = term()
    model: ModelTerms = term()
    adapter: AdapterTerms = term()
    data: DataTerms = term()
    training: TrainingTerms = term()
    privacy: PrivacyTerms = term()
    secagg: AggregationTerms = term()
    coordinator_key: str = term(default="", pattern=f"({KEY})?")
    roster: tuple[Member, ...] = term(default=())

    def problems(self) -> list[str]:
        """Check what spans tables: roster against cohort, objectives against features."""
        found: list[str] = []
        names = [member.site for member in self.roster]
        keys = [member.public_key for member in self.roster]
        if len(set(names)) < len(names) or len(set(keys)) < len(keys):
            found.append("roster: a site name or public key stands twice")
        if self.roster and len(self.roster) < self.secagg.minimum_cohort:
            found.append(
                f"roster: {len(self.roster)} sites, fewer than secagg.minimum-cohort "
                f"{self.secagg.minimum_cohort}; no sum could ever be opened"
            )
        if self.roster and not self.coordinator_key:
            found.append("coordinator-key: missing, though the roster is filled")
        known = {feature.name for feature in self.data.sensitive}
        if self.privacy.evaluation.trust_mode == "distributed" and self.secagg.colluders == 0:
            found.append(
                "secagg.colluders: 0, but under distributed trust any member can subtract its own "
                "share of the noise; count at least that one"
            )
        for name in set(self.privacy.evaluation.histogram_by) - known:
            found.append(f"privacy.evaluation.histogram-by: {name!r} is not a sensitive feature")
        for index, objective in enumerate(self.ethics.objectives):
            unknown = set(filter(None, objective.feature.split("*"))) - known
            if unknown:
                found.append(
                    f"ethics.objectives[{index}].feature: {sorted(unknown)} not among the "
                    f"sensitive features {sorted(known)}"
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

    def member(self, site: str) -> Member | None:
        """Return the roster entry of `site`, or None when it is not a member."""
        return next((member for member in self.roster if member.site == site), None)
