"""What only a simulation may look at: losses and gradients of the sites' training records.

Danger: these numbers are of records and carry no noise. They are computed after a simulated run,
from its committed adapters and its sites' files; no code of a site or coordinator computes them,
and nothing of a real federation could.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fedethics.charter.model import Charter
from fedethics.policy.model import load_policy
from fedethics.release import durable
from fedethics.simulation.staging import Stage
from fedethics.site.home import SiteHome
from fedethics.site.workbench import Workbench, open_workbench
from fedethics.tracking.recorded import SIMULATED
from fedethics.training.clipping import Site
from fedethics.training.engines import gradients_of
from fedethics.training.factors import frozen_factor, trained_coordinates

NOTE = "of records, without noise: a simulation alone may look; never leaves a real site"


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """All sites' training records at the adapter that a round began with.

    Attributes:
        loss: mean.
        gradient_norm_median, gradient_norm_90: of single records, before clipping and weights.
        clipped_share: share of records whose gradient is longer than the charter's clipping norm.
    """

    number: int
    loss: float
    gradient_norm_median: float
    gradient_norm_90: float
    clipped_share: float


def diagnose(stage: Stage) -> tuple[Diagnosis, ...]:
    """Look at each committed round of a finished simulation, and write `simulated.jsonl`.

    Each record's gradient is taken by itself, also where the unit is the person.

    Raises:
        FedethicsError: the records or the model cannot be read.
    """
    benches = [_bench(stage.charter, SiteHome.open(home)) for home in stage.homes.values()]
    found = tuple(_rounds(stage, benches))
    rows = (
        {
            "round": one.number,
            "loss": one.loss,
            "gradient-norm-median": one.gradient_norm_median,
            "gradient-norm-90": one.gradient_norm_90,
            "clipped-share": one.clipped_share,
            "note": NOTE,
        }
        for one in found
    )
    text = "".join(json.dumps(row) + "\n" for row in rows)
    durable.write(stage.run_dir / SIMULATED, text.encode("utf-8"), mode=0o600)
    return found


def _rounds(stage: Stage, benches: list[Workbench]) -> Iterator[Diagnosis]:
    charter, learner = stage.charter, benches[0].learner
    vector = learner.initial_vector()
    for number in range(1, charter.training.rounds + 1):
        after = stage.run_dir / "rounds" / f"adapter-{number:04d}.f32"
        if not after.exists():
            return
        frozen = frozen_factor(charter.adapter.form, number)
        mask = torch.from_numpy(trained_coordinates(learner, frozen))
        seen = [_records(bench, vector, mask) for bench in benches]
        losses = np.concatenate([losses for losses, _ in seen])
        norms = np.concatenate([norms for _, norms in seen])
        yield Diagnosis(
            number=number,
            loss=float(losses.mean()),
            gradient_norm_median=float(np.median(norms)),
            gradient_norm_90=float(np.quantile(norms, 0.9)),
            clipped_share=float((norms > charter.privacy.training.clipping_norm).mean()),
        )
        data = durable.read(after, limit=durable.ADAPTER_LIMIT)
        vector = np.frombuffer(data, dtype="<f4").astype(np.float32)


def _records(
    bench: Workbench, vector: NDArray[np.float32], mask: torch.Tensor
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each training record's loss and the norm of its gradient, shape (n,) each."""
    part, learner = bench.records.train, bench.learner
    rows = np.arange(len(part.labels))
    losses, norms = np.zeros(len(rows)), np.zeros(len(rows))
    activations = bench.activations(part)
    with learner.lock:
        learner.load(vector)
        with gradients_of(learner) as gradients:
            site = Site(
                learner=learner,
                gradients=gradients,
                activations=activations,
                labels=part.labels,
                units=rows,
            )
            for row, gradient, loss in site.weighted(rows):
                trained = torch.where(mask.to(gradient.device), gradient, 0.0)
                losses[row], norms[row] = loss, float(torch.linalg.vector_norm(trained))
    return losses, norms


def _bench(charter: Charter, home: SiteHome) -> Workbench:
    policy = load_policy(Path(home.policy_path))
    return open_workbench(
        charter,
        data=home.data.under(policy.personal),
        model_dir=home.model_dir,
        start_dir=home.start_dir,
        compute=policy.compute,
    )
