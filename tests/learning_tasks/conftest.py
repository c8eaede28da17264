"""The tiny model of the training tests, and a tiny chat model with an adapter that moved."""

from __future__ import annotations

import numpy as np
import pytest

from fedethics.training.learner import Learner
from tests.learning_tasks.tiny_chat import chat_charter, save_chat_model
from tests.training.conftest import (  # noqa: F401  fixtures
    moved,
    noise,
    terms,
    texts,
    tiny_charter,
    tiny_folder,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_chat_model(tmp_path_factory.mktemp("chat"))


@pytest.fixture(scope="module")
def learner(folder):
    return Learner(chat_charter(folder), model_dir=folder)


@pytest.fixture(scope="module")
def vector(learner):
    step = 0.1 * np.random.default_rng(3).standard_normal(learner.size)
    return (learner.initial_vector() + step).astype(np.float32)
