"""The count of gradient norms: what a unit moves, what it costs, and what is said of the norm."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from fedethics.aggregates.norms import BINS, EDGES, NORMS
from fedethics.aggregates.norms.opened import OpenedNorms
from fedethics.aggregates.norms.site import norm_histogram
from fedethics.aggregates.schedule import sum_specs, sums_of
from fedethics.charter import document
from fedethics.charter.norm_terms import NormTerms
from fedethics.errors import CharterError
from fedethics.policy.template import policy_text
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.plan import make_plan
from fedethics.release import run_log
from fedethics.training.clipping import unit_norms
from fedethics.training.dp_sgd import site_of
from fedethics.training.engines import gradients_of
from fedethics.training.learner import Learner
from tests.privacy.charters import HEART, with_terms
from tests.training.tiny_models import WORDS, charter_for, save_tiny

HEART_CHARTER = document.load(HEART)
ASKING = dataclasses.replace(HEART_CHARTER, norms=NormTerms(epsilon=0.2, round=2))


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    model = save_tiny(tmp_path_factory.mktemp("model"), "bert")
    learner = Learner(charter_for(model, "bert"), model_dir=model)
    random = np.random.default_rng(3)
    texts = [" ".join(random.choice(WORDS[4:], size=size)) for size in random.integers(1, 18, 30)]
    vector = learner.initial_vector() + np.float32(0.1)
    return learner, texts, random.integers(0, 2, 30).astype(np.int8), vector


def norms(some, texts, labels, units=None, **terms):
    learner, *_, vector = some
    activations = learner.activations(list(texts))
    local = dataclasses.make_dataclass(
        "Terms", [("unit", str), ("frozen", str), ("physical_batch", int)]
    )
    bounded = local(terms.get("unit", "record"), "", 16)
    with learner.lock, gradients_of(learner) as gradients:
        learner.load(vector)
        site = site_of(learner, gradients, activations, labels, units=units, terms=bounded)
        return unit_norms(site, terms=bounded)


def test_norms_are_those_of_a_loop_over_records(some):
    learner, texts, labels, vector = some
    activations, expected = learner.tokens(texts), []
    with learner.lock:
        learner.load(vector)
        for row in range(len(texts)):
            loss = learner.losses(activations.together(np.array([row])), labels)[0]
            parts = torch.autograd.grad(loss, list(learner.parameters.values()))
            expected.append(float(torch.cat([part.reshape(-1) for part in parts]).norm()))
    found = norms(some, texts, labels)
    np.testing.assert_allclose(sorted(found), sorted(expected), rtol=2e-4)


@pytest.mark.parametrize("unit", ["record", "person"])
def test_one_unit_more_moves_one_bin_by_one(some, unit):
    _, texts, labels, _ = some
    units = np.arange(30) // 3 if unit == "person" else None
    last = 27 if unit == "person" else 29
    middle = float(np.median(norms(some, texts, labels, units, unit=unit)))
    whole, less = (
        norm_histogram(
            norms(
                some, texts[:end], labels[:end], None if units is None else units[:end], unit=unit
            ),
            middle,
        )
        for end in (30, last)
    )
    assert whole.sum() == (10 if unit == "person" else 30)
    moved = whole - less
    assert (moved.sum(), np.abs(moved).sum()) == (1, 1)


def test_a_norm_on_an_edge_is_above_it_and_what_is_not_finite_is_last():
    table = norm_histogram(np.array([0.0, 0.25, 1.99, 2.0, 16.0, math.nan, math.inf]), 2.0)
    assert table.tolist() == [1, 1, 0, 1, 1, 0, 0, 3]
    assert len(table) == BINS == len(EDGES) + 1


def test_it_is_due_once_before_its_round_and_paid_by_trained_units_alone():
    plan = make_plan(ASKING)
    assert [due for due in sums_of(ASKING, plan) if due[0] == "norms"] == [("norms", 2)]
    order = [name for name, number in sums_of(ASKING, plan) if number == 2]
    assert order.index("norms") < order.index("update")
    own = NORMS.of(plan.sums)
    cost = epsilon([own.noise.event], delta=ASKING.privacy.delta)
    assert 0.19 < cost <= 0.2
    assert epsilon(plan.training.events, delta=ASKING.privacy.delta) <= (
        ASKING.privacy.training.epsilon
    )
    without = make_plan(HEART_CHARTER)
    assert plan.update.noise_multiplier > without.update.noise_multiplier
    assert "norms" not in without.sums and "norms" not in sum_specs(HEART_CHARTER, vector_length=4)
    assert sum_specs(ASKING, vector_length=4)["norms"].length == BINS
    assert NORMS.permissions(ASKING) == ("norms",) and NORMS.permissions(HEART_CHARTER) == ()
    assert any("share of units" in said for said, _ in NORMS.foretold(ASKING, own))
    assert 'Add "norms" to let charters count training units' in policy_text()


def test_a_charter_without_it_keeps_its_hash_and_one_with_it_reads_back():
    assert b'"norms"' not in document.encode(HEART_CHARTER)
    assert document.parse(document.encode(ASKING)) == ASKING


@pytest.mark.parametrize(
    ("terms", "training", "said"),
    [
        (NormTerms(round=500), {}, "norms.round: 500, but training.rounds is"),
        (NormTerms(epsilon=100.0), {}, "uses up privacy.training.epsilon"),
        (NormTerms(), {"mechanism": "none", "trust_mode": "local"}, "no gradient is clipped"),
    ],
)
def test_what_could_not_be_counted_is_refused_by_name(terms, training, said):
    charter = dataclasses.replace(with_terms(HEART_CHARTER, training=training), norms=terms)
    with pytest.raises(CharterError) as refused:
        document.parse(document.encode(charter))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("counts", "variance", "said"),
    [
        ((800, 150, 40, 9, 1, 0, 0, 0), 1.0, ("only adds noise", "shorter than 0.0625")),
        ((0, 0, 0, 2, 8, 100, 800, 90), 1.0, ("cuts nearly all", "between 2 and 4")),
        ((0, 0, 0, 0, 0, 0, 0, 900), 1.0, ("cuts nearly all", "longer than 4")),
        ((100, 100, 100, 200, 200, 100, 100, 100), 1.0, ("Neither nearly none nor nearly all",)),
        ((3, 1, 0, 2, 1, 2, 0, 1), 400.0, ("noise hides",)),
        ((-3, -1, 0, -2, -1, -2, 0, -1), 400.0, ("noise hides",)),
    ],
)
def test_the_advice_says_what_the_norm_does_and_where_the_middle_lies(counts, variance, said):
    opened = OpenedNorms(
        counts=np.array(counts, dtype=float), variance=variance, clipping_norm=0.5, round=1
    )
    assert all(words in opened.advice() for words in said), opened.advice()


def test_the_share_that_is_clipped_is_a_plain_counts_without_noise():
    counts = np.array([100, 100, 100, 200, 200, 100, 100, 100], dtype=float)
    value, low, high = OpenedNorms(counts=counts, variance=0.0, clipping_norm=1.0, round=1).above(
        1.0
    )
    assert value == 0.5 and low < 0.5 < high < 0.54


def test_the_status_of_a_run_shows_the_advice_from_its_log():
    at = "2026-01-02T03:04:05+00:00"
    run = run_log.follow(
        [{"event": "norms-committed", "time": at, "round": 1, "said": "Too long."}]
    )
    assert run.advice == "Too long."
