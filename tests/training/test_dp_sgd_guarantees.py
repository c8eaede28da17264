"""What an epsilon rests on: bounded contributions, Poisson sampling, noise as promised."""

import math
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.grad_sample import GradSampleHooks
from opacus.optimizers import DPOptimizer
from scipy import stats

from fedethics.errors import TrainingError
from fedethics.privacy.noise import NoiseSource
from fedethics.training.activations import Activations, Batch
from fedethics.training.clipping import clipped_sum
from fedethics.training.dp_sgd import poisson_sample, site_of, train_round
from fedethics.training.gaussian import gaussian
from fedethics.training.per_sample import OpacusGradients


@pytest.fixture(scope="module")
def site(tiny, texts, labels, moved):
    """A learner, its vector, and twelve records."""
    learner = tiny(form="both")
    return learner, moved(learner), learner.activations(texts), labels


def run(site, terms, noise, *, activations=None, labels=None):
    learner, vector, own, own_labels = site
    return train_round(
        learner,
        vector=vector,
        activations=own if activations is None else activations,
        labels=own_labels if labels is None else labels,
        terms=terms,
        noise=noise,
    )


def sums(site, terms, *row_sets):
    learner, vector, activations, labels = site
    with learner.lock, OpacusGradients(learner) as gradients:
        learner.load(vector)
        return [
            clipped_sum(
                site_of(learner, gradients, activations, labels, units=None, terms=terms),
                np.array(rows, int),
                terms=terms,
            ).total
            for rows in row_sets
        ]


@settings(max_examples=20, deadline=None)
@given(
    rows=st.sets(st.integers(0, 10)),
    norm=st.floats(1e-4, 10.0),
    physical=st.integers(1, 12),
)
def test_one_record_more_changes_the_sum_by_at_most_the_clipping_norm(
    site, terms, rows, norm, physical
):
    bounded = terms(clipping_norm=norm, physical_batch=physical)
    # Record 11 is the longest: with it, all others of its batch are padded further.
    less, more = sums(site, bounded, sorted(rows), sorted(rows | {11}))
    assert float((more - less).norm()) <= norm * (1 + 1e-5)


def test_clipping_acts_on_long_gradients_and_leaves_short_ones_alone(site, terms):
    singles = [[row] for row in range(4)]
    raw = sums(site, terms(clipping_norm=math.inf), *singles)
    bound = sorted(float(total.norm()) for total in raw)[1] * 1.01
    clipped = sums(site, terms(clipping_norm=bound), *singles)
    for found, total in zip(clipped, raw, strict=True):
        expected = total * min(1.0, bound / float(total.norm()))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("norm", [1e-3, 0.3, 1e3])
def test_a_step_without_noise_equals_opacus_own_optimizer(site, terms, noise, norm):
    learner, vector, activations, labels = site
    ours = run(site, terms(clipping_norm=norm, physical_batch=5), noise).update

    learner.load(vector)
    for module in learner.model.modules():  # Opacus looks at layers in train mode only
        module.training = isinstance(module, torch.nn.Linear)
    hooks = GradSampleHooks(learner.model, loss_reduction="mean")
    optimizer = DPOptimizer(
        torch.optim.SGD(learner.parameters.values(), lr=1.0),
        noise_multiplier=0.0,
        max_grad_norm=norm,
        expected_batch_size=12,
    )
    learner.losses(Batch(rows=np.arange(12), hidden=activations.hidden), labels).mean().backward()
    optimizer.step()
    hooks.cleanup()
    learner.model.eval()
    theirs = learner.flat.numpy() - vector
    assert np.abs(theirs).max() > 0
    # Opacus divides by (norm + 1e-6), we by norm and shrink by 1e-6.
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-6 * min(norm, 1.0) + 1e-7)


def test_the_divisor_is_fixed_whatever_the_batch_was(site, terms, noise):
    learner, _vector, activations, labels = site
    few = [0, 1, 2]
    part = run(site, terms(), noise, activations=activations.take(few), labels=labels[few]).update
    (total,) = sums(site, terms(), few)
    np.testing.assert_allclose(part, -total.numpy() / 12.0, atol=1e-6)
    assert learner.size == part.size


