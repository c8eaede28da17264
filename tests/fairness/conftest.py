"""Builders that the fairness tests share."""

from collections.abc import Callable

import numpy as np
import pytest

from fedethics.fairness import Layout, SensitiveFeature, Tables, tabulate


def skellam(rng: np.random.Generator, variance: float, shape) -> np.ndarray:
    return rng.poisson(variance / 2, shape) - rng.poisson(variance / 2, shape)


@pytest.fixture(scope="session")
def two_features() -> Layout:
    return Layout(
        features=(
            SensitiveFeature(name="sex", groups=("Female", "Male")),
            SensitiveFeature(name="age", groups=("young", "middle", "old")),
        )
    )


@pytest.fixture(scope="session")
def from_records() -> Callable[..., Tables]:
    def build(layout: Layout, groups, labels, scores, *, sites: int = 3) -> Tables:
        vector = tabulate(layout, groups=groups, labels=labels, scores=scores)
        return Tables.from_vector(
            vector, layout=layout, counts_variance=0, histogram_variance=0, sites=sites
        )

    return build


@pytest.fixture(scope="session")
def from_counts() -> Callable[..., Tables]:
    """Tables of one feature from counts[group, y, yhat]; scores .25 and .75; noise optional."""

    def build(counts, *, variance: float = 0.0, rng: np.random.Generator | None = None) -> Tables:
        counts = np.asarray(counts, dtype=np.int64)
        groups = tuple(f"group {index}" for index in range(len(counts)))
        layout = Layout(features=(SensitiveFeature(name="feature", groups=groups),))
        histogram = np.zeros((len(counts), 2, layout.bins), dtype=np.int64)
        histogram[:, :, 16], histogram[:, :, 48] = counts[:, :, 0], counts[:, :, 1]
        if rng is not None and variance:
            counts = counts + skellam(rng, variance, counts.shape)
            histogram = histogram + skellam(rng, variance, histogram.shape)
        return Tables.from_vector(
            np.concatenate([counts.ravel(), histogram.ravel()]),
            layout=layout,
            counts_variance=variance,
            histogram_variance=variance,
            sites=3,
        )

    return build
