"""Try a charter's training on this machine with made-up records: each guard, and the mechanism.

The ten traps are those of DP training that end elsewhere in a number and no error; each is set
here on purpose, on the very functions that a site runs. Nothing real is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedethics.charter.model import Charter
from fedethics.data.records import Targets
from fedethics.errors import FedethicsError, TrainingError
from fedethics.policy.model import Compute
from fedethics.privacy.noise import NoiseSource
from fedethics.training.accountants import cross_check
from fedethics.training.activations import Activations, Batch
from fedethics.training.check_bench import RECORDS, Bench
from fedethics.training.engines import ENGINES, engine_for
from fedethics.training.factors import trained_coordinates
from fedethics.training.guards import (
    SMALL,
    SMALL_IN_BFLOAT16,
    expected_step,
    refuse_unsupported,
    require_expected_step,
    require_read,
)
from fedethics.training.learner import Learner
from fedethics.training.loading import one_line
from fedethics.training.per_sample import Gradients, Sampled
from fedethics.training.self_test import self_test

_NEVER = 1e-12
# Sums of float32 gradients that were padded to other lengths, relative to the clipping norm.
_TOLERANCE = 1e-3
# In bfloat16, a record alone and one among others may be rounded otherwise.
_ROUNDED = 5e-2


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One line of the report; `detail` is what was measured, or why it failed."""

    name: str
    passed: bool
    detail: str


def check_charter(
    charter: Charter,
    *,
    model_dir: Path | None = None,
    start_dir: Path | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    dtype: Literal["float32", "bfloat16"] = "float32",
    devices: tuple[str, ...] = (),
) -> tuple[Check, ...]:
    """Return every check in order, each done with both engines, on all of `devices`.

    When the model cannot be loaded, that check alone.
    """
    compute = Compute(device=device, dtype=dtype, devices=devices or None)
    if problems := compute.problems():
        return (Check(name="devices", passed=False, detail="; ".join(problems)),)
    try:
        learner = Learner(charter, model_dir=model_dir, start_dir=start_dir, compute=compute)
    except FedethicsError as error:
        return (Check(name="model and adapter", passed=False, detail=f"[{error.code}] {error}"),)
    try:
        bench = Bench.of(charter, learner)
    except Exception as error:
        return (Check(name="model and adapter", passed=False, detail=one_line(error)),)
    return tuple(_run(name, check, bench) for name, check in _CHECKS.items())


def _run(name: str, check: Callable[[Bench], str], bench: Bench) -> Check:
    detail = ""
    chosen = bench.learner.compute
    for engine in ENGINES:
        bench.learner.compute = dataclasses.replace(chosen, gradients=engine)
        try:
            measured = check(bench)
        except FedethicsError as error:
            return Check(name=name, passed=False, detail=f"[{error.code}] {engine}: {error}")
        except Exception as error:
            # What a library raises on this model and machine is a finding, and no traceback.
            return Check(name=name, passed=False, detail=f"{engine}: {one_line(error)}")
        finally:
            bench.learner.compute = chosen
        detail = detail or measured
    return Check(name=name, passed=True, detail=detail)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise TrainingError(otherwise)


def _model(bench: Bench) -> str:
    refuse_unsupported(bench.learner.model)
    cached = "frozen layers cached" if bench.learner.cached else "not cached: every layer runs"
    return f"{bench.learner.size} trained parameters; {cached}"


def _self_test(bench: Bench) -> str:
    terms = dataclasses.replace(bench.terms, unit="record")
    found = self_test(bench.learner, bench.activations, bench.labels, terms)
    return (
        f"gradients off by {found.gradient_error:.1e}, Opacus's and our own apart by "
        f"{found.engines_apart:.1e}; noise {found.noise_ratio:.3f} of promised"
    )


def _accountants(bench: Bench) -> str:
    found = cross_check(bench.plan.training.events, delta=bench.plan.delta)
    if found is None:
        return "no private training step, so nothing to account for"
    low = "none" if found.prv_lower is None else f"{found.prv_lower:.3f}"
    return f"epsilon {found.pld:.3f}; Opacus: {low} (PRV, lower) to {found.rdp:.3f} (RDP)"


def _unclipped(bench: Bench) -> str:
    # A loss stepped on by a plain trainer: its gradients lie in the parameters before the round.
    rows = np.arange(RECORDS)
    stray = bench.activations.together(rows)
    with bench.learner.lock:
        bench.learner.load(bench.vector)
        torch.autograd.backward(1e6 * bench.learner.losses(stray, bench.labels).sum())
    try:
        result = bench.train(
            NoiseSource.from_os(), sampling_rate=1.0, noise_multiplier=0.0, clipping_norm=1e-3,
            noise="fast",
        )  # fmt: skip
    finally:
        for parameter in bench.learner.parameters.values():
            parameter.grad = None
    bound = RECORDS * 1e-3 / bench.terms.expected_batch
    norm = float(np.linalg.norm(result.update))
    _require(norm <= bound * (1 + _TOLERANCE), f"an update of norm {norm:.2e} above {bound:.2e}")
    return f"update {norm / bound:.2f} of the bound, with unclipped gradients left about"


