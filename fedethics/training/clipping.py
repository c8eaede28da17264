"""Sums of clipped gradients: each unit adds a vector of bounded length, whatever the others are.

A unit is a record, or a person with all of that person's rows: then the mean of the rows' gradients
is clipped, once. `clipped_sum` adds in float64. `integer_sum` adds integers, so that exact discrete
noise can follow; there every record is computed by itself, because in a batch the last bits of one
record's gradient depend on its neighbours' length, and a rounding may turn on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedethics.privacy.gaussian_shares import NORM_STEPS
from fedethics.training.activations import Activations, Batch
from fedethics.training.factors import trained_coordinates
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms
from fedethics.training.per_sample import Gradients

# Keeps a clipped gradient below the norm whatever float32 rounds up.
_ROUNDING = 1e-6
_LONGEST = 1e30


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
    labels: NDArray[np.int8]
    units: NDArray[np.int64]
    weights: NDArray[np.float64] | None = None

    def weighted(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the weighted gradients of a batch's records, and their plain losses."""
        samples, losses = self.gradients(batch, self.labels)
        if self.weights is not None:
            factors = torch.from_numpy(self.weights[batch.rows]).to(samples)
            samples = samples * factors[:, None]
        return samples, losses

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


@dataclass(slots=True, eq=False)
class _Chunk:
    """Gradients of some units, shape (u, p), and the losses of their records."""

    gradients: Tensor
    losses: Tensor = field(default_factory=lambda: torch.zeros(0))


def clipped_sum(site: Site, sampled: NDArray[np.intp], *, terms: LocalTerms) -> ClippedSum:
    """Return the float64 sum of the sampled units' clipped gradients; zero for no units.

    Guarantee: each unit adds a vector of L2 norm at most `terms.clipping_norm`, whatever the
    other units are; a unit whose gradient is not finite adds zero.
    """
    mask = torch.from_numpy(trained_coordinates(site.learner, terms.frozen))
    result = ClippedSum(total=torch.zeros(len(mask), dtype=torch.float64), units=len(sampled))
    for chunk in _chunks(site, sampled, terms.physical_batch):
        gradients, factors = _bounded(chunk, mask, terms, result)
        result.total += (factors.to(gradients.dtype) @ gradients).double().cpu()
    return result


def integer_sum(site: Site, sampled: NDArray[np.intp], *, terms: LocalTerms) -> ClippedSum:
    """Return the sum of the sampled units' clipped gradients in grid steps, int64.

    Guarantee: each unit adds an integer vector of squared L2 norm at most NORM_STEPS squared,
    checked in integer arithmetic, and the same one whatever the other units are.
    """
    mask = torch.from_numpy(trained_coordinates(site.learner, terms.frozen))
    result = ClippedSum(total=torch.zeros(len(mask), dtype=torch.int64), units=len(sampled))
    for chunk in _chunks(site, sampled, 1):
        gradients, factors = _bounded(chunk, mask, terms, result)
        for gradient, factor in zip(gradients.double(), factors, strict=True):
            result.total += grid_steps(gradient * factor * terms.grid_scale).cpu()
    return result


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


def _bounded(
    chunk: _Chunk, mask: Tensor, terms: LocalTerms, result: ClippedSum
) -> tuple[Tensor, Tensor]:
    """Return the gradients and the factor in [0, 1] that clips each; count what was seen."""
    gradients = chunk.gradients
    if not bool(mask.all()):
        gradients = torch.where(mask.to(gradients.device), gradients, 0.0)
    norms = torch.linalg.vector_norm(gradients, dim=1, dtype=torch.float64)
    # Beyond this, the factor that clips it is a float32 of few bits, and would not clip.
    finite = torch.isfinite(norms) & (norms < _LONGEST)
    if not bool(finite.all()):
        # Not a product with zero: that would keep a NaN, and the NaN would tell of the record.
        gradients = torch.where(finite[:, None], gradients, 0.0)
    limit = terms.clipping_norm * (1.0 - _ROUNDING)
    # Infinite clipping (no privacy) gives min(1, inf) = 1.
    factors = (limit / norms.clamp(min=1e-30)).clamp(max=1.0).where(finite, 0.0)
    result.loss += float(chunk.losses[torch.isfinite(chunk.losses)].sum())
    result.records += len(chunk.losses)
    result.clipped += int((finite & (norms > limit)).sum())
    result.non_finite += int((~finite).sum())
    return gradients, factors


def _chunks(site: Site, sampled: NDArray[np.intp], size: int) -> Iterator[_Chunk]:
    """Yield the sampled units' gradients, at most `size` records computed at once."""
    if site.unit_count == len(site.units):
        # One row a unit: a batch of records, longest together, is a chunk.
        place = np.empty(len(site.units), dtype=np.intp)
        place[site.units] = np.arange(len(site.units))
        for batch in site.activations.batches(place[sampled], size):
            yield _Chunk(*site.weighted(batch))
        return
    rows_of = {unit: np.flatnonzero(site.units == unit) for unit in sampled.tolist()}
    for units in _together(rows_of, size):
        yield _of_persons(site, [rows_of[unit] for unit in units], size)


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


def _of_persons(site: Site, units: list[NDArray[np.intp]], size: int) -> _Chunk:
    """Return the mean gradient of each unit's records."""
    unit_of = {int(row): place for place, rows in enumerate(units) for row in rows}
    sums: Tensor | None = None
    losses = []
    for batch in site.activations.batches(np.concatenate(units), size):
        samples, loss = site.weighted(batch)
        if sums is None:
            sums = samples.new_zeros(len(units), samples.shape[1])
        places = torch.tensor([unit_of[int(row)] for row in batch.rows], device=samples.device)
        sums.index_add_(0, places, samples)
        losses.append(loss)
    counts = torch.tensor([len(rows) for rows in units])
    if sums is None:
        return _Chunk(torch.zeros(0, site.gradients.size))
    return _Chunk(sums / counts.to(sums)[:, None], torch.cat(losses))
