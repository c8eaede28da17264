"""`fedethics explain` at a site: a real model, a real file, nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fedethics.charter.document import load
from simulations.datasets import heart
from tests.cli.conftest import fedethics  # noqa: F401  fixture

ROOT = Path(__file__).resolve().parents[2]
CHARTER = ROOT / "configs" / "heart.charter.toml"
DATA = ROOT / ".data" / "heart"


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> Path:
    from fedethics.training.learner import Learner

    heart.fetch(DATA)
    learner, folder = Learner(load(CHARTER)), tmp_path_factory.mktemp("adapter")
    vector = learner.initial_vector()
    noise = np.random.default_rng(3).normal(0, 0.05, learner.size)
    learner.save_adapter(vector + noise.astype(np.float32), folder)
    return folder


@pytest.mark.slow
def test_explanations_are_told_as_one_document_and_nothing_is_written(fedethics, adapter):  # noqa: F811
    data = DATA / "cleveland.csv"
    before = data.stat().st_mtime_ns, sorted(DATA.iterdir()), sorted(adapter.iterdir())
    asked = ("explain", "--adapter", adapter, "--charter", CHARTER, "--data", data)
    told = fedethics(*asked, "--record", 5, "--record", 9, "--json")
    assert told.exit_code == 0, told.err
    document = json.loads(told.out)
    assert [one["line"] for one in document["records"]] == [5, 9]
    for one in document["records"]:
        assert [effect["column"] for effect in one["effects"]] == [
            "age", "sex", "cp", "exang", "oldpeak", "thalch", "chol",
        ]  # fmt: skip
        assert one["positive"] == (one["score"] >= 0.5)
        assert one["decision"] == ("disease" if one["positive"] else "no disease")
        (swap,) = one["swaps"]
        assert swap["flips"] == ((swap["score"] >= 0.5) != one["positive"])
        assert 0 <= one["faithfulness"]["as_comprehensive"] <= 1
    assert before == (data.stat().st_mtime_ns, sorted(DATA.iterdir()), sorted(adapter.iterdir()))
    refused = fedethics(*asked, "--record", 1)
    assert refused.exit_code == 2 and "[FE401] line 1 of the file holds no record" in refused.err


def test_a_question_without_a_site_or_a_file_is_refused(fedethics, tmp_path):  # noqa: F811
    asked = ("explain", "--adapter", tmp_path, "--record", 5)
    assert "give --home, or --charter and --data" in fedethics(*asked).err
    both = fedethics(*asked, "--home", tmp_path, "--charter", CHARTER)
    assert both.exit_code == 2 and "give it alone" in both.err
