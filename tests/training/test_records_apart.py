"""What is computed of a record is a function of that record and of public facts, bit for bit.

D is some records, D' is D with one more, in another order. Whatever a record of D gives (states,
score, loss, gradient, clipped part of a sum) must be the same bits in both: for every kind of
model, both tasks, both engines, both precisions, the base in eight bits, with and without the
cache, in batches of proven shapes and one at a time.
"""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics.policy.model import Compute
from fedethics.training import records_apart
from fedethics.training.activations import ALONE, Activations, shape_for
from fedethics.training.clipping import clipped_sum, integer_sum
from fedethics.training.dp_sgd import site_of
from fedethics.training.engines import gradients_of
from fedethics.training.learner import Learner
from fedethics.training.network import Network
from tests.training.tiny_models import CONFIGS, DECODERS, WORDS, charter_for, save_tiny

PLAIN = Compute()
CASES = {
    **{f"{one}, classification": (one, "classification", PLAIN, "none") for one in CONFIGS},
    **{f"{one}, causal LM": (one, "causal-lm", PLAIN, "none") for one in DECODERS},
    "autograd": ("bert", "classification", Compute(gradients="autograd"), "none"),
    "autograd, causal LM": ("llama", "causal-lm", Compute(gradients="autograd"), "none"),
    "bfloat16": ("bert", "classification", Compute(dtype="bfloat16"), "none"),
    "bfloat16, autograd, causal LM": (
        "llama", "causal-lm", Compute(dtype="bfloat16", gradients="autograd"), "none",
    ),
    "checkpointing": ("bert", "classification", Compute(checkpointing=True), "none"),
    "int8": ("bert", "classification", PLAIN, "int8"),
    "int8, causal LM": ("llama", "causal-lm", PLAIN, "int8"),
    "nf4, causal LM": ("llama", "causal-lm", PLAIN, "nf4"),
    "alone": ("bert", "classification", Compute(batches="alone"), "none"),
    "alone, causal LM": ("gpt2", "causal-lm", Compute(batches="alone"), "none"),
}  # fmt: skip
# One text more than D has; its last is as long as the model reads.
SIZES = (0, 1, 3, 8, 15, 16, 18, 11, 2, 20, 5, 9, 13, 17, 4, 12, 7, 10, 19, 6, 14, 20, 1, 30)


def made_up(sizes=SIZES, *, seed=5):
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS[4:], size=size)) for size in sizes]


class Case:
    """A learner, D and D', and the place of each record of D in D'."""

    def __init__(self, folder, family, task, compute, quantisation):
        if quantisation == "nf4":
            pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
        self.folder = save_tiny(folder, family, task=task)
        charter = charter_for(folder, family, task=task)
        model = dataclasses.replace(charter.model, quantisation=quantisation)
        charter = dataclasses.replace(charter, model=model)
        self.learner = Learner(charter, model_dir=folder, compute=compute)
        shift = 0.1 * np.random.default_rng(3).standard_normal(self.learner.size)
        self.vector = (self.learner.initial_vector() + shift).astype(np.float32)
        texts = made_up()
        self.before, self.labels = texts[:-1], np.arange(len(texts) - 1, dtype=np.int8) % 2
        order = np.random.default_rng(7).permutation(len(texts))
        self.after = [texts[row] for row in order]
        self.labels_after = np.append(self.labels, np.int8(1))[order]
        self.place = np.argsort(order)

    def gradients(self, activations, labels):
        """Return gradient and loss of each record."""
        with self.learner.lock, gradients_of(self.learner) as engine:
            self.learner.load(self.vector)
            site = site_of(self.learner, engine, activations, labels, units=None, terms=self.terms)
            return {row: (one, loss) for row, one, loss in site.weighted(np.arange(len(labels)))}

    terms = dataclasses.make_dataclass("Terms", [("unit", str, "record")])()


@pytest.fixture(scope="module", params=CASES, ids=list(CASES))
def case(request, tmp_path_factory):
    return Case(tmp_path_factory.mktemp("apart"), *CASES[request.param])


def test_one_record_more_changes_no_bit_of_what_the_others_give(case):
    learner = case.learner
    for read in (learner.activations, learner.tokens):
        before, after = read(case.before), read(case.after)
        for row, one in enumerate(before.hidden):
            assert torch.equal(one, after.hidden[case.place[row]])
        scores = [learner.scores(case.vector, one) for one in (before, after)]
        np.testing.assert_array_equal(scores[0], scores[1][case.place[:-1]])
        assert np.ptp(scores[0]) > 1e-3
        gradients = case.gradients(before, case.labels)
        again = case.gradients(after, case.labels_after)
        for row, (gradient, loss) in gradients.items():
            other, other_loss = again[case.place[row]]
            assert torch.equal(gradient, other)
            assert loss == other_loss


