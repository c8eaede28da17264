"""The start-up self-test: before a site trains, its own machine shows that DP-SGD is DP-SGD.

It runs the real training path on a few of the site's records and on none. It refuses to train if
clipping, coverage or noise is not what the terms say. It also refuses if two independent engines,
Opacus's hooks and this package's own, do not give the same gradients. Only the fact that it passed
leaves the site.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedethics.data.records import Targets
from fedethics.errors import TrainingError
from fedethics.privacy.noise import NoiseSource
from fedethics.training.activations import ALONE, Activations
from fedethics.training.clipping import unit_sum
from fedethics.training.dp_sgd import private_mean, site_of, train_round
from fedethics.training.engines import ENGINES, gradients_of
from fedethics.training.factors import trained_coordinates
from fedethics.training.guards import (
    SMALL,
    SMALL_IN_BFLOAT16,
    expected_step,
    require_expected_step,
    require_read,
)
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms
from fedethics.training.records_apart import away_from_zero

_RECORDS = 6
# Decoders hold a few states of 10^4, so that float32 itself is off by 1.3e-4 (measured against
# float64 on SmolLM2); a coupled or misplaced gradient is off by more than a hundredth.
_GRADIENT_TOLERANCE = 1e-3
# Two sums over tokens in another order. Bfloat16 rounds before both, on a CPU alike in both passes;
# on a GPU attention's backward pass adds in any order, and its roundings may fall otherwise.
_ENGINE_TOLERANCE = 1e-4
_ROUNDED_ON_GPU = 3e-2
# A record alone and one among others may be rounded to bfloat16 otherwise.
_STEP_ROUNDED = 5e-2
_NOISE_DRAWS = 20_000
# A sound machine fails by chance about once in 10^9 self-tests.
_NOISE_SIGMAS = 6.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTest:
    """What a passed self-test measured.

    Attributes:
        records: records of the small batch.
        gradient_error: largest difference between either engine's per-record gradients and a loop
            over single records, relative to the largest entry.
        engines_apart: largest difference between the two engines, Opacus's hooks and our own, on
            one batch, in the precision that the site trains in as well.
        parameters: trainable tensors, all of them clipped and all of them moved by a step.
        shapes: batch shapes of the site's records that were proven to keep records apart.
        alone: whether some of the records are computed one at a time, since their shape failed.
        noise_ratio: measured over promised standard deviation of a noise-only step; 1.0 with no
            noise promised and none found.
    """

    records: int
    gradient_error: float
    engines_apart: float
    parameters: int
    shapes: int
    alone: bool
    noise_ratio: float


def self_test(
    learner: Learner, activations: Activations, labels: Targets, terms: LocalTerms
) -> SelfTest:
    """Check gradients, coverage, clipping, movement and noise on this machine.

    Raises:
        TrainingError: any check failed; the site must not train.
    """
    rows = np.unique(np.linspace(0, len(labels) - 1, _RECORDS).astype(np.intp))
    few, few_labels = activations.take(rows.tolist()), labels[rows]
    with learner.lock:
        learner.load(away_from_zero(learner))
        _check_coverage(learner)
        error, apart = _check_gradients(learner, few, few_labels)
        _check_clipping(learner, few, few_labels, terms)
        ratio = _check_noise(learner.size, terms)
        _check_movement(learner, few, few_labels, terms)
        shapes = learner.prove(activations)
    return SelfTest(
        records=len(rows),
        gradient_error=error,
        engines_apart=apart,
        parameters=len(learner.parameters),
        shapes=len(shapes - {ALONE}),
        alone=ALONE in shapes,
        noise_ratio=ratio,
    )


def _check_coverage(learner: Learner) -> None:
    trainable = {name for name, p in learner.model.named_parameters() if p.requires_grad}
    if trainable != set(learner.parameters):
        stray = sorted(trainable.symmetric_difference(learner.parameters))
        raise TrainingError(f"self-test: trainable but not in the clipped vector: {stray}")
    for copy in learner.copies:
        require_read(copy.model, copy.parameters, learner.flat)
    for replica in learner.replicas:
        require_read(replica.model, replica.parameters, replica.flat)


def _check_gradients(
    learner: Learner, activations: Activations, labels: Targets
) -> tuple[float, float]:
    """Return how far the engines are from a loop over records, and from each other."""
    with learner.plainly():
        expected = _loop(learner, activations, labels)
    # In float32, since rounding to bfloat16 would hide what couples records; as the site's policy
    # says in all else.
    with learner.plainly(checkpointing=learner.compute.checkpointing):
        found = _by_engine(learner, activations, labels)
    error = max(_apart(samples, expected) for samples in found.values())
    if not error <= _GRADIENT_TOLERANCE:
        raise TrainingError(
            f"self-test: per-record gradients differ from a loop over records by {error:.1e} "
            f"(allowed {_GRADIENT_TOLERANCE:g}); clipping would bound the wrong numbers"
        )
    # Then once more in the site's own precision, which both engines round alike.
    as_set = _by_engine(learner, activations, labels)
    rounded = learner.compute.dtype == "bfloat16" and learner.compute.device == "cuda"
    return error, max(
        _require_alike(found, allowed=_ENGINE_TOLERANCE),
        _require_alike(as_set, allowed=_ROUNDED_ON_GPU if rounded else _ENGINE_TOLERANCE),
    )


def _require_alike(found: dict[str, Tensor], *, allowed: float) -> float:
    apart = _apart(found["autograd"], found["opacus"])
    if not apart <= allowed:
        raise TrainingError(
            f"self-test: Opacus's gradients and this package's own differ by {apart:.1e} (allowed "
            f"{allowed:g}); one of them is wrong on this machine, so neither is used"
        )
    return apart


def _by_engine(learner: Learner, activations: Activations, labels: Targets) -> dict[str, Tensor]:
    # One batch, however unlike its records are: what couples records shows in company only.
    together = activations.together(np.arange(len(labels)))
    found: dict[str, Tensor] = {}
    for name, engine in ENGINES.items():
        with engine(learner) as gradients:
            found[name] = gradients(together, labels)[0].cpu()
    return found


def _apart(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference, relative to the largest expected entry."""
    scale = float(expected.abs().max())
    return float((found - expected).abs().max()) / scale if scale > 0 else math.inf


