"""Physical batches: every record once, in a shape that follows from its own length alone."""

from functools import partial

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics.policy.model import Compute
from fedethics.training.activations import ALONE, Activations, Padded, rows_at_once, shape_for
from fedethics.training.learner import Learner


def shape_of(rows, positions):
    return partial(shape_for, rows=rows, positions=positions)


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 60), max_size=60),
    rows=st.sampled_from([8, 16, 32]),
    positions=st.sampled_from([60, 64, 512]),
)
def test_batches_hold_every_row_once_in_the_shape_of_its_own_length(lengths, rows, positions):
    activations = Activations(tuple(torch.full((n,), n) for n in lengths))
    order = np.random.default_rng(0).permutation(len(lengths))
    batches = list(activations.batches(order, shape_of(rows, positions)))
    assert sorted(int(row) for batch in batches for row in batch.rows) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch.hidden) == rows
        padded = Padded.of(batch.hidden, pad_id=0, length=batch.length)
        for row, one in zip(batch.rows, batch.hidden, strict=False):
            assert len(one) == lengths[row]
            assert padded.inputs.shape == (rows, shape_of(rows, positions)(lengths[row]).length)
        # transformers drops a mask of ones and with it takes another attention kernel.
        assert not bool(padded.mask.all())


@given(st.integers(1, 5000))
def test_a_shape_is_longer_than_its_records_by_a_quarter_or_eight_tokens_at_most(length):
    shape = shape_for(length, rows=16, positions=1 << 30)
    assert length < shape.length <= max(16, length + max(8, length / 4))


def test_records_alone_have_no_company_and_no_padding():
    activations = Activations(tuple(torch.full((n,), n) for n in (3, 5, 9)))
    batches = list(activations.batches(np.arange(3), lambda _, places: ALONE))
    assert [tuple(map(len, batch.hidden)) for batch in batches] == [(3,), (5,), (9,)]
    assert [
        tuple(Padded.of(b.hidden, pad_id=0, length=b.length).inputs.shape) for b in batches
    ] == [(1, 3), (1, 5), (1, 9)]


def test_rows_are_a_multiple_of_eight_or_one():
    allowed = range(1, 200)
    assert {rows_at_once(most, device="cpu") for most in allowed} == {1, 8, 16}
    assert {rows_at_once(most, device="cuda") for most in allowed} == {1, 8, 16, 24, 32}
    assert all(rows_at_once(most, device="cuda") <= most for most in allowed)


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


def test_whether_states_are_kept_follows_from_public_numbers_alone(tiny_charter, tiny_folder):
    # Room for the states of 8 records of the greatest length, 16 tokens of width 32.
    room = 4 * 32 * 16 * 8
    learner = Learner(
        tiny_charter(), model_dir=tiny_folder, compute=Compute(cache_gib=room / 2**30)
    )
    for texts in (["a"], ["a b c d e f g h i j k l m n o p q r s t"] * 30):
        assert learner.activations(texts, records=8).hidden[0].is_floating_point()
        assert not learner.activations(texts, records=9).hidden[0].is_floating_point()
