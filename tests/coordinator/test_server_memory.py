"""A coordinator whose server remembers earlier rounds: resumed, it gives the same bytes."""

from __future__ import annotations

import dataclasses

import pytest

from fedethics.charter.training_terms import ServerTerms
from fedethics.errors import RunError
from fedethics.protocol import Action
from fedethics.training.learner import Learner
from tests.coordinator.conftest import CoordinatorDied, Learned, Quick, TappedGrid
from tests.e2e.conftest import Lab

ROUNDS = 3


def _with_memory(charter):
    training = dataclasses.replace(
        charter.training, rounds=ROUNDS, server=ServerTerms(optimizer="fedadam"),
        server_learning_rate=0.01,
    )  # fmt: skip
    return dataclasses.replace(charter, training=training)


@pytest.fixture(scope="module")
def staged(tmp_path_factory, heart_data, encoder):
    lab = Lab(tmp_path_factory.mktemp("memory"), heart_data, encoder)
    return lab.stage(noise_seed="7", change=_with_memory)


@pytest.fixture(scope="module")
def learned(staged) -> Learned:
    return Learned(Learner(staged.charter))


def _final(stage) -> bytes:
    return (stage.run_dir / "rounds" / f"adapter-{ROUNDS:04d}.f32").read_bytes()


def _died_before_the_second_sum(quick: Quick):
    """A job that was killed when round 2 was about to be summed."""
    stage, trained = quick.copy(), []

    class Grid(TappedGrid):
        @staticmethod
        def before(_site: str, action: str) -> None:
            trained.extend([action] * (action == Action.TRAIN))
            if len(trained) == len(stage.homes) + 2:
                raise CoordinatorDied

    with pytest.raises(CoordinatorDied):
        quick.run(stage, grid=Grid)
    return stage


def test_a_resumed_job_ends_with_the_same_bytes_or_is_refused_without_the_servers_memory(quick):
    whole, stage = quick.copy(), _died_before_the_second_sum(quick)
    quick.run(whole)
    forgotten = quick.copy(of=stage)
    (forgotten.run_dir / "rounds" / "moments-0001.f64").unlink()
    quick.run(stage, resume=True)
    assert _final(stage) == _final(whole)
    kept = sorted(path.name for path in (stage.run_dir / "rounds").glob("moments-*"))
    assert kept == [f"moments-{ROUNDS:04d}.f64"]
    with pytest.raises(RunError, match="the server's memory after round 1"):
        quick.run(forgotten, resume=True)
