"""Random numbers through the real training: known without noise, unknown with it."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fedethics.charter.document import encode, load
from fedethics.charter.training_terms import TrainingTerms
from fedethics.cli.main import app
from fedethics.data.content import Completion
from fedethics.errors import EXIT_INTEGRITY, TrainingError
from fedethics.privacy.noise import NoiseSource
from fedethics.training import canaries, gradient_noise
from fedethics.training.canaries import audit_canaries
from fedethics.training.learner import Learner
from tests.learning_tasks.tiny_chat import chat_charter, save_chat_model

LETTERS = Path(__file__).parents[2] / "examples" / "sft" / "letters.charter.toml"
# A number that was never read: the mean of log2 of an exponential rank, 1 / ln 2.
UNREAD = 1.44


def memorising(folder, *, epsilon, trust_mode="local"):
    """Return a charter with many steps and a large adapter, so that numbers can be learnt."""
    draft, tiny = load(LETTERS), chat_charter(folder)
    targets = ("q_proj", "v_proj", "o_proj", "up_proj", "down_proj")
    adapter = dataclasses.replace(tiny.adapter, rank=16, alpha=32.0, targets=targets)
    local = trust_mode == "local"
    training = dataclasses.replace(
        draft.privacy.training,
        epsilon=epsilon, sampling_rate=1.0, clipping_norm=1.0, trust_mode=trust_mode,
    )  # fmt: skip
    return dataclasses.replace(
        draft,
        model=tiny.model,
        adapter=adapter,
        training=TrainingTerms(
            rounds=1 if local else 4,
            local_steps=60 if local else 1,
            optimizer="adam" if local else "sgd",
            learning_rate=0.03 if local else 2.0,
            physical_batch=16,
        ),
        privacy=dataclasses.replace(draft.privacy, training=training),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_chat_model(tmp_path_factory.mktemp("chat"))


def audit(folder, charter, *, seed=b"a", **how):
    learner = Learner(charter, model_dir=folder)
    how = {"canaries": 16, "references": 31, **how}
    return audit_canaries(charter, learner, noise=NoiseSource.fixed(seed), **how)


def test_numbers_are_memorised_without_noise_and_not_at_a_small_epsilon(folder):
    found = audit(folder, memorising(folder, epsilon=0.5))
    assert found.plain.inside.mean() > UNREAD + 2.0
    assert found.plain.outside.mean() < UNREAD + 1.0
    assert found.plain.bound > 0.0 and math.isinf(found.plain.promised)
    private = found.private
    # Four standard errors: the exposure of an unread number has a standard deviation of 1.44 too.
    assert private.inside.mean() < UNREAD + 4 * UNREAD / math.sqrt(len(private.inside))
    assert private.bound <= private.promised == pytest.approx(0.5, abs=0.01)


def test_noise_that_is_left_out_is_refuted_by_the_bound_and_ends_with_its_own_code(
    folder, tmp_path, monkeypatch
):
    honest = gradient_noise.gaussian
    monkeypatch.setattr(
        gradient_noise, "gaussian", lambda noise, size, std: honest(noise, size=size, std=std / 1e4)
    )
    # With 16 canaries, of which 11 are in, no attack can refute so small an epsilon.
    seeded = NoiseSource.fixed(b"a")
    monkeypatch.setattr(NoiseSource, "from_os", lambda: seeded)
    path = tmp_path / "charter.json"
    path.write_bytes(encode(memorising(folder, epsilon=0.2)))
    asked = ["audit", "text", str(path), "--model-dir", str(folder), "--canaries", "16"]
    done = CliRunner().invoke(app, [*asked, "--references", "31", "--json"])
    found = json.loads(done.output)
    assert (done.exit_code, found["sound"]) == (EXIT_INTEGRITY, False)
    agreed, plain = found["trainings"]
    assert agreed["epsilon-at-least"] > agreed["promised-epsilon"]
    assert plain["promised-epsilon"] is None


def test_exposure_is_the_rank_among_fresh_numbers_and_a_tie_earns_nothing(folder):
    charter = memorising(folder, epsilon=0.5)
    gained = np.array([5.0, 0.0, 2.5, 0.0, 1.0, 2.0, 3.0])  # two canaries, one tied; five numbers
    found = canaries._exposures(
        charter, gained[[0, 2, 1, 3, 4, 5, 6]], np.array([True, False]), 0.0
    )
    fresh = gained[[1, 3, 4, 5, 6]]
    for bits, own in ((found.inside[0], 5.0), (found.outside[0], 2.5)):
        rank = 1 + sum(own <= other for other in fresh)
        assert bits == pytest.approx(math.log2(6) - math.log2(rank))
    tied = canaries._exposures(charter, np.zeros(7), np.array([True, False]), 0.0)
    assert tied.inside[0] == tied.outside[0] == 0.0


def test_noise_of_the_whole_sum_and_records_beside_the_canaries_are_tried_too(folder):
    charter = memorising(folder, epsilon=0.5, trust_mode="distributed")
    records = [Completion("What else?", f"item {number}") for number in range(8)]
    found = audit(folder, charter, canaries=16, references=15, records=records)
    assert found.steps == 4 and found.private.noise_multiplier > 1.0
    assert found.private.promised == pytest.approx(0.5, abs=0.01)
    assert found.private.bound <= 0.5


def test_records_that_say_no_sentence_are_refused_by_name(folder):
    charter = memorising(folder, epsilon=0.5)
    learner = Learner(charter, model_dir=folder)
    for content in (None, dataclasses.replace(charter.data.content, form="preference")):
        other = dataclasses.replace(
            charter, data=dataclasses.replace(charter.data, content=content)
        )
        with pytest.raises(TrainingError, match="say no sentence"):
            audit_canaries(other, learner, noise=NoiseSource.fixed(b"a"))
