"""`--diagnose`: losses and gradient norms are those of a loop over records, and stay apart."""

from __future__ import annotations

import json
import shutil

import numpy as np
import torch

from fedethics.simulation.diagnosis import diagnose
from fedethics.site.home import SiteHome
from fedethics.site.workbench import open_workbench
from fedethics.tracking import recorded
from fedethics.training.factors import frozen_factor, trained_coordinates
from tests.release.test_run_log import TWO_ROUNDS, log


def test_loss_and_norms_are_those_of_a_loop_over_the_records(lab):
    stage = lab.stage()
    rounds = stage.run_dir / "rounds"
    rounds.mkdir()
    homes = [SiteHome.open(home) for home in stage.homes.values()]
    benches = [open_workbench(stage.charter, data=one.data, model_dir=None) for one in homes]
    learner = benches[0].learner
    rng = np.random.default_rng(3)
    vectors = [learner.initial_vector()]
    vectors.append((vectors[0] + rng.normal(scale=0.05, size=learner.size)).astype(np.float32))
    for number, vector in ((1, vectors[1]), (2, vectors[0])):
        (rounds / f"adapter-{number:04d}.f32").write_bytes(vector.astype("<f4").tobytes())
    found = diagnose(stage)
    assert [one.number for one in found] == [1, 2]
    mask = trained_coordinates(learner, frozen_factor(stage.charter.adapter.form, 2))
    losses, norms = [], []
    with learner.lock:
        learner.load(vectors[1])
        for bench in benches:
            part = bench.records.train
            activations = bench.activations(part)
            for row in range(len(part.labels)):
                batch = activations.together(np.array([row]))
                loss = learner.losses(batch, part.labels)[0]
                parts = torch.autograd.grad(loss, list(learner.parameters.values()))
                gradient = torch.cat([each.reshape(-1) for each in parts]).numpy()
                losses.append(float(loss.detach()))
                norms.append(float(np.linalg.norm(gradient[mask])))
    np.testing.assert_allclose(found[1].loss, np.mean(losses), rtol=1e-4)
    np.testing.assert_allclose(found[1].gradient_norm_median, np.median(norms), rtol=1e-3)
    share = np.mean(np.array(norms) > stage.charter.privacy.training.clipping_norm)
    assert abs(found[1].clipped_share - share) < 0.01
    assert found[0].loss != found[1].loss
    rows = (stage.run_dir / "simulated.jsonl").read_text().splitlines()
    assert all("never leaves a real site" in json.loads(row)["note"] for row in rows)
    log(stage.run_dir, *TWO_ROUNDS)
    shutil.copy(stage.coordinator / "charter.json", stage.run_dir / "charter.json")
    names = {one.name for one in recorded(stage.run_dir).scalars}
    assert "simulated-only/gradient-norm-90" in names
