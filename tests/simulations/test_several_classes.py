"""Baselines of several classes: scores of each, and areas of each against all others."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from simulations.arms import _auc, _decided
from simulations.logistic import fit_logistic


def test_a_site_that_lacks_a_class_gives_it_a_score_of_zero():
    rows = [{"age": float(age)} for age in range(20)]
    labels = np.array([0] * 10 + [2] * 10)
    scores = fit_logistic(rows, labels, words_of=frozenset(), classes=3)(rows)
    assert scores.shape == (20, 3)
    np.testing.assert_allclose(scores.sum(axis=1), 1.0)
    assert not scores[:, 1].any()
    assert np.mean(_decided(scores) == labels) > 0.8
    two = fit_logistic(rows, labels // 2, words_of=frozenset())(rows)
    np.testing.assert_allclose(two, scores[:, 2], atol=1e-6)
    only = fit_logistic(rows, np.full(20, 2), words_of=frozenset(), classes=3)(rows)
    np.testing.assert_array_equal(only, np.tile([0.0, 0.0, 1.0], (20, 1)))


def test_the_area_is_the_mean_over_the_classes_against_all_others():
    random = np.random.default_rng(0)
    scores, labels = random.dirichlet((1, 1, 1), size=200), random.integers(0, 3, size=200)
    expected = roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    assert _auc(labels, scores) == pytest.approx(expected)
    assert np.isnan(_auc(np.zeros(5, dtype=np.int16), scores[:5]))
    assert _auc(labels == 1, scores[:, 1]) == roc_auc_score(labels == 1, scores[:, 1])
