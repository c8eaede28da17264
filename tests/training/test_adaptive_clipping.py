"""The norm follows its quantile, and count and sum together cost what the ledger is charged."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedethics.charter.document import encode, parse
from fedethics.errors import CharterError, TrainingError
from fedethics.privacy.noise import NoiseSource
from fedethics.privacy.plan import make_plan
from fedethics.training import dp_sgd
from fedethics.training.dp_sgd import train_round
from fedethics.training.local_terms import Adaptive, LocalTerms

MEDIAN = Adaptive(quantile=0.5, rate=0.5, share=0.1)


@given(multiplier=st.floats(0.3, 30.0), share=st.floats(0.001, 0.5), length=st.floats(0.0, 1.0))
def test_sum_and_count_together_move_by_at_most_one_over_the_multiplier(multiplier, share, length):
    # One unit more: the sum moves by at most one norm, the count by exactly one half.
    adaptive = Adaptive(quantile=0.5, rate=0.2, share=share)
    terms = LocalTerms(
        steps=1, sampling_rate=1.0, clipping_norm=0.7, noise_multiplier=multiplier,
        expected_batch=1.0, optimizer="sgd", learning_rate=1.0, adaptive=adaptive,
    )  # fmt: skip
    in_sum = length * 0.7 / terms.noise_std
    in_count = 0.5 / adaptive.count_std(multiplier)
    assert math.hypot(in_sum, in_count) <= (1 + 1e-9) / multiplier
    # And the bound is met: nothing is charged that is not spent.
    assert math.hypot(0.7 / terms.noise_std, in_count) == pytest.approx(1 / multiplier)


def test_one_unit_more_moves_the_count_by_one_half_whatever_its_gradient():
    def log_norm(short, units):
        norm = MEDIAN.next_norm(1.0, short=short, units=units, expected=10.0, draw=0.0)
        return math.log(norm) * 10.0 / -MEDIAN.rate

    for short in (0, 1):
        moved = log_norm(3 + short, 8) - log_norm(3, 7)
        assert abs(moved) == pytest.approx(0.5)


@pytest.mark.parametrize("start", [0.02, 30.0])
def test_the_norm_walks_to_the_quantile_of_the_gradients_lengths(start):
    lengths = np.linspace(0.5, 1.5, 101)
    noise, norm = np.random.default_rng(2), start
    for _ in range(200):
        norm = MEDIAN.next_norm(
            norm, short=int((lengths <= norm).sum()), units=101, expected=101.0,
            draw=noise.normal(0.0, MEDIAN.count_std(1.0)),
        )  # fmt: skip
    assert norm == pytest.approx(1.0, abs=0.1)


def test_a_round_clips_and_noises_to_the_norm_of_each_step(tiny, texts, labels, terms, monkeypatch):
    learner = tiny()
    seen = []
    honest = dp_sgd.private_mean

    def watch(total, mask, *, terms, noise):
        seen.append((terms.clipping_norm, float(total.norm()), terms.noise_std))
        return honest(total, mask, terms=terms, noise=noise)

    monkeypatch.setattr(dp_sgd, "private_mean", watch)
    train_round(
        learner,
        vector=learner.initial_vector(),
        activations=learner.activations(texts),
        labels=labels,
        terms=terms(
            steps=6, clipping_norm=1e-3, noise_multiplier=1.0, adaptive=MEDIAN, learning_rate=0.1
        ),
        noise=NoiseSource.from_os(),
    )
    norms = [norm for norm, *_ in seen]
    assert len(set(norms)) == 6
    for norm, length, std in seen:
        assert length <= 12 * norm
        assert std == pytest.approx(norm / math.sqrt(0.9))


def test_the_plan_and_its_charge_are_those_of_a_fixed_norm(tiny_charter):
    charter = tiny_charter()
    training = dataclasses.replace(charter.privacy.training, adaptive_quantile=0.5)
    adaptive = dataclasses.replace(
        charter, privacy=dataclasses.replace(charter.privacy, training=training)
    )
    assert make_plan(adaptive).training == make_plan(charter).training
    local = LocalTerms.of(adaptive, noise_multiplier=2.0, declared_records=10, round_number=1)
    assert local.noise_std == pytest.approx(2.0 / math.sqrt(0.95))


def test_where_the_count_has_no_noise_of_its_kind_adaptive_clipping_is_refused(tiny_charter, terms):
    charter = tiny_charter()
    for privacy, optimizer, said in (
        ({"noise": "strict"}, "sgd", "local trust with noise"),
        ({}, "adam-bc", "changes with the norm"),
    ):
        training = dataclasses.replace(charter.privacy.training, adaptive_quantile=0.5, **privacy)
        changed = dataclasses.replace(
            charter,
            privacy=dataclasses.replace(charter.privacy, training=training),
            training=dataclasses.replace(charter.training, optimizer=optimizer),
        )
        with pytest.raises(CharterError, match=said):
            parse(encode(changed))
    with pytest.raises(TrainingError, match="nothing was computed"):
        terms(adaptive=MEDIAN, noise="strict")
