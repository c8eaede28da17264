"""The optimisers are torch's, and the corrected one is its paper's."""

import numpy as np
import pytest
import torch

from fedethics.charter.training_terms import TrainingTerms
from fedethics.training.optimizers import optimizer_of

STEPS, SIZE = 12, 50


@pytest.fixture
def gradients():
    random = np.random.default_rng(4)
    return [torch.from_numpy(random.standard_normal(SIZE)).float() for _ in range(STEPS)]


def walk(terms, gradients):
    vector = torch.linspace(-1, 1, SIZE)
    optimizer = optimizer_of(terms)
    for gradient in gradients:
        vector = vector + optimizer.step(vector, gradient)
    return vector


@pytest.mark.parametrize(
    ("changes", "theirs"),
    [
        ({"optimizer": "sgd"}, lambda p: torch.optim.SGD(p, lr=0.03)),
        ({"optimizer": "sgd", "momentum": 0.9}, lambda p: torch.optim.SGD(p, 0.03, momentum=0.9)),
        ({"optimizer": "adam"}, lambda p: torch.optim.Adam(p, lr=0.03)),
        (
            {"optimizer": "adamw", "weight_decay": 0.2},
            lambda p: torch.optim.AdamW(p, lr=0.03, weight_decay=0.2),
        ),
    ],
)
def test_each_optimiser_walks_as_torchs_own(terms, gradients, changes, theirs):
    vector = torch.linspace(-1, 1, SIZE).requires_grad_()
    optimizer = theirs([vector])
    for gradient in gradients:
        vector.grad = gradient.clone()
        optimizer.step()
    found = walk(terms(learning_rate=0.03, **changes), gradients)
    torch.testing.assert_close(found, vector.detach(), rtol=1e-5, atol=1e-6)


def test_the_corrected_optimiser_takes_the_noises_variance_out_of_the_second_moment(
    terms, gradients
):
    local = terms(
        optimizer="adam-bc", learning_rate=0.03, noise_multiplier=6.0, clipping_norm=0.5,
        expected_batch=12.0,
    )  # fmt: skip
    variance = (6.0 * 0.5 / 12.0) ** 2
    m = v = np.zeros(SIZE)
    expected = np.linspace(-1, 1, SIZE)
    for count, gradient in enumerate(gradients, 1):
        g = gradient.double().numpy()
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        first, second = m / (1 - 0.9**count), v / (1 - 0.999**count)
        expected = expected - 0.03 * first / np.sqrt(np.maximum(second - variance, variance / 100))
    np.testing.assert_allclose(walk(local, gradients).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_under_noise_alone_the_corrected_second_moment_is_near_nothing(terms):
    # Adam's root is the noise's std; corrected, it is the floor: so steps differ tenfold at most.
    local = terms(learning_rate=1.0, noise_multiplier=2.0, expected_batch=1.0)
    torch_noise = torch.Generator().manual_seed(3)
    std = local.noise_std
    draws = [std * torch.randn(SIZE, generator=torch_noise) for _ in range(400)]
    steps = {}
    for kind in ("adam", "adam-bc"):
        optimizer = optimizer_of(terms(
            learning_rate=1.0, noise_multiplier=2.0, expected_batch=1.0, optimizer=kind,
        ))  # fmt: skip
        zero = torch.zeros(SIZE)
        steps[kind] = [optimizer.step(zero, draw).abs().mean() for draw in draws][-1]
    assert 2 < steps["adam-bc"] / steps["adam"] <= 10.5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"momentum": 0.5}, "momentum: only for sgd"),
        ({"weight_decay": 0.1}, "weight-decay: only for "),
    ],
)
def test_a_number_that_the_optimiser_would_not_read_is_refused(changes, said):
    terms = TrainingTerms(rounds=1, local_steps=1, optimizer="adam", learning_rate=0.1, **changes)
    assert any(said in problem for problem in terms.problems())
