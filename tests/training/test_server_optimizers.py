"""The server's optimisers are their papers' rules, bit for bit, and FedProx pulls as it says."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from fedethics.charter import document
from fedethics.charter.document import load, load_set
from fedethics.charter.training_terms import ServerTerms
from fedethics.errors import CharterError, TrainingError
from fedethics.server_optimizers import FedYogi, find_server_optimizer, register
from fedethics.training.server_step import moments_after, plain_step, server_change
from tests.privacy.charters import HEART

ROUNDS, SIZE = 6, 40
KINDS = ("fedavgm", "fedadam", "fedyogi")


def _charter(**server):
    draft = load(HEART)
    training = dataclasses.replace(
        draft.training, server=ServerTerms(**server), server_learning_rate=0.3
    )
    return dataclasses.replace(draft, training=training)


def _means():
    rng = np.random.default_rng(8)
    return [rng.normal(scale=0.1, size=SIZE) for _ in range(ROUNDS)]


def _by_the_paper(kind: str, means, *, beta1: float, beta2: float, tau: float):
    """Each round's change of one coordinate after another, in Python's own floats."""
    found = []
    for column in np.array(means).T.tolist():
        m, v, changes = 0.0, tau * tau, []
        for delta in column:
            if kind == "fedavgm":
                m = beta1 * m + delta
                changes.append(m)
                continue
            m = beta1 * m + (1.0 - beta1) * delta
            square = delta * delta
            if kind == "fedadam":
                v = beta2 * v + (1.0 - beta2) * square
            else:
                sign = (v > square) - (v < square)
                v = v - (1.0 - beta2) * square * sign
            changes.append(m / (math.sqrt(v) + tau))
        found.append(changes)
    return np.array(found).T


@pytest.mark.parametrize("kind", KINDS)
def test_each_rule_is_its_papers_in_plain_floats_bit_for_bit(kind):
    told = {} if kind == "fedavgm" else {"second_moment": 0.95, "tau": 0.01}
    charter, means = _charter(optimizer=kind, momentum=0.8, **told), _means()
    moments, found = None, []
    for mean in means:
        change, moments = server_change(charter, mean, moments)
        found.append(change)
    expected = _by_the_paper(kind, means, beta1=0.8, beta2=0.95, tau=0.01)
    assert np.array(found).tobytes() == expected.tobytes()


def test_momentum_walks_as_torchs_sgd():
    charter, means = _charter(optimizer="fedavgm", momentum=0.7), _means()
    theirs = torch.zeros(SIZE, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([theirs], lr=0.3, momentum=0.7)
    ours, moments = np.zeros(SIZE), None
    for mean in means:
        change, moments = server_change(charter, mean, moments)
        ours += 0.3 * change
        theirs.grad = torch.from_numpy(-mean)
        optimizer.step()
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_memory_moves_nothing_where_no_site_ever_did(kind):
    """A factor that stays as it was: its updates are exact zeros."""
    change, moments = server_change(_charter(optimizer=kind), np.zeros(SIZE), None)
    for _ in range(3):
        change, moments = server_change(_charter(optimizer=kind), np.zeros(SIZE), moments)
    assert not change.any()


def test_a_sum_of_a_charter_with_memory_is_stepped_by_it_and_without_it_by_the_mean():
    from tests.training.test_following_adapters import _charter as with_roster

    plain = with_roster("local")
    terms = dataclasses.replace(plain.training, server=ServerTerms(optimizer="fedavgm"))
    charter = dataclasses.replace(plain, training=terms)
    rng = np.random.default_rng(2)
    start = rng.normal(size=SIZE).astype(np.float32)
    told = {"total": rng.integers(-(2**30), 2**30, size=SIZE), "survivors": ("a", "b", "c")}
    first = plain_step(start, charter=charter, **told)
    assert first.tobytes() == plain_step(start, charter=plain, **told).tobytes()
    assert moments_after(plain, **told, moments=None) is None
    moments = moments_after(charter, **told, moments=None)
    second = plain_step(first, charter=charter, **told, moments=moments)
    assert second.tobytes() != plain_step(first, charter=plain, **told).tobytes()
    # 1 + 0.9 means further: 1.9 of what the first step moved.
    np.testing.assert_allclose(second - first, 1.9 * (first - start), rtol=1e-4, atol=1e-6)


def test_a_charter_without_these_keys_is_spelled_as_before():
    spelled = document.encode(load(HEART))
    assert b'"server":' not in spelled
    assert b'"proximal":' not in spelled


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"training.server.optimizer": "adagrad"}, "fedavgm, fedadam, fedyogi"),
        (
            {"training.server.optimizer": "fedavgm", "training.server.tau": 0.1},
            "'fedavgm' does not read it",
        ),
        (
            {"training.server.optimizer": "fedadam", "adapter.form": "fedsvd"},
            "memory of earlier rounds is of other coordinates",
        ),
        (
            {"training.server.optimizer": "fedadam", "adapter.form": "alternating"},
            "memory would move it",
        ),
        ({"training.proximal": 0.1, "training.local-steps": 1}, "local-steps is 1"),
        ({"training.proximal": -0.1}, "proximal"),
    ],
)
def test_what_cannot_be_held_is_refused_by_name(settings, why):
    with pytest.raises(CharterError, match="not a valid charter") as refused:
        load_set(HEART, settings)
    assert why in str(refused.value)


def test_two_optimisers_of_one_name_are_refused():
    with pytest.raises(TrainingError, match="registered twice"):
        register(FedYogi())
    with pytest.raises(TrainingError, match="known: fedavgm, fedadam, fedyogi"):
        find_server_optimizer("adagrad")
