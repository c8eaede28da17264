"""Each adapter form trains what it says, and the coordinator's step is what its paper says."""

import dataclasses

import numpy as np
import pytest

from fedethics.charter.document import encode, parse
from fedethics.errors import CharterError, ModelError
from fedethics.training.dp_sgd import train_round
from fedethics.training.factors import check_form, frozen_factor, pairs, trained_coordinates
from fedethics.training.self_test import self_test
from fedethics.training.server_step import stepped


def run(learner, vector, texts, labels, terms, noise):
    return train_round(
        learner,
        vector=vector,
        activations=learner.activations(texts),
        labels=labels,
        terms=terms,
        noise=noise,
    ).update


def products(learner, vector):
    """Each target's dense B A."""
    return [b @ a for a, b in (pair.read(vector) for pair in pairs(learner))]


@pytest.fixture
def fedsvd(tiny, moved):
    learner = tiny(form="fedsvd", layers=(1, 2))
    return learner, moved(learner)


def test_the_refactorisation_keeps_every_product_and_makes_a_orthonormal(fedsvd):
    learner, vector = fedsvd
    after = stepped(learner, vector, mean=np.zeros(learner.size), rate=1.0, form="fedsvd")
    assert len(pairs(learner)) == 4
    for before, now in zip(products(learner, vector), products(learner, after), strict=True):
        np.testing.assert_allclose(now, before, atol=1e-6)
        _, s, vt = np.linalg.svd(before)
    for pair in pairs(learner):
        a, b = pair.read(after)
        np.testing.assert_allclose(a @ a.T, np.eye(len(a)), atol=1e-6)
        # B = U S: its columns are orthogonal, and as long as the product's singular values.
        gram = b.T @ b
        np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-6)
    a, b = pairs(learner)[-1].read(after)
    np.testing.assert_allclose(np.linalg.norm(b, axis=0), s[: b.shape[1]], rtol=1e-5)
    np.testing.assert_allclose(np.abs(a), np.abs(vt[: len(a)]), atol=1e-5)
    untouched = ~np.concatenate(
        [np.full(p.numel(), "lora_" in name) for name, p in learner.parameters.items()]
    )
    np.testing.assert_array_equal(after[untouched], vector[untouched])


def test_the_refactored_adapter_scores_every_record_as_before(fedsvd, texts):
    learner, vector = fedsvd
    after = stepped(learner, vector, mean=np.zeros(learner.size), rate=1.0, form="fedsvd")
    activations = learner.activations(texts)
    np.testing.assert_allclose(
        learner.scores(after, activations), learner.scores(vector, activations), atol=1e-5
    )
    assert learner.model_hash(after) != learner.model_hash(vector)


def test_a_product_of_lower_rank_still_gets_orthonormal_rows(fedsvd):
    learner, _ = fedsvd
    start = learner.initial_vector()  # B is zero, and so is the product
    after = stepped(learner, start, mean=np.zeros(learner.size), rate=1.0, form="fedsvd")
    for pair in pairs(learner):
        a, b = pair.read(after)
        np.testing.assert_allclose(a @ a.T, np.eye(len(a)), atol=1e-6)
        assert not b.any()


def test_a_site_takes_only_an_adapter_that_fedsvd_could_have_come_to(tiny_charter, fedsvd):
    learner, vector = fedsvd
    terms = tiny_charter(form="fedsvd", layers=(1, 2)).adapter
    after = stepped(learner, vector, mean=np.zeros(learner.size), rate=1.0, form="fedsvd")
    check_form(learner, learner.initial_vector(), terms, rounds_done=0)
    check_form(learner, after, terms, rounds_done=1)
    with pytest.raises(ModelError, match="not the agreed start"):
        check_form(learner, after, terms, rounds_done=0)
    for crooked in (vector, learner.initial_vector()):
        with pytest.raises(ModelError, match="orthonormal"):
            check_form(learner, crooked, terms, rounds_done=1)


