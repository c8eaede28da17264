"""Sums of clipped gradients: each unit adds a vector of bounded length, whatever the others are.

A unit is a record, or a person with all of that person's rows: then the mean of the rows' gradients
is clipped, once. Records' gradients are computed apart (activations.py), clipped in float64, and
rounded to a grid of the clipping norm, so that sums are sums of integers: what one unit adds is the
same, bit for bit, whatever the other units are and in whichever order they come. `clipped_sum` has
a fine grid and answers in float64; `integer_sum` has a coarse one, on which exact discrete noise
can follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedethics.data.records import Targets
from fedethics.privacy.gaussian_shares import NORM_STEPS
from fedethics.training.activations import Activations, one_thread
from fedethics.training.factors import trained_coordinates
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms
from fedethics.training.per_sample import Gradients

# Keeps a clipped gradient below the norm whatever rounding adds: half a grid step a coordinate is
# below it for any number of parameters that fits into memory.
_ROUNDING = 1e-6
# A clipping norm has 2^39 to 2^40 grid steps where sums are answered in float64, so that eight
# million units of that norm fit into an int64. Steps are powers of two: dividing by one is exact.
_FINE_BITS = 40


# Sensitive: labels and units are the site's own.
@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Site:
    """What a round's gradients are taken from.

    Attributes:
        learner: the model; the caller holds its lock.
        gradients: an engine on that model.
        activations: of the site's n training records.
        labels: shape (n,).
        units: which unit each record belongs to, int64, shape (n,), 0 to `unit_count` - 1.
        weights: what each record's gradient is multiplied by before clipping, shape (n,); None
            for 1. A record's weight must not depend on any other record.
    """

    learner: Learner
    gradients: Gradients
    activations: Activations
    labels: Targets
    units: NDArray[np.int64]
    weights: NDArray[np.float64] | None = None

    def weighted(self, rows: NDArray[np.intp]) -> Iterator[tuple[int, Tensor, float]]:
        """Yield each of `rows` with its weighted gradient, float64, shape (p,), and plain loss."""
        found = self.gradients.each(self.activations, rows, self.labels)
        for batch, (samples, losses) in found:
            for row, sample, loss in zip(batch.rows.tolist(), samples, losses, strict=True):
                weight = 1.0 if self.weights is None else float(self.weights[row])
                yield row, sample.double() * weight, float(loss)

    @property
    def unit_count(self) -> int:
        """Number of units."""
        return int(self.units.max()) + 1 if len(self.units) else 0


@dataclass(kw_only=True, slots=True, eq=False)
class ClippedSum:
    """Sum of clipped gradients of a batch, shape (p,), and what was seen on the way.

    Attributes:
        total: float64, or int64 grid steps; zero on coordinates that the round does not train.
        loss: sum over records.
        records: records computed.
        units: units sampled.
        clipped, non_finite: units whose gradient was too long; was not finite and added zero.
    """

    total: Tensor
    loss: float = 0.0
    records: int = 0
    units: int = 0
    clipped: int = 0
    non_finite: int = 0


def clipped_sum(site: Site, sampled: NDArray[np.intp], *, terms: LocalTerms) -> ClippedSum:
    """Return the sum of the sampled units' clipped gradients, float64; zero for no units.

    Guarantee: each unit adds a vector of L2 norm at most `terms.clipping_norm`, the same one
    whatever the other units are; a unit whose gradient is not finite adds zero. Coordinates below
    8,192 clipping norms are exact sums of what the units add; others are rounded once.
    """
    if not math.isfinite(terms.clipping_norm):
        return _sum(site, sampled, terms, torch.float64, lambda clipped: clipped)
    scale = math.ldexp(1.0, _FINE_BITS - math.frexp(terms.clipping_norm)[1])
    result = _sum(site, sampled, terms, torch.int64, lambda clipped: (clipped * scale).round())
    result.total = result.total.double() / scale
    return result


def unit_sum(site: Site, sampled: NDArray[np.intp], *, terms: LocalTerms) -> ClippedSum:
    """Return the sum of the sampled units on the numbers that the terms' noise is drawn on."""
    add = integer_sum if terms.mode.exact else clipped_sum
    return add(site, sampled, terms=terms)


def integer_sum(site: Site, sampled: NDArray[np.intp], *, terms: LocalTerms) -> ClippedSum:
    """Return the sum of the sampled units' clipped gradients in grid steps, int64.

    Guarantee: each unit adds an integer vector of squared L2 norm at most NORM_STEPS squared,
    checked in integer arithmetic, and the same one whatever the other units are.
    """
    scale = terms.grid_scale
    return _sum(site, sampled, terms, torch.int64, lambda clipped: grid_steps(clipped * scale))