def test_physical_batches_change_nothing(site, terms, noise):
    whole = run(site, terms(steps=3), noise).update
    for physical in (1, 5):
        split = run(site, terms(steps=3, physical_batch=physical), noise).update
        np.testing.assert_allclose(split, whole, atol=2e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_step_with_no_records_is_taken_with_noise_alone(site, terms, noise, optimizer):
    result = run(
        site,
        terms(sampling_rate=1e-12, steps=3, noise_multiplier=1.0, optimizer=optimizer),
        noise,
    )
    assert result.stats.steps == result.stats.empty_steps == 3
    assert math.isnan(result.stats.loss)
    assert (result.update != 0).mean() > 0.99


@pytest.mark.parametrize("poison", [math.nan, math.inf, 3e38])
def test_a_record_that_breaks_the_arithmetic_counts_as_zero_and_spoils_nobody(
    site, terms, noise, poison
):
    _learner, _vector, activations, labels = site
    hidden = list(activations.hidden)
    hidden[4] = torch.full_like(hidden[4], poison)
    result = run(site, terms(), noise, activations=Activations(tuple(hidden)))
    others = [i for i in range(12) if i != 4]
    without = run(site, terms(), noise, activations=activations.take(others), labels=labels[others])
    assert result.stats.non_finite == 1
    np.testing.assert_allclose(result.update, without.update, atol=1e-6)


def test_the_same_fixed_source_gives_the_same_update_and_another_does_not(site, terms):
    private = terms(steps=3, sampling_rate=0.5, noise_multiplier=1.0)
    first, again, other = (
        run(site, private, NoiseSource.fixed(seed)).update for seed in (b"a", b"a", b"b")
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.99


def test_two_sites_never_draw_the_same_noise_and_its_spread_is_as_promised(site, terms):
    # Sampling rate 1: both sums are equal, so the difference of two updates is noise alone.
    private = terms(noise_multiplier=1.7, clipping_norm=0.5)
    updates = [run(site, private, NoiseSource.from_os()).update for _ in range(40)]
    difference = np.stack(updates[::2]).astype(float) - np.stack(updates[1::2])
    std = math.sqrt(2.0) * 1.7 * 0.5 / private.expected_batch
    assert_std(difference, std)
    # Noise of one pair tells nothing of another's.
    assert abs(np.corrcoef(difference[0], difference[1])[0, 1]) < 6 / math.sqrt(updates[0].size)


def test_noise_adds_up_over_the_steps_of_a_round(site, terms):
    private = terms(
        steps=5, sampling_rate=1e-12, noise_multiplier=2.0, clipping_norm=0.25, learning_rate=0.1
    )
    updates = np.stack([run(site, private, NoiseSource.from_os()).update for _ in range(20)])
    assert_std(updates.astype(float), math.sqrt(5) * 0.1 * 2.0 * 0.25 / private.expected_batch)


def assert_std(draws, expected):
    """A chi-square test at six standard deviations: fails by chance once in 10^9."""
    ratio = draws.std() / expected
    assert abs(ratio - 1.0) < 6 / math.sqrt(2 * draws.size)


def test_the_noise_is_normal_and_its_length_may_be_odd():
    draws = gaussian(NoiseSource.fixed(b"normal"), size=100_001, std=3.0)
    assert draws.shape == (100_001,)
    assert stats.kstest(draws / 3.0, "norm").pvalue > 1e-4
    halves = draws[:50_000], draws[50_001:]
    assert abs(np.corrcoef(*halves)[0, 1]) < 6 / math.sqrt(50_000)


def test_the_noise_of_the_largest_and_smallest_uniform_is_finite():
    class Edge:
        def uniform(self, size):
            return np.resize([0.0, 1.0 - 2.0**-53], size)

    assert np.isfinite(gaussian(Edge(), size=8, std=1.0)).all()


def test_records_join_a_step_independently_with_the_sampling_rate(noise):
    draws, count, rate = 4000, 50, 0.3
    joined = np.zeros((draws, count))
    for row in joined:
        row[poisson_sample(noise, count=count, rate=rate)] = 1.0
    deviation = math.sqrt(rate * (1 - rate) / draws)
    assert np.abs(joined.mean(axis=0) - rate).max() < 5 * deviation
    # Poisson and not fixed-size: the batch size has the binomial variance.
    sizes = joined.sum(axis=1)
    assert sizes.var() == pytest.approx(count * rate * (1 - rate), rel=0.15)
    pairs = np.corrcoef(joined.T)[np.triu_indices(count, 1)]
    assert np.abs(pairs).max() < 6 / math.sqrt(draws)


def test_torch_and_numpy_global_generators_are_left_alone(site, terms, noise, texts):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    run(site, terms(steps=2, noise_multiplier=1.0), noise)
    site[0].activations(texts)
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)


def test_two_sites_that_train_at_once_on_one_learner_do_not_mix(site, terms):
    private = terms(steps=4, noise_multiplier=1.0)
    alone = [run(site, private, NoiseSource.fixed(bytes([i]))).update for i in range(4)]
    together = [None] * 4

    def work(i):
        together[i] = run(site, private, NoiseSource.fixed(bytes([i]))).update

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(np.stack(alone), np.stack(together))


@pytest.mark.parametrize(
    "changes",
    [
        {"sampling_rate": 0.0},
        {"sampling_rate": 1.1},
        {"sampling_rate": math.nan},
        {"clipping_norm": 0.0},
        {"noise_multiplier": -1.0},
        {"noise_multiplier": math.nan},
        {"noise_multiplier": 1.0, "clipping_norm": math.inf},
        {"expected_batch": 0.0},
        {"steps": 0},
    ],
)
def test_terms_without_a_guarantee_are_refused(terms, changes):
    with pytest.raises(TrainingError, match="nothing was computed"):
        terms(**changes)


def test_an_update_that_overflows_is_not_released(site, terms, noise):
    with pytest.raises(TrainingError, match="not finite"):
        run(site, terms(learning_rate=1e38, steps=4, noise_multiplier=1e6), noise)


def test_fedprox_pulls_each_step_to_the_rounds_start_by_mu_as_a_loop_does(site, terms):
    """Without noise and with every record in each batch, against steps of one round each."""
    learner, start, activations, labels = site
    agreed = terms(steps=3, learning_rate=0.2, clipping_norm=5.0, proximal=0.7)
    pulled = run(site, agreed, NoiseSource.fixed(b"any")).update
    at = start.copy()
    for _ in range(3):
        alone = train_round(
            learner,
            vector=at,
            activations=activations,
            labels=labels,
            terms=terms(steps=1, learning_rate=0.2, clipping_norm=5.0),
            noise=NoiseSource.fixed(b"any"),
        )
        at = at + alone.update - np.float32(0.2 * 0.7) * (at - start)
    np.testing.assert_allclose(pulled, at - start, rtol=1e-4, atol=1e-6)
    free = run(site, terms(steps=3, learning_rate=0.2, clipping_norm=5.0), NoiseSource.fixed(b"x"))
    assert np.linalg.norm(pulled) < np.linalg.norm(free.update)
