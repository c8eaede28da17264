"""Whether the finished adapter is attacked before its release, and what that may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedethics.terms import term


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditTerms:
    """A membership attack on the final adapter, read from secure sums (fedethics/privacy/audit).

    After the last round each site counts, by the probability that the adapter gives the true label,
    its trained and its held-out units; both histograms are summed with noise.

    Attributes:
        attack: "loss" is the attack by thresholds on the loss; "none" audits nothing.
        epsilon: what the histogram may cost one unit. It is a part of `privacy.training.epsilon`
            for trained units, and of `privacy.evaluation.epsilon` for held-out ones.
        bins: equal steps of the true label's probability.
    """

    attack: Literal["none", "loss"] = term(default="none")
    epsilon: float = term(default=0.5, above=0, at_most=1e3)
    bins: int = term(default=10, at_least=2, at_most=256)

    @property
    def asked(self) -> bool:
        """Whether there is an attack at all."""
        return self.attack != "none"
