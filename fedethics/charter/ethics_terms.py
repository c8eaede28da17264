"""What the federation promises to people: purpose, who may be harmed, objectives and their bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedethics.errors import FairnessError
from fedethics.terms import term


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