def test_cached_states_and_token_ids_give_the_same_bits(case):
    learner = case.learner
    cached, ids = learner.activations(case.before), learner.tokens(case.before)
    np.testing.assert_array_equal(
        learner.scores(case.vector, cached), learner.scores(case.vector, ids)
    )
    kept, anew = (case.gradients(one, case.labels) for one in (cached, ids))
    assert all(torch.equal(kept[row][0], anew[row][0]) for row in kept)


def test_shapes_are_proven_on_this_machine_unless_records_are_computed_alone(case):
    shapes = {case.learner.shape_of(length) for length in range(1, case.learner.longest + 1)}
    assert (shapes == {ALONE}) == (case.learner.compute.batches == "alone")
    assert ALONE in shapes or all(shape.rows == 16 for shape in shapes)


@pytest.mark.parametrize("threads", [2, 3])
def test_the_number_of_cores_changes_no_bit(case, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        many = Learner(case.learner._charter, model_dir=case.folder, compute=case.learner.compute)
        assert len(many.copies) == threads
        wide = Case.__new__(Case)
        wide.__dict__ = {**case.__dict__, "learner": many}
        activations = many.activations(case.before)
        scores, gradients = (
            many.scores(case.vector, activations),
            wide.gradients(activations, case.labels),
        )
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    one = case.learner.activations(case.before)
    assert all(map(torch.equal, activations.hidden, one.hidden))
    np.testing.assert_array_equal(scores, case.learner.scores(case.vector, one))
    alone = case.gradients(one, case.labels)
    assert all(torch.equal(gradients[row][0], alone[row][0]) for row in alone)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return Case(tmp_path_factory.mktemp("bert"), "bert", "classification", PLAIN, "none")


@settings(max_examples=25)
@given(
    sizes=st.lists(st.integers(0, 30), min_size=2, max_size=40),
    chosen=st.data(),
    norm=st.sampled_from([1e-6, 0.3, 1e4]),
    noise=st.sampled_from(["fast", "strict"]),
)
def test_a_sum_with_one_record_more_differs_by_that_record_alone(
    bert, terms, sizes, chosen, norm, noise
):
    """Exactly, on the grid: the sum of D' less that of D is the sum of the one record."""
    more = chosen.draw(st.integers(0, len(sizes) - 1))
    rows = chosen.draw(st.sets(st.integers(0, len(sizes) - 1)))
    activations = bert.learner.activations(made_up(sizes))
    labels = np.arange(len(sizes), dtype=np.int8) % 2
    bounded = terms(clipping_norm=norm, noise=noise)
    add = integer_sum if noise == "strict" else clipped_sum
    with bert.learner.lock, gradients_of(bert.learner) as engine:
        bert.learner.load(bert.vector)
        site = site_of(bert.learner, engine, activations, labels, units=None, terms=bounded)
        without, together, one = (
            add(site, np.array(sorted(some), dtype=int), terms=bounded).total
            for some in (rows - {more}, rows | {more}, {more})
        )
    assert torch.equal(together - without, one)
    unit = bounded.grid_scale if noise == "strict" else 1.0
    assert 0 < float(one.double().norm()) / unit <= norm


@pytest.mark.parametrize("noise", ["fast", "strict"])
def test_the_order_of_records_changes_no_bit_of_a_sum(bert, terms, noise):
    add = integer_sum if noise == "strict" else clipped_sum
    texts, labels = np.array(made_up()), np.arange(len(SIZES), dtype=np.int8) % 2
    totals = []
    for turn in range(3):
        order = np.random.default_rng(turn).permutation(len(texts))
        activations = bert.learner.activations(texts[order].tolist())
        bounded = terms(clipping_norm=0.3, noise=noise)
        with bert.learner.lock, gradients_of(bert.learner) as engine:
            bert.learner.load(bert.vector)
            site = site_of(
                bert.learner, engine, activations, labels[order], units=None, terms=bounded
            )
            totals.append(add(site, np.arange(len(texts)), terms=bounded).total)
    assert torch.equal(totals[0], totals[1]) and torch.equal(totals[0], totals[2])


@pytest.mark.parametrize("mate", [float("nan"), float("inf"), -1e30, 1e30, 1e-40])
def test_hostile_mates_change_no_bit(bert, mate):
    learner = bert.learner
    honest = learner.activations(made_up([15] * 20)).hidden
    poisoned = tuple(
        torch.full_like(one, mate) if row % 2 else one for row, one in enumerate(honest)
    )
    scores = [learner.scores(bert.vector, Activations(one)) for one in (honest, poisoned)]
    np.testing.assert_array_equal(scores[0][::2], scores[1][::2])


def test_where_a_shape_does_not_keep_records_apart_each_is_computed_alone(tmp_path, monkeypatch):
    """A kernel that lets a trace of the mates through, as real ones do in the last bits."""
    honest = Network.class_logits

    def leaking(self, batch):
        logits = honest(self, batch)
        return logits + 1e-7 * logits.mean()

    monkeypatch.setattr(Network, "class_logits", leaking)
    case = Case(tmp_path, "bert", "classification", PLAIN, "none")
    assert {case.learner.shape_of(length) for length in range(1, 21)} == {ALONE}
    before, after = case.learner.activations(case.before), case.learner.activations(case.after)
    scores = [case.learner.scores(case.vector, one) for one in (before, after)]
    np.testing.assert_array_equal(scores[0], scores[1][case.place[:-1]])


def test_the_rows_of_a_product_do_not_follow_from_the_mates_answers(tmp_path, monkeypatch):
    """Products of other row counts were measured to round otherwise, in some of the rows."""
    case = Case(tmp_path, "llama", "causal-lm", PLAIN, "none")
    rows: set[int] = set()
    honest = Network.token_logits

    def counting(self, batch, chosen, places):
        rows.add(len(chosen))
        return honest(self, batch, chosen, places)

    monkeypatch.setattr(Network, "token_logits", counting)
    activations = case.learner.activations(case.before)
    for labels in (0 * case.labels, 0 * case.labels + 1, case.labels):
        case.gradients(activations, labels.astype(np.int8))
    # Two answers of three tokens and of two, sixteen rows.
    assert rows == {16 * 3}


class Told:
    """Gradients as they are told, in the batches that real records of these lengths come in."""

    def __init__(self, gradients, positions):
        self.gradients, self.positions, self.size = gradients, positions, gradients.shape[1]

    def each(self, activations, rows, _labels):
        shape = partial(shape_for, rows=16, positions=self.positions)
        for batch in activations.batches(rows, shape):
            yield batch, (self.gradients[batch.rows], torch.zeros(len(batch.rows)))


@settings(max_examples=60)
@given(
    lengths=st.lists(st.sampled_from([5, 20, 30, 31, 32]), min_size=9, max_size=9),
    positions=st.sampled_from([32, 33, 64]),
    noise=st.sampled_from(["fast", "strict"]),
    order=st.permutations(range(3)),
)
def test_a_persons_part_of_a_sum_does_not_depend_on_other_persons(
    tiny, terms, lengths, positions, noise, order
):
    """Three rows each, two of them huge and opposite: the order of adding decides what is left."""
    learner = tiny(form="both")
    huge = torch.full((learner.size,), 1e16)
    small = torch.sin(torch.arange(learner.size))
    rows = [small, huge, -huge]
    gradients = torch.stack([rows[place] for _ in range(3) for place in order])
    activations = Activations(tuple(torch.zeros(length, 2) for length in lengths))
    persons = np.repeat(np.arange(3), 3)
    bounded = terms(clipping_norm=0.5, noise=noise, unit="person")
    site = site_of(
        learner, Told(gradients, positions), activations, np.zeros(9, dtype=np.int8),
        units=persons, terms=bounded,
    )  # fmt: skip
    add = integer_sum if noise == "strict" else clipped_sum
    one, rest, everyone = (
        add(site, np.array(units), terms=bounded).total for units in ([1], [0, 2], [0, 1, 2])
    )
    assert torch.equal(everyone - rest, one)


def test_a_batch_that_cannot_be_tried_is_not_used(bert, monkeypatch):
    def too_large(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(records_apart, "_tried", too_large)
    assert not records_apart.is_apart(bert.learner, shape_for(9, rows=16, positions=64))


def test_an_answer_that_reaches_beyond_the_positions_is_no_crash(tmp_path):
    """Entries hold both answers; what is read at once holds one and fits the table."""
    folder = save_tiny(tmp_path, "gpt2", task="causal-lm")
    charter = charter_for(folder, "gpt2", task="causal-lm")  # answers of two tokens and of three
    charter = dataclasses.replace(
        charter, model=dataclasses.replace(charter.model, max_tokens=40)
    )  # as many as the table has
    learner = Learner(charter, model_dir=folder)
    assert learner.longest > 40
    texts = made_up([30, 200, 3, 34, 35, 36, 37, 38])
    before, after = learner.tokens(texts), learner.tokens(texts[:1] + texts[2:])
    assert max(map(len, before.hidden)) == learner.longest
    vector = learner.initial_vector()
    scores = learner.scores(vector, before), learner.scores(vector, after)
    np.testing.assert_array_equal(np.delete(scores[0], 1), scores[1])