def _coupled(bench: Bench) -> str:
    rows, learner = np.arange(RECORDS), bench.learner
    # The longest record left out: what is shared with it changes for all others.
    kept = np.argsort([len(one) for one in bench.activations.hidden], kind="stable")[:-1]
    with learner.lock, learner.plainly(), ENGINES[engine_for(learner)](learner) as engine:
        learner.load(bench.vector)
        company, fewer = (
            engine(bench.activations.together(chosen), bench.labels)[0] for chosen in (rows, kept)
        )
    apart = float((company[kept] - fewer).abs().max() / company.abs().max())
    _require(apart <= _TOLERANCE, f"one record more changes others' gradients by {apart:.1e}")
    with bench.site() as site:
        among, without = (
            {row: gradient for row, gradient, _ in site.weighted(chosen)} for chosen in (rows, kept)
        )
        changed = [row for row in kept.tolist() if not torch.equal(among[row], without[row])]
        moved = float((bench.total(site, rows) - bench.total(site, kept)).double().norm())
    moved /= bench.terms.clipping_norm
    _require(not changed, f"one record more changes the gradients of {len(changed)} others")
    _require(moved <= 1, f"one record moves the sum by {moved:.6f} clipping norms")
    return f"one record more moves the sum by {moved:.3f} clipping norms, others by no bit"


def _empty(bench: Bench) -> str:
    result = bench.train(NoiseSource.from_os(), sampling_rate=_NEVER, steps=2)
    _require(result.stats.empty_steps == 2, "an empty sample was not a step")
    return "a step without records is taken, with noise alone"


def _filled(bench: Bench) -> str:
    first, other = (
        bench.train(NoiseSource.fixed(b"dp-check"), labels=labels, sampling_rate=_NEVER).update
        for labels in (bench.labels, (bench.labels + 1) % bench.learner.classes)
    )
    _require(np.array_equal(first, other), "an empty step depends on the records")
    return "an empty step is the same on other records, bit for bit"


def _desynchronised(bench: Bench) -> str:
    changes = {"sampling_rate": 0.1, "steps": 6, "noise": "fast"}
    all_at_once = bench.train(NoiseSource.fixed(b"dp-check"), None, **changes)
    with bench.learner.one_at_a_time():
        one = bench.train(NoiseSource.fixed(b"dp-check"), None, **changes)
    scale = float(np.abs(all_at_once.update).max()) or 1.0
    apart = float(np.abs(one.update - all_at_once.update).max()) / scale
    _require(one.stats.steps == 6 and apart <= _TOLERANCE, f"split batches differ by {apart:.1e}")
    return f"6 steps, {one.stats.empty_steps} of them empty; split batches differ by {apart:.1e}"


def _first_empty(bench: Bench) -> str:
    with bench.site() as site:
        nothing = bench.total(site, np.array([], dtype=np.intp))
        something = bench.total(site, np.arange(3))
    _require(not bool(nothing.any()) and bool(something.any()), "an empty sample gave a gradient")
    return f"an empty first sample is a zero of the right shape, {tuple(nothing.shape)}"


def _non_finite(bench: Bench) -> str:
    rows = np.arange(RECORDS)
    with bench.site() as site:
        honest = bench.total(site, rows[1:])
        poisoned = dataclasses.replace(site, gradients=_Poisoned(site.gradients))
        found = bench.total(poisoned, rows)
    apart = float((found - honest).norm()) / bench.terms.clipping_norm
    _require(apart <= _TOLERANCE, "a record whose gradient is not finite changed the sum")
    return "a record whose gradient is not a number adds zero"


class _Poisoned:
    """An engine's gradients, of which record 0's is not a number."""

    def __init__(self, honest: Gradients) -> None:
        self._honest = honest

    @property
    def size(self) -> int:
        return self._honest.size

    def each(
        self, activations: Activations, rows: NDArray[np.intp], labels: Targets
    ) -> Iterator[tuple[Batch, Sampled]]:
        for batch, (samples, losses) in self._honest.each(activations, rows, labels):
            samples[torch.from_numpy(batch.rows == 0).to(samples.device)] = float("nan")
            yield batch, (samples, losses)


