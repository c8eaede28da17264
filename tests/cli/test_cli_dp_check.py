"""`fedethics dp-check`: a sound engine passes, and each trap that is sprung is named."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fedethics.charter.document import encode
from fedethics.cli.main import app
from fedethics.errors import EXIT_INTEGRITY
from fedethics.training import check, check_bench, dp_sgd, gradient_noise
from fedethics.training.engines import AutogradGradients
from fedethics.training.learner import Learner
from tests.training.tiny_models import charter_for, save_tiny


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A charter file and a model folder."""
    folder = save_tiny(tmp_path_factory.mktemp("tiny"), "llama", task="causal-lm")
    charter = charter_for(folder, "llama", task="causal-lm")
    path = tmp_path_factory.mktemp("charter") / "charter.json"
    path.write_bytes(encode(charter))
    return path, folder


def run(tiny, *more):
    path, folder = tiny
    done = CliRunner().invoke(app, ["dp-check", str(path), "--model-dir", str(folder), *more])
    return done.exit_code, done.output


def failed(tiny):
    code, output = run(tiny, "--json")
    answer = json.loads(output)
    assert (code, answer["sound"]) == (EXIT_INTEGRITY, False)
    return {one["name"].split()[0]: one["detail"] for one in answer["checks"] if not one["passed"]}


def test_a_sound_engine_passes_every_check_in_both_precisions(tiny):
    code, output = run(tiny, "--json")
    answer = json.loads(output)
    assert (code, answer["sound"], len(answer["checks"])) == (0, True, 13)
    code, output = run(tiny, "--dtype", "bfloat16")
    assert code == 0
    assert "FAILED" not in output
    assert "9 parameter that is not clipped" in output


def test_another_model_than_the_charters_is_the_one_failure_reported(tiny, tmp_path):
    path, _ = tiny
    other = save_tiny(tmp_path, "llama")
    done = CliRunner().invoke(app, ["dp-check", str(path), "--model-dir", str(other), "--json"])
    (only,) = json.loads(done.output)["checks"]
    assert (done.exit_code, only["passed"]) == (EXIT_INTEGRITY, False)
    assert "the charter agreed on" in only["detail"]


def test_coupled_losses_are_named(tiny, monkeypatch):
    honest = Learner.losses

    def coupled(self, batch, labels):
        own = honest(self, batch, labels)
        return own + own.mean() * len(own)

    monkeypatch.setattr(Learner, "losses", coupled)
    assert "2" in failed(tiny)


def test_noise_from_the_global_generator_is_named(tiny, monkeypatch):
    def shared(_noise, *, size, std):
        return std * torch.randn(size, dtype=torch.float64).numpy()

    monkeypatch.setattr(gradient_noise, "gaussian", shared)
    assert {"4", "8"} <= set(failed(tiny))


def test_a_sample_that_is_never_empty_is_named(tiny, monkeypatch):
    honest = dp_sgd.poisson_sample

    def filled(noise, *, count, rate):
        drawn = honest(noise, count=count, rate=rate)
        return drawn if len(drawn) else np.array([0])

    monkeypatch.setattr(dp_sgd, "poisson_sample", filled)
    assert {"3", "4"} <= set(failed(tiny))


def test_clipping_that_lets_nan_through_or_forgets_a_record_is_named(tiny, monkeypatch):
    honest = check_bench.clipped_sum

    def open_minded(site, rows, *, terms):
        found = honest(site, rows, terms=terms)
        if isinstance(site.gradients, check._Poisoned):
            found.total += float("nan")
        return found

    monkeypatch.setattr(check_bench, "clipped_sum", open_minded)
    assert set(failed(tiny)) == {"7"}


def test_a_parameter_without_gradients_is_named(tiny, monkeypatch):
    honest = AutogradGradients._collect

    def forgetful(self, count):
        self._seen.discard(id(next(iter(self._learner.parameters.values()))))
        return honest(self, count)

    monkeypatch.setattr(AutogradGradients, "_collect", forgetful)
    assert "9" in failed(tiny)


def test_the_command_line_starts_without_torch():
    script = "import sys, fedethics.cli.main; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
