"""What an opened histogram of gradient norms says of the clipping norm, with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fedethics.aggregates.norms import BINS, EDGES, NORMS
from fedethics.charter.model import Charter
from fedethics.fairness.estimate import rate_bands, two_sided
from fedethics.fairness.explained import FloatArray
from fedethics.privacy.plan import make_plan
from fedethics.release.evidence import Counted

CONFIDENCE = 0.95
# Shares of clipped units at which a norm only adds noise, and at which it cuts nearly all.
_FEW, _MANY = 0.1, 0.9
# The bins that are clipped: from the edge at one norm.
_CLIPPED = EDGES.index(1.0) + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedNorms:
    """The opened sum.

    Attributes:
        counts: noised number of units in each bin, shape (bins,).
        variance: of the noise on each.
        clipping_norm: the charter's.
        round: before whose step.
    """

    counts: FloatArray
    variance: float
    clipping_norm: float
    round: int

    def above(self, edge: float) -> tuple[float, float, float]:
        """Return the share of units whose norm is at least `edge` clipping norms; and its limits.

        Args:
            edge: one of `EDGES`.
        """
        first = EDGES.index(edge) + 1
        value, low, high = (
            float(one[0])
            for one in rate_bands(
                self.counts[first:].sum(keepdims=True),
                self.counts[:first].sum(keepdims=True),
                hits_noise=self.variance * (BINS - first),
                misses_noise=self.variance * first,
                z=two_sided(CONFIDENCE),
            )
        )
        if not (math.isfinite(low) and math.isfinite(high)):
            return math.nan, 0.0, 1.0
        return min(max(value, 0.0), 1.0), max(low, 0.0), min(high, 1.0)

    def advice(self) -> str:
        """Return what the histogram says of the clipping norm, in sentences."""
        value, low, high = self.above(1.0)
        if math.isnan(value):
            return "The noise hides how many units are clipped; a larger norms.epsilon would show."
        said = f"Before round {self.round}, {value:.0%} of the training units had a gradient "
        said += f"longer than the clipping norm {self.clipping_norm:g} ({low:.0%} to {high:.0%})."
        if high < _FEW:
            return (
                f"{said} The norm is above nearly all gradients, so it only adds noise. "
                f"{self._middle()} The noise on the update shrinks with the clipping norm."
            )
        if low > _MANY:
            return (
                f"{said} The norm cuts nearly all gradients, so each unit weighs the same. "
                f"{self._middle()} A norm near the middle cuts less, at more noise."
            )
        if high - low > _MANY - _FEW:
            return f"{said} The noise hides whether that is few or many."
        return f"{said} Neither nearly none nor nearly all are cut."

    def _middle(self) -> str:
        """Say between which lengths the middle of all gradients lies."""
        shares = [self.above(edge)[0] for edge in EDGES]
        short = [edge for edge, share in zip(EDGES, shares, strict=True) if share >= 0.5]
        if len(short) == len(EDGES):
            return f"Half of all gradients are longer than {self._length(EDGES[-1])}."
        top = EDGES[len(short)]
        if not short:
            return f"Half of all gradients are shorter than {self._length(top)}."
        return (
            f"The middle of all gradients lies between {self._length(short[-1])} and "
            f"{self._length(top)}."
        )

    def _length(self, edge: float) -> str:
        return f"{edge * self.clipping_norm:g}"


def opened_norms(charter: Charter, counted: tuple[Counted, ...] | None) -> OpenedNorms | None:
    """Return the opened histogram; None where none of the right round and size is on record.

    Args:
        charter: of the run.
        counted: the opened integers of the run, as evidence or a job's state holds them.

    Raises:
        AccountingError: no plan follows from the charter.
    """
    terms = charter.norms
    for entry in counted or ():
        here = (entry.kind, entry.round, len(entry.counts))
        if terms is not None and here == (NORMS.name, terms.round, BINS):
            return OpenedNorms(
                counts=np.array(entry.counts, dtype=np.float64),
                variance=NORMS.of(make_plan(charter).sums).noise.sum_variance,
                clipping_norm=charter.privacy.training.clipping_norm,
                round=terms.round,
            )
    return None
