"""Physical batches: every record once, like lengths together, never more than asked for."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics.policy.compute import Compute
from fedethics.training.activations import Activations, Padded
from fedethics.training.learner import Learner


@settings(deadline=None, max_examples=60)
@given(lengths=st.lists(st.integers(1, 60), max_size=40), size=st.integers(1, 12))
def test_batches_hold_every_row_once_and_pad_little(lengths, size):
    activations = Activations(tuple(torch.full((n,), n) for n in lengths))
    rows = np.random.default_rng(0).permutation(len(lengths))
    batches = list(activations.batches(rows, size))
    assert sorted(int(row) for batch in batches for row in batch.rows) == list(range(len(lengths)))
    for batch in batches:
        own = [len(one) for one in batch.hidden]
        assert len(own) <= size
        assert own == [lengths[row] for row in batch.rows]
        assert max(own) <= 1.5 * min(own) + 8


def test_padding_is_marked_for_ids_and_for_states():
    ids = Padded.of([torch.tensor([5, 6, 7]), torch.tensor([8])], pad_id=3)
    assert ids.inputs.tolist() == [[5, 6, 7], [8, 3, 3]]
    assert ids.mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    states = Padded.of([torch.ones(1, 2), torch.ones(2, 2)], pad_id=3)
    assert states.inputs[0].tolist() == [[1.0, 1.0], [0.0, 0.0]]


def test_states_that_would_take_too_much_memory_are_not_kept(
    tiny, tiny_charter, tiny_folder, texts, moved
):
    learner = tiny()
    vector = moved(learner)
    kept = learner.scores(vector, learner.activations(texts))
    small = Learner(tiny_charter(), model_dir=tiny_folder, compute=Compute(cache_gib=1e-9))
    entries = small.activations(texts)
    assert not entries.hidden[0].is_floating_point()
    np.testing.assert_allclose(small.scores(vector, entries), kept, atol=1e-6)
