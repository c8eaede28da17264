"""The charter as typed terms: task, model, data schema, objectives, privacy, aggregation, roster.

Everything that decides what is computed at a site stands here and nowhere else, so that agreeing
on one hash is agreeing on all of it. Bounds stand beside each field, in the room of its part.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedethics.charter.data_terms import DataTerms
from fedethics.charter.ethics_terms import EthicsTerms
from fedethics.charter.privacy_terms import PrivacyTerms
from fedethics.charter.roster import Heading, Member
from fedethics.charter.secagg_terms import AggregationTerms
from fedethics.charter.training_terms import AdapterTerms, ModelTerms, TrainingTerms
from fedethics.terms import KEY, term


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
