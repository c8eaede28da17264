"""A 95 % interval covers the truth at least 93 times in 100 (92 without noise, see `LEAST`).

Truth is a population rate; each replicate draws people from it and integer noise on top. Noise
variances 2 and 200 are two-sided geometric or Skellam noise at epsilon of about 1 and 0.1. Seeds
are fixed, so these tests pass or fail the same way each time.
"""

import numpy as np
import pytest

from fedethics.fairness import aggregate, by_group

# Without noise Wilson's and Newcombe's own coverage swings about 95 % with the counts' grain, in
# groups of 50 down to 92-93 %; noise smooths that out.
LEAST = {"off": 0.92, "epsilon 1": 0.93, "epsilon 0.1": 0.93}
NOISE = {"off": 0.0, "epsilon 1": 2.0, "epsilon 0.1": 200.0}
POPULATIONS = {  # share of positives, true positive rate, false positive rate
    "balanced": (0.4, 0.7, 0.2),
    "rare": (0.2, 0.5, 0.1),
    "accurate": (0.5, 0.9, 0.05),
}
GAPS = {  # true and false positive rates of each group; 40 % positives
    "two equal groups": ([0.7, 0.7], [0.2, 0.2]),
    "two groups apart": ([0.75, 0.55], [0.25, 0.1]),
    "five equal groups": ([0.7] * 5, [0.2] * 5),
    "six groups, three and three": ([0.5] * 3 + [0.7] * 3, [0.1] * 3 + [0.3] * 3),
}


def draw(rng, size, base, tpr, fpr, groups):
    """Sampled counts[group, y, yhat] for `groups` groups of `size` people."""
    positives = rng.binomial(size, base, groups)
    true, false = rng.binomial(positives, tpr), rng.binomial(size - positives, fpr)
    negatives = size - positives
    return np.stack([negatives - false, false, positives - true, true], axis=1).reshape(-1, 2, 2)


def truths(base, tpr, fpr):
    selected = base * tpr + (1 - base) * fpr
    right = base * tpr + (1 - base) * (1 - fpr)
    return {
        "selection_rate": selected,
        "true_positive_rate": tpr,
        "false_positive_rate": fpr,
        "accuracy_score": right,
        "precision_score": base * tpr / selected,
        "balanced_accuracy_score": (tpr + 1 - fpr) / 2,
        "f1_score": 2 * base * tpr / (selected + base),
    }


def rate_coverage(from_counts, *, noise, size, population, replicates):
    """Each group of one table is a replicate of the same population."""
    rng = np.random.default_rng([size, int(NOISE[noise])])
    tables = from_counts(
        draw(rng, size, *POPULATIONS[population], replicates), variance=NOISE[noise], rng=rng
    )
    covered = {}
    for metric, truth in truths(*POPULATIONS[population]).items():
        estimates = [
            group.estimate
            for group in by_group(tables, metric, feature="feature", minimum_cell=0).values()
        ]
        covered[metric] = np.mean([e.low <= truth <= e.high for e in estimates])
    return covered


def gap_coverage(from_counts, *, noise, size, groups, replicates):
    tpr, fpr = (np.array(side) for side in GAPS[groups])
    each = truths(0.4, tpr, fpr)
    selected, right = each["selection_rate"], each["accuracy_score"]
    truth = {
        "demographic_parity_difference": np.ptp(selected),
        "equalized_odds_difference": max(np.ptp(tpr), np.ptp(fpr)),
        "accuracy_score_difference": np.ptp(right),
        "four_fifths": selected.min() / selected.max(),
        "accuracy_score_group_min": right.min(),
        "false_positive_rate_group_max": fpr.max(),
    }
    rng = np.random.default_rng([size, len(tpr), int(NOISE[noise])])
    hits = dict.fromkeys(truth, 0)
    for _ in range(replicates):
        counts = draw(rng, size, 0.4, tpr, fpr, len(tpr))
        tables = from_counts(counts, variance=NOISE[noise], rng=rng)
        for metric, true in truth.items():
            got = aggregate(tables, metric, feature="feature", minimum_cell=0)
            hits[metric] += got.low - 1e-12 <= true <= got.high + 1e-12
    return {metric: count / replicates for metric, count in hits.items()}


@pytest.mark.parametrize(("noise", "size"), [("epsilon 1", 50), ("epsilon 0.1", 200)])
def test_rates_are_covered(noise, size, from_counts):
    covered = rate_coverage(
        from_counts, noise=noise, size=size, population="balanced", replicates=1500
    )
    assert min(covered.values()) >= LEAST[noise], covered


@pytest.mark.parametrize(("noise", "size"), [("epsilon 1", 50), ("epsilon 0.1", 200)])
def test_gaps_are_covered_even_where_no_gap_exists(noise, size, from_counts):
    covered = gap_coverage(
        from_counts, noise=noise, size=size, groups="five equal groups", replicates=600
    )
    assert min(covered.values()) >= LEAST[noise], covered


def test_an_interval_that_ignored_the_noise_would_not_cover(from_counts):
    # The same draws, with the noise's variance not told: what these tests would catch.
    rng = np.random.default_rng(5)
    counts = draw(rng, 100, *POPULATIONS["balanced"], 1500)
    tables = from_counts(counts, variance=200.0, rng=rng)
    truth = truths(*POPULATIONS["balanced"])["selection_rate"]
    covered = {}
    for told in (200.0, 1e-9):
        blind = type(tables)(
            layout=tables.layout,
            counts=tables.counts,
            histogram=tables.histogram,
            counts_variance=told,
            histogram_variance=200.0,
            sites=3,
        )
        groups = by_group(blind, "selection_rate", feature="feature", minimum_cell=0).values()
        covered[told] = np.mean([g.estimate.low <= truth <= g.estimate.high for g in groups])
    assert covered[200.0] >= LEAST["epsilon 0.1"]
    assert covered[1e-9] < 0.75


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("size", [50, 200, 1000])
@pytest.mark.parametrize("population", POPULATIONS)
def test_rates_are_covered_over_the_grid(noise, size, population, from_counts):
    covered = rate_coverage(
        from_counts, noise=noise, size=size, population=population, replicates=4000
    )
    assert min(covered.values()) >= LEAST[noise], covered


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("size", [50, 200, 1000])
@pytest.mark.parametrize("groups", GAPS)
def test_gaps_are_covered_over_the_grid(noise, size, groups, from_counts):
    covered = gap_coverage(from_counts, noise=noise, size=size, groups=groups, replicates=750)
    assert min(covered.values()) >= LEAST[noise], covered