@pytest.mark.parametrize("form", ["ffa", "fedsvd", "both", "alternating"])
def test_each_round_moves_exactly_the_factors_of_its_form(
    tiny, moved, texts, labels, terms, noise, form
):
    learner = tiny(form=form, layers=(1, 2))
    trains = {"ffa": ["B"], "fedsvd": ["B"], "both": ["A", "B"]}
    for number in (1, 2, 3):
        frozen = frozen_factor(form, number)
        private = terms(
            steps=3, noise_multiplier=1.0, frozen=frozen, optimizer="adamw", weight_decay=0.1
        )
        update = run(learner, moved(learner), texts, labels, private, noise)
        expected = trains.get(form, ["B"] if number % 2 else ["A"])
        start = 0
        for name, parameter in learner.parameters.items():
            part = update[start : start + parameter.numel()]
            start += parameter.numel()
            factor = next((f for f in "AB" if f".lora_{f}." in name), None)
            if factor is None or factor in expected:
                assert (part != 0).mean() > 0.99, name
            else:
                assert not part.any(), name
    vector_holds_a = any(".lora_A." in name for name in learner.parameters)
    assert vector_holds_a == (form != "ffa")


def test_only_the_trained_factors_are_clipped_and_noised(tiny, moved, texts, labels, terms, noise):
    # The bound is on what leaves: leaving A out of the norm must not leave it in the sum.
    learner = tiny(form="both", layers=(1, 2))
    vector = moved(learner)
    mask = trained_coordinates(learner, "A")
    for norm in (1e-3, 0.3):
        update = run(learner, vector, texts, labels, terms(frozen="A", clipping_norm=norm), noise)
        whole = run(learner, vector, texts, labels, terms(clipping_norm=np.inf), noise)
        assert np.linalg.norm(update) * 12.0 <= 12 * norm * (1 + 1e-5)
        assert not update[~mask].any()
        assert whole[~mask].any()


@pytest.mark.parametrize("form", ["ffa", "fedsvd", "alternating"])
def test_with_one_factor_frozen_the_mean_of_updates_is_the_central_update(
    tiny, moved, texts, labels, terms, noise, form
):
    # One step, no clipping: two sites' weighted mean equals the step over all records, and so do
    # the dense products, which is what averaging A and B apart does not give.
    learner = tiny(form=form, layers=(1, 2))
    vector, frozen = moved(learner), frozen_factor(form, 1)
    free = {"clipping_norm": np.inf, "frozen": frozen}
    half = slice(0, 4), slice(4, 12)
    parts = [
        run(learner, vector, texts[s], labels[s], terms(expected_batch=float(n), **free), noise)
        for s, n in zip(half, (4, 8), strict=True)
    ]
    mean = (4 * parts[0].astype(float) + 8 * parts[1]) / 12
    central = run(learner, vector, texts, labels, terms(**free), noise)
    together = stepped(learner, vector, mean=mean, rate=1.0, form=form)
    alone = stepped(learner, vector, mean=central.astype(float), rate=1.0, form=form)
    scores = [learner.scores(v, learner.activations(texts)) for v in (together, alone)]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)
    for ours, theirs in zip(products(learner, together), products(learner, alone), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_averaging_both_factors_apart_is_not_the_mean_of_the_products(tiny):
    learner = tiny(form="both", layers=(1, 2))
    random = np.random.default_rng(5)
    first, second = random.standard_normal((2, learner.size)).astype(np.float32)
    averaged = products(learner, (first + second) / 2)
    each = [products(learner, v) for v in (first, second)]
    for mean, one, other in zip(averaged, *each, strict=True):
        assert np.abs(mean - (one + other) / 2).max() > 0.1


@pytest.mark.parametrize("frozen", ["", "A", "B"])
def test_the_self_test_passes_under_every_form(tiny, texts, labels, terms, frozen):
    learner = tiny(form="both", layers=(1, 2))
    private = terms(noise_multiplier=1.0, frozen=frozen)
    assert self_test(learner, learner.activations(texts), labels, private).parameters == 10


def test_a_form_that_starts_from_private_gradients_is_refused_by_name(tiny_charter):
    charter = tiny_charter()
    other = dataclasses.replace(charter.adapter, form="fed-sb")
    with pytest.raises(CharterError, match="gradients of real records"):
        parse(encode(dataclasses.replace(charter, adapter=other)))
