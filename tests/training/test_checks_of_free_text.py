"""`dp-check` on the tasks without labels: a sound engine passes, a loss that couples is named."""

import pytest
import torch

from fedethics.errors import TrainingError
from fedethics.policy.model import Compute
from fedethics.training import check
from fedethics.training.check_bench import Bench
from fedethics.training.learner import Learner
from tests.learning_tasks.tiny_chat import chat_charter, save_chat_model

torch.set_num_threads(1)
# Form of the records, and what the charter says of the model.
TASKS = {
    "sft": ("prompt-completion", {}),
    "text": ("text", {}),
    "preference": ("preference", {"beta": 0.3}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_chat_model(tmp_path_factory.mktemp("checked"))


@pytest.fixture(scope="module", params=TASKS)
def bench(request, folder):
    form, words = TASKS[request.param]
    charter = chat_charter(folder, form=form, task=request.param, **words)
    # Shapes of batches have tests of their own, and proving them takes most of a check's time.
    return Bench.of(charter, Learner(charter, model_dir=folder, compute=Compute(batches="alone")))


def test_a_sound_engine_passes_every_check_on_records_made_up_from_the_charter(bench):
    found = [check._run(name, one, bench) for name, one in check._CHECKS.items()]
    assert [one for one in found if not one.passed] == []
    assert len(found) == 13


def test_a_loss_that_reads_other_records_is_named(bench, monkeypatch):
    honest = Learner.losses

    def coupled(self, batch, labels):
        own = honest(self, batch, labels)
        return own + own.mean() * len(own)

    monkeypatch.setattr(Learner, "losses", coupled)
    with pytest.raises(TrainingError, match="one record more changes"):
        check._coupled(bench)
