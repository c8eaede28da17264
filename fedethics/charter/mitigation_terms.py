"""How training is steered between groups, if it is: rule, feature, and its part of the budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedethics.terms import term


@dataclass(frozen=True, kw_only=True, slots=True)
class MitigationTerms:
    """Weights by group and label in the training loss (fedethics/fairness/mitigation).

    Before a round, the training records' counts by group, label and prediction are summed with
    noise; every site computes the round's weights from these sums by the same rule.

    Attributes:
        method: the rule; "none" trains every record alike.
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
            return ['a method needs a feature, and method "none" has none']
        return []

    def rounds(self, last: int) -> tuple[int, ...]:
        """Return the rounds, of 1 to `last`, before which counts are summed."""
        if self.method == "none":
            return ()
        return (1,) if self.method == "reweighing" else tuple(range(1, last + 1, self.every))