def _shared_seed(bench: Bench) -> str:
    updates = []
    for _ in range(2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(42)
            updates.append(bench.train(NoiseSource.from_os(), sampling_rate=_NEVER).update)
    if not bench.terms.noise_multiplier:
        return "no noise is promised"
    same = float((updates[0] == updates[1]).mean())
    _require(same < 0.01, f"{same:.0%} of the noise is the same under one seed")
    return "two sites under one seed draw noise of their own"


def _uncovered(bench: Bench) -> str:
    learner = bench.learner
    trained = {name for name, p in learner.model.named_parameters() if p.requires_grad}
    stray = sorted(trained ^ set(learner.parameters))
    _require(not stray, f"trained and not clipped: {stray}")
    with bench.site() as site:
        sizes = [len(gradient) for _, gradient, _ in site.weighted(np.arange(RECORDS))]
    _require(sizes == [learner.size] * RECORDS, f"gradients of sizes {sizes}")
    return f"all {len(trained)} trained tensors have a gradient for each record"


def _misplaced(bench: Bench) -> str:
    learner = bench.learner
    with learner.lock:
        learner.load(bench.vector)
        for copy in _copies(learner):
            require_read(copy.model, copy.parameters, learner.flat)
        expected = expected_step(
            torch.stack([_gradient(bench, row) for row in range(RECORDS)]),
            trained_coordinates(learner, bench.terms.frozen),
            clipping_norm=bench.terms.clipping_norm,
            expected_batch=bench.terms.expected_batch,
        )
    # As long as float32 still tells from the vector's own last place.
    rate = 1.0 / (float(np.abs(expected).max()) or 1.0)
    result = bench.train(
        NoiseSource.from_os(), sampling_rate=1.0, noise_multiplier=0.0, noise="fast", adaptive=None,
        unit="record", learning_rate=rate,
    )  # fmt: skip
    rounded = learner.compute.dtype == "bfloat16"
    apart = require_expected_step(
        result.update, rate * expected, learner.parameters, vector=bench.vector,
        tolerance=_ROUNDED if rounded else _TOLERANCE,
        small=SMALL_IN_BFLOAT16 if rounded else SMALL,
    )  # fmt: skip
    unread = [f"{name} ({who})" for name, who in _unread(bench)]
    _require(not unread, f"the forward pass does not read what moves: {', '.join(unread[:4])}")
    return f"{len(learner.parameters)} tensors moved as a loop tells, off by {apart:.1e}, and read"


def _copies(learner: Learner) -> Iterator[Learner]:
    """Yield the learner, and the copies that compute in parallel on the same numbers."""
    yield from getattr(learner, "copies", (learner,))


def _gradient(bench: Bench, row: int) -> Tensor:
    """Return a record's gradient by autograd, of what the forward pass itself reads, shape (p,)."""
    learner = bench.learner
    held = dict(learner.model.named_parameters())
    loss = _loss(learner, bench, row)
    parts = torch.autograd.grad(
        loss, [held[name] for name in learner.parameters], allow_unused=True
    )
    zero = [torch.zeros_like(held[name]) for name in learner.parameters]
    found = [one if part is None else part for part, one in zip(parts, zero, strict=True)]
    return torch.cat([part.reshape(-1) for part in found])


def _loss(learner: Learner, bench: Bench, row: int) -> Tensor:
    alone = bench.activations.together(np.array([row]))
    return learner.losses(alone, bench.labels)[0]


def _unread(bench: Bench) -> Iterator[tuple[str, str]]:
    """Yield each tensor of which other numbers change no loss, and on which copy."""
    learner = bench.learner
    with learner.lock, torch.no_grad():
        for number, copy in enumerate(_copies(learner)):
            learner.load(bench.vector)
            before = [float(_loss(copy, bench, row)) for row in (0, 1)]
            start = 0
            for name, parameter in learner.parameters.items():
                place = slice(start, start + parameter.numel())
                start = place.stop
                changed = bench.vector.copy()
                changed[place] += np.cos(np.arange(parameter.numel())).astype(np.float32)
                learner.load(changed)
                if before == [float(_loss(copy, bench, row)) for row in (0, 1)]:
                    yield name, f"copy {number}" if number else "the network"
        learner.load(bench.vector)


_CHECKS: dict[str, Callable[[Bench], str]] = {
    "model and adapter": _model,
    "mechanism self-test": _self_test,
    "accountants": _accountants,
    "1 unclipped step": _unclipped,
    "2 loss that couples records": _coupled,
    "3 empty sample": _empty,
    "4 random fill of an empty sample": _filled,
    "5 accumulation out of step": _desynchronised,
    "6 first sample empty": _first_empty,
    "7 gradient that is not finite": _non_finite,
    "8 noise from a shared seed": _shared_seed,
    "9 parameter that is not clipped": _uncovered,
    "10 step on tensors that are not read": _misplaced,
}
