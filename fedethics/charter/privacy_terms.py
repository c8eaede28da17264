"""The unit of privacy, the neighbouring relation, and the two mechanisms with their budgets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedethics.terms import term


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