def unit_norms(site: Site, *, terms: LocalTerms) -> NDArray[np.float64]:
    """Return the L2 norm of each unit's gradient before it is clipped, shape (units,), in no order.

    Guarantee: each follows from its own unit, as in a sum; one that is not finite stays so.
    """
    mask = torch.from_numpy(trained_coordinates(site.learner, terms.frozen))
    seen = ClippedSum(total=torch.empty(0))
    found: list[float] = []
    with one_thread():
        units = np.arange(site.unit_count)
        for gradient in _of_units(site, units, terms.physical_batch, seen):
            mask = mask.to(gradient.device)
            found.append(float(torch.linalg.vector_norm(torch.where(mask, gradient, 0.0))))
    return np.array(found, dtype=np.float64)


def grid_steps(steps: Tensor) -> Tensor:
    """Round a vector in grid steps to integers of norm at most NORM_STEPS.

    To the nearest; towards zero where that would be too long; to zero where even that is.
    """
    limit = NORM_STEPS * NORM_STEPS
    for rounded in (steps.round(), steps.trunc()):
        if float(rounded.abs().max()) <= NORM_STEPS:
            whole = rounded.to(torch.int64)
            if int(whole.square().sum()) <= limit:
                return whole
    return torch.zeros(len(steps), dtype=torch.int64, device=steps.device)


def _sum(
    site: Site,
    sampled: NDArray[np.intp],
    terms: LocalTerms,
    kind: torch.dtype,
    on_grid: Callable[[Tensor], Tensor],
) -> ClippedSum:
    """Add what `on_grid` makes of each sampled unit's clipped gradient."""
    mask = torch.from_numpy(trained_coordinates(site.learner, terms.frozen))
    result = ClippedSum(total=torch.zeros(len(mask), dtype=kind), units=len(sampled))
    total = result.total
    limit = terms.clipping_norm * (1.0 - _ROUNDING)
    with one_thread():
        for gradient in _of_units(site, sampled, terms.physical_batch, result):
            mask, total = mask.to(gradient.device), total.to(gradient.device)
            trained = torch.where(mask, gradient, 0.0)
            # One vector at a time: over rows of a matrix the order of addition may follow from
            # how many rows there are.
            norm = float(torch.linalg.vector_norm(trained))
            if not math.isfinite(norm):
                # Not a product with zero: that would keep a NaN, and it would tell of the record.
                result.non_finite += 1
                continue
            result.clipped += norm > limit
            total += on_grid(_clip(trained, norm=norm, limit=limit)).to(kind)
    result.total = total.cpu()
    return result


def _clip(gradient: Tensor, *, norm: float, limit: float) -> Tensor:
    """Return a gradient of this norm, float64, shortened to `limit` where it is longer."""
    return gradient * (limit / norm) if norm > limit else gradient


def _of_units(
    site: Site, sampled: NDArray[np.intp], together: int, result: ClippedSum
) -> Iterator[Tensor]:
    """Yield the sampled units' gradients, float64, shape (p,); count their records and losses."""

    def counted(rows: NDArray[np.intp]) -> Iterable[tuple[int, Tensor]]:
        for row, gradient, loss in site.weighted(rows):
            result.records += 1
            result.loss += loss if math.isfinite(loss) else 0.0
            yield row, gradient

    if site.unit_count == len(site.units):
        # One row a unit.
        place = np.empty(len(site.units), dtype=np.intp)
        place[site.units] = np.arange(len(site.units))
        yield from (gradient for _, gradient in counted(place[sampled]))
        return
    rows_of = {unit: np.flatnonzero(site.units == unit) for unit in sampled.tolist()}
    for units in _together(rows_of, together):
        unit_of = {int(row): unit for unit in units for row in rows_of[unit]}
        # Rows of a person come in the order of their own shapes, then of the file.
        sums: dict[int, Tensor] = {}
        for row, gradient in counted(np.concatenate([rows_of[unit] for unit in units])):
            unit = unit_of[row]
            sums[unit] = sums[unit] + gradient if unit in sums else gradient
        yield from (sums[unit] / len(rows_of[unit]) for unit in units)


def _together(rows_of: dict[int, NDArray[np.intp]], size: int) -> Iterator[list[int]]:
    """Yield whole units of at most `size` records together, or one larger unit by itself."""
    chosen: list[int] = []
    count = 0
    for unit, rows in rows_of.items():
        if chosen and count + len(rows) > size:
            yield chosen
            chosen, count = [], 0
        chosen.append(unit)
        count += len(rows)
    if chosen:
        yield chosen