def _loop(learner: Learner, activations: Activations, labels: Targets) -> Tensor:
    """Return per-record gradients by plain autograd, one record at a time, shape (n, p)."""
    gradients = []
    for row in range(len(labels)):
        batch = activations.together(np.array([row]))
        loss = learner.losses(batch, labels)[0]
        parts = torch.autograd.grad(loss, list(learner.parameters.values()))
        gradients.append(torch.cat([part.reshape(-1) for part in parts]).cpu())
    return torch.stack(gradients)


def _check_clipping(
    learner: Learner, activations: Activations, labels: Targets, terms: LocalTerms
) -> None:
    # A norm far below the gradients', so that every unit is really clipped.
    tight = dataclasses.replace(terms, clipping_norm=1e-3, unit="record")
    unit = tight.mode.unit(tight)
    everyone = np.arange(len(labels))
    with gradients_of(learner) as gradients:
        for units in (everyone, np.zeros_like(everyone)):
            site = site_of(learner, gradients, activations, labels, units=units, terms=tight)
            for sampled in {tuple(set(units)), *((one,) for one in set(units))}:
                clipped = unit_sum(site, np.array(sampled), terms=tight)
                norm = float(clipped.total.double().norm()) / unit
                if norm > len(sampled) * tight.clipping_norm:
                    raise TrainingError(
                        f"self-test: {len(sampled)} units clipped to {tight.clipping_norm:g} sum "
                        f"to norm {norm:.3e}; the clipping bound does not hold"
                    )


def _check_movement(
    learner: Learner, activations: Activations, labels: Targets, terms: LocalTerms
) -> None:
    still = dataclasses.replace(
        terms, steps=1, sampling_rate=1.0, noise_multiplier=0.0, unit="record"
    )
    result = train_round(
        learner,
        vector=away_from_zero(learner),
        activations=activations,
        labels=labels,
        terms=still,
        noise=NoiseSource.from_os(),
    )
    mask = trained_coordinates(learner, terms.frozen)
    if result.update[~mask].any():
        raise TrainingError(
            f"self-test: factor {terms.frozen} moved in a round that leaves it alone; it is not "
            "noised there"
        )
    start = 0
    for name, parameter in learner.parameters.items():
        end = start + parameter.numel()
        if mask[start:end].any() and not result.update[start:end].any():
            raise TrainingError(f"self-test: {name} did not move in a step; it is not trained")
        start = end
    _check_expected_step(learner, activations, labels, still, mask)


def _check_expected_step(
    learner: Learner,
    activations: Activations,
    labels: Targets,
    still: LocalTerms,
    mask: NDArray[np.bool_],
) -> None:
    """Hold a plain step to a loop over records, tensor by tensor (opacus #820)."""
    vector = away_from_zero(learner)
    learner.load(vector)
    expected = expected_step(
        _loop(learner, activations, labels), mask,
        clipping_norm=still.clipping_norm, expected_batch=still.expected_batch,
    )  # fmt: skip
    rate = 1.0 / (float(np.abs(expected).max()) or 1.0)
    plain = dataclasses.replace(
        still, optimizer="sgd", momentum=0.0, weight_decay=0.0, learning_rate=rate, adaptive=None
    )
    moved = train_round(
        learner, vector=vector, activations=activations, labels=labels, terms=plain,
        noise=NoiseSource.from_os(),
    )  # fmt: skip
    rounded = learner.compute.dtype == "bfloat16"
    # Integer gradients: each record is off by less than one grid step.
    step = rate / (still.grid_scale * still.expected_batch) if still.mode.exact else 0.0
    require_expected_step(
        moved.update, rate * expected, learner.parameters, vector=vector,
        tolerance=_STEP_ROUNDED if rounded else _GRADIENT_TOLERANCE,
        small=SMALL_IN_BFLOAT16 if rounded else SMALL, grid=len(labels) * step,
    )  # fmt: skip


def _check_noise(size: int, terms: LocalTerms) -> float:
    """Compare the spread of noise-only steps with `noise_std / expected_batch`."""
    steps = math.ceil(_NOISE_DRAWS / size)
    nothing = torch.zeros(size, dtype=torch.float64)
    source = NoiseSource.from_os()
    if terms.mode.exact:
        nothing = nothing.long()
    every = torch.ones(size, dtype=torch.bool)
    draws = torch.cat(
        [private_mean(nothing, every, terms=terms, noise=source) for _ in range(steps)]
    )
    promised = terms.noise_std / terms.expected_batch
    found = float(draws.double().square().mean().sqrt())
    if promised == 0.0:
        if found > 0.0:
            raise TrainingError("self-test: noise was found where the terms promise none")
        return 1.0
    ratio = found / promised
    # The sample standard deviation of m normal draws has relative error 1 / sqrt(2 m).
    if abs(ratio - 1.0) > _NOISE_SIGMAS / math.sqrt(2.0 * draws.numel()):
        raise TrainingError(
            f"self-test: noise has {ratio:.3f} times the promised standard deviation "
            f"{promised:.3g}; the epsilon would not be true"
        )
    return ratio
