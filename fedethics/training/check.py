"""Try a charter's training on this machine with made-up records: each guard, and the mechanism.

The nine traps are those of DP training that end elsewhere in a number and no error; each is set
here on purpose, on the very functions that a site runs. Nothing real is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedethics.charter.model import Charter
from fedethics.errors import FedethicsError, TrainingError
from fedethics.privacy.noise import NoiseSource
from fedethics.privacy.plan import make_plan
from fedethics.training.activations import Activations, Batch
from fedethics.training.clipping import Site, clipped_sum
from fedethics.training.dp_sgd import RoundResult, train_round
from fedethics.training.guards import refuse_unsupported
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms
from fedethics.training.per_sample import PerSampleGradients
from fedethics.training.sample_records import sample_records
from fedethics.training.self_test import self_test

RECORDS = 12
_DECLARED = 100
_NEVER = 1e-12
# Sums of float32 gradients that were padded to other lengths, relative to the clipping norm.
_TOLERANCE = 1e-3


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
    device: str = "cpu",
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> tuple[Check, ...]:
    """Return every check in order; when the model cannot be loaded, that one alone."""
    try:
        learner = Learner(charter, model_dir=model_dir, device=device, dtype=dtype)
    except FedethicsError as error:
        return (Check(name="model and adapter", passed=False, detail=f"[{error.code}] {error}"),)
    bench = _Bench.of(charter, learner)
    return tuple(_run(name, check, bench) for name, check in _CHECKS.items())


@dataclass(frozen=True, slots=True)
class _Bench:
    """What the checks work on: a learner, made-up records, and a round's terms."""

    learner: Learner
    activations: Activations
    labels: NDArray[np.int8]
    terms: LocalTerms
    vector: NDArray[np.float32]

    @classmethod
    def of(cls, charter: Charter, learner: Learner) -> _Bench:
        texts, labels = sample_records(charter.data, RECORDS)
        sigma = make_plan(charter).noise_multiplier or 0.0
        terms = LocalTerms.of(
            charter, noise_multiplier=sigma, declared_records=_DECLARED, round_number=1
        )
        # Away from B = 0, where A has no gradient.
        ripple = (0.02 * np.sin(np.arange(learner.size))).astype(np.float32)
        vector = learner.initial_vector() + ripple
        return cls(learner, learner.activations(texts), labels, terms, vector)

    def train(
        self,
        source: NoiseSource,
        labels: NDArray[np.int8] | None = None,
        **changes: object,
    ) -> RoundResult:
        """Train one step with plain gradient descent, or as `changes` say."""
        plain = {"steps": 1, "optimizer": "sgd", "momentum": 0.0, "learning_rate": 1.0}
        return train_round(
            self.learner,
            vector=self.vector,
            activations=self.activations,
            labels=self.labels if labels is None else labels,
            terms=dataclasses.replace(self.terms, **{**plain, **changes}),  # type: ignore[arg-type]
            noise=source,
            units=np.arange(RECORDS),
        )

    @contextmanager
    def site(self) -> Iterator[Site]:
        """Give what gradients are taken from, with the learner held."""
        with self.learner.lock, PerSampleGradients(self.learner) as gradients:
            self.learner.load(self.vector)
            yield Site(
                learner=self.learner,
                gradients=gradients,
                activations=self.activations,
                labels=self.labels,
                units=np.arange(RECORDS),
            )

    def total(self, site: Site, rows: NDArray[np.intp], **changes: object) -> Tensor:
        """Return the sum of clipped gradients of `rows`."""
        terms = dataclasses.replace(self.terms, **changes)  # type: ignore[arg-type]
        return clipped_sum(site, rows, terms=terms).total


def _run(name: str, check: Callable[[_Bench], str], bench: _Bench) -> Check:
    try:
        return Check(name=name, passed=True, detail=check(bench))
    except FedethicsError as error:
        return Check(name=name, passed=False, detail=f"[{error.code}] {error}")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise TrainingError(otherwise)


def _model(bench: _Bench) -> str:
    refuse_unsupported(bench.learner.model)
    cached = "frozen layers cached" if bench.learner.cached else "not cached: every layer runs"
    return f"{bench.learner.size} trained parameters; {cached}"


def _self_test(bench: _Bench) -> str:
    terms = dataclasses.replace(bench.terms, unit="record")
    found = self_test(bench.learner, bench.activations, bench.labels, terms)
    return f"gradients off by {found.gradient_error:.1e}; noise {found.noise_ratio:.3f} of promised"


def _unclipped(bench: _Bench) -> str:
    # A loss stepped on by a plain trainer: its gradients lie in the parameters before the round.
    rows = np.arange(RECORDS)
    stray = Batch(rows=rows, hidden=bench.activations.hidden)
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


