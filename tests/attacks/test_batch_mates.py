"""An adapter made to turn last bits into decisions: what one record more then changes.

A coordinator may send any adapter. With fewer records than the head has inputs there is a direction
along which all of them give one and the same number, but for rounding. A head that looks along it
and is large turns each record's last bits into its decision. Where those bits depend on the other
records, one more of them changes the decisions of many, and the noise was planned for one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fedethics.charter.document import load
from fedethics.charter_sums import layout_of
from fedethics.data.reading import read_records
from fedethics.fairness.layout import Layout
from fedethics.fairness.tabulate import tabulate
from fedethics.policy.model import Compute
from fedethics.training.learner import Learner
from tests.e2e.conftest import heart_data  # noqa: F401  fixture

ROOT = Path(__file__).resolve().parents[2]
RECORDS = 100


@pytest.fixture(scope="module")
def charter():
    return load(ROOT / "configs" / "heart.charter.toml")


@pytest.fixture(scope="module", params=["proven", "alone"])
def learner(request, charter):
    return Learner(charter, compute=Compute(batches=request.param))


def crafted(learner: Learner, activations) -> np.ndarray:
    """Return an adapter whose head is 1e9 long along a direction that no record stands out in."""
    seen: list[torch.Tensor] = []
    vector = learner.initial_vector()
    with learner.lock:
        learner.load(vector)
        head = learner.model.base_model.model.classifier
        hook = head.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
        with torch.no_grad():
            learner.outputs(activations.together(np.arange(len(activations))))
        hook.remove()
        states = seen[0].double()
        centred = states - states.mean(dim=0)
        # The last right singular vector: at 100 records and 384 inputs, 285 of them see nothing.
        direction = torch.linalg.svd(centred, full_matrices=True).Vh[-1]
        offset = float((states @ direction).mean())
        parameters = learner.parameters
        weight, bias = (
            next(
                p
                for n, p in parameters.items()
                if n.endswith(f"classifier.modules_to_save.default.{end}")
            )
            for end in ("weight", "bias")
        )
        weight.data.zero_()
        bias.data.zero_()
        weight.data[1] = (1e9 * direction).float()
        bias.data[1] = -1e9 * offset
        return learner.flat.numpy().copy()


def decisions(scores: np.ndarray) -> np.ndarray:
    return scores >= 0.5


def test_one_record_more_changes_no_other_decision_under_a_crafted_head(
    learner,
    charter,
    heart_data,  # noqa: F811
):
    records = read_records(heart_data / "cleveland.csv", charter.data)
    fewer = records.take(list(range(RECORDS)))
    longest = max(range(RECORDS, len(records.texts)), key=lambda row: len(records.texts[row]))
    more = records.take([*range(RECORDS), longest])
    texts = [*fewer.texts, fewer.texts[0] + " " + records.texts[longest]]
    before, after = learner.activations(fewer.texts), learner.activations(texts)
    vector = crafted(learner, before)

    # The attack works where records are padded to the longest of their batch, as they once were.
    with learner.lock, torch.no_grad():
        learner.load(vector)
        padded = [
            learner.outputs(one.together(np.arange(len(one))))[:RECORDS]
            .double()
            .softmax(dim=1)[:, 1]
            for one in (learner.tokens(fewer.texts), learner.tokens(texts))
        ]
    flipped = decisions(padded[0].numpy()) != decisions(padded[1].numpy())
    assert flipped.sum() > 10

    scores = learner.scores(vector, before), learner.scores(vector, after)
    np.testing.assert_array_equal(scores[0], scores[1][:RECORDS])
    assert 0 < decisions(scores[0]).sum() < RECORDS  # the last bits do decide
    assert distance(layout_of(charter), fewer, scores[0], more, scores[1]) <= 1


def distance(layout: Layout, fewer, without, more, together) -> int:
    """Return how many counts one record more moved, in the block that counts by group."""
    tables = [
        tabulate(layout, groups=part.groups, labels=part.labels, scores=scores)[
            : layout.counts_length
        ]
        for part, scores in ((fewer, without), (more, together))
    ]
    return int(np.abs(tables[0] - tables[1]).sum())