def _coupled(bench: _Bench) -> str:
    rows = np.arange(RECORDS)
    with bench.site() as site, bench.learner.full_precision():
        hidden = site.activations.hidden
        among, _ = site.gradients(Batch(rows=rows, hidden=hidden), site.labels)
        # The longest record left out: what is shared with it changes for all others.
        kept = np.argsort([len(one) for one in hidden], kind="stable")[:-1]
        without, _ = site.gradients(
            Batch(rows=kept, hidden=tuple(hidden[row] for row in kept)), site.labels
        )
        apart = float((among[kept] - without).abs().max() / among.abs().max())
        moved = float((bench.total(site, rows) - bench.total(site, kept)).norm())
    moved /= bench.terms.clipping_norm
    _require(apart <= _TOLERANCE, f"one record more changes others' gradients by {apart:.1e}")
    _require(moved <= 1 + _TOLERANCE, f"one record moves the sum by {moved:.3f} clipping norms")
    return f"one record more moves the sum by {moved:.3f} clipping norms, others by {apart:.0e}"


def _empty(bench: _Bench) -> str:
    result = bench.train(NoiseSource.from_os(), sampling_rate=_NEVER, steps=2)
    _require(result.stats.empty_steps == 2, "an empty sample was not a step")
    return "a step without records is taken, with noise alone"


def _filled(bench: _Bench) -> str:
    first, other = (
        bench.train(NoiseSource.fixed(b"dp-check"), labels=labels, sampling_rate=_NEVER).update
        for labels in (bench.labels, (1 - bench.labels).astype(np.int8))
    )
    _require(np.array_equal(first, other), "an empty step depends on the records")
    return "an empty step is the same on other records, bit for bit"


def _desynchronised(bench: _Bench) -> str:
    one, all_at_once = (
        bench.train(
            NoiseSource.fixed(b"dp-check"),
            None,
            physical_batch=size,
            sampling_rate=0.1,
            steps=6,
            noise="fast",
        )
        for size in (1, RECORDS)
    )
    scale = float(np.abs(all_at_once.update).max()) or 1.0
    apart = float(np.abs(one.update - all_at_once.update).max()) / scale
    _require(one.stats.steps == 6 and apart <= _TOLERANCE, f"split batches differ by {apart:.1e}")
    return f"6 steps, {one.stats.empty_steps} of them empty; split batches differ by {apart:.1e}"


def _first_empty(bench: _Bench) -> str:
    with bench.site() as site:
        nothing = bench.total(site, np.array([], dtype=np.intp))
        something = bench.total(site, np.arange(3))
    _require(not bool(nothing.any()) and bool(something.any()), "an empty sample gave a gradient")
    return f"an empty first sample is a zero of the right shape, {tuple(nothing.shape)}"


def _non_finite(bench: _Bench) -> str:
    rows = np.arange(RECORDS)
    with bench.site() as site:
        honest = bench.total(site, rows[1:])
        poisoned = dataclasses.replace(site, gradients=_Poisoned(site.gradients))
        found = bench.total(poisoned, rows)
    apart = float((found - honest).norm()) / bench.terms.clipping_norm
    _require(apart <= _TOLERANCE, "a record whose gradient is not finite changed the sum")
    return "a record whose gradient is not a number adds zero"


class _Poisoned(PerSampleGradients):
    """Gradients of which record 0's is not a number."""

    def __init__(self, honest: PerSampleGradients) -> None:
        self._honest = honest

    @property
    def size(self) -> int:
        return self._honest.size

    def __call__(self, batch: Batch, labels: NDArray[np.int8]) -> tuple[Tensor, Tensor]:
        samples, losses = self._honest(batch, labels)
        samples[torch.from_numpy(batch.rows == 0).to(samples.device)] = float("nan")
        return samples, losses


def _shared_seed(bench: _Bench) -> str:
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


def _uncovered(bench: _Bench) -> str:
    learner = bench.learner
    trained = {name for name, p in learner.model.named_parameters() if p.requires_grad}
    stray = sorted(trained ^ set(learner.parameters))
    _require(not stray, f"trained and not clipped: {stray}")
    with bench.site() as site:
        everything = Batch(rows=np.arange(RECORDS), hidden=site.activations.hidden)
        samples, _ = site.gradients(everything, site.labels)
    _require(samples.shape == (RECORDS, learner.size), f"gradients of shape {samples.shape}")
    return f"all {len(trained)} trained tensors have a gradient for each record"


_CHECKS: dict[str, Callable[[_Bench], str]] = {
    "model and adapter": _model,
    "mechanism self-test": _self_test,
    "1 unclipped step": _unclipped,
    "2 loss that couples records": _coupled,
    "3 empty sample": _empty,
    "4 random fill of an empty sample": _filled,
    "5 accumulation out of step": _desynchronised,
    "6 first sample empty": _first_empty,
    "7 gradient that is not finite": _non_finite,
    "8 noise from a shared seed": _shared_seed,
    "9 parameter that is not clipped": _uncovered,
}
