"""Integer gradients: bounded exactly, noised exactly, and together one step of central DP-SGD."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics import charter_sums
from fedethics.aggregates.schedule import sum_specs
from fedethics.charter.document import encode, parse
from fedethics.errors import CharterError, TrainingError
from fedethics.privacy.gaussian_shares import NORM_STEPS, share_std
from fedethics.privacy.noise import NoiseSource
from fedethics.privacy.plan import make_plan
from fedethics.training.clipping import clipped_sum, grid_steps, integer_sum
from fedethics.training.distributed import gradient_share
from fedethics.training.dp_sgd import private_mean, site_of, train_round
from fedethics.training.per_sample import OpacusGradients
from fedethics.training.self_test import self_test
from fedethics.training.server_step import gradient_step, server_step

SITES = {"one": slice(0, 3), "two": slice(3, 7), "three": slice(7, 12)}


@pytest.fixture(scope="module")
def site(tiny, texts, labels, moved):
    learner = tiny(form="both")
    return learner, moved(learner), learner.activations(texts), labels


def share(site, terms, noise, rows=slice(None), *, std=100.0, limit=1 << 40, units=None):
    learner, vector, activations, labels = site
    chosen = list(range(12))[rows]
    return gradient_share(
        learner, vector=vector, activations=activations.take(chosen), labels=labels[chosen],
        terms=terms, noise=noise, share_std=std, limit=limit, units=units,
    )  # fmt: skip


def sums(site, terms, add, *row_sets):
    learner, vector, activations, labels = site
    with learner.lock, OpacusGradients(learner) as gradients:
        learner.load(vector)
        built = site_of(learner, gradients, activations, labels, units=None, terms=terms)
        return [add(built, np.array(rows, int), terms=terms).total for rows in row_sets]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-2.0, 2.0), min_size=1, max_size=40), st.floats(0.01, 3.0))
def test_a_rounded_vector_is_never_longer_than_the_norm(values, length):
    vector = torch.tensor(values, dtype=torch.float64)
    vector *= length * NORM_STEPS / float(vector.norm().clamp(min=1e-9))
    whole = grid_steps(vector)
    assert int(whole.square().sum()) <= NORM_STEPS**2
    if length < 0.99:
        assert (whole - vector).abs().max() <= 1.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e300])
def test_what_is_no_number_rounds_to_nothing(bad):
    assert not grid_steps(torch.tensor([bad, 1.0], dtype=torch.float64)).any()


@settings(max_examples=10, deadline=None)
@given(rows=st.sets(st.integers(0, 10)), norm=st.floats(1e-3, 10.0))
def test_one_record_more_changes_an_integer_sum_by_that_records_own_integers(
    site, terms, rows, norm
):
    strict = terms(clipping_norm=norm, noise="strict")
    less, more, alone = sums(site, strict, integer_sum, sorted(rows), sorted(rows | {11}), [11])
    # Exactly: nothing of the others moved, not by one step.
    assert torch.equal(more - less, alone)
    assert int(alone.square().sum()) <= NORM_STEPS**2


def test_the_integer_sum_is_the_float_sum_to_half_a_step_a_record(site, terms):
    everyone = list(range(12))
    for norm in (1e-2, 0.5, 50.0):
        strict = terms(clipping_norm=norm, noise="strict")
        (whole,) = sums(site, strict, integer_sum, everyone)
        (real,) = sums(site, strict, clipped_sum, everyone)
        assert (whole - real * strict.grid_scale).abs().max() < 12 * 0.75


def test_a_strict_round_is_the_fast_round_but_for_the_grid(site, terms, noise):
    learner, vector, activations, labels = site
    updates = [
        train_round(
            learner, vector=vector, activations=activations, labels=labels,
            terms=terms(steps=3, noise=kind), noise=noise,
        ).update
        for kind in ("fast", "strict")
    ]  # fmt: skip
    np.testing.assert_allclose(updates[0], updates[1], atol=1e-4)


@pytest.mark.parametrize("multiplier", [0.6, 2.0])
def test_strict_noise_has_the_promised_variance_on_integers(site, terms, multiplier):
    learner, vector, activations, labels = site
    private = terms(noise_multiplier=multiplier, noise="strict", sampling_rate=1e-12)
    updates = np.stack(
        [
            train_round(
                learner, vector=vector, activations=activations, labels=labels,
                terms=private, noise=NoiseSource.from_os(),
            ).update
            for _ in range(30)
        ]
    ).astype(float)  # fmt: skip
    promised = multiplier * 0.5 / private.expected_batch
    assert abs(updates.std() / promised - 1) < 6 / math.sqrt(2 * updates.size)
    nothing, every = torch.zeros(200, dtype=torch.int64), torch.ones(200, dtype=torch.bool)
    mean = private_mean(nothing, every, terms=private, noise=NoiseSource.from_os()).double()
    steps = mean * private.expected_batch * private.grid_scale
    # Integers, to what a float32 carries of them.
    assert ((steps - steps.round()).abs() <= steps.abs() * 2.0**-23).all()


def test_the_self_test_runs_the_strict_path(site, texts, labels, terms):
    learner, _, activations, _ = site
    result = self_test(learner, activations, labels, terms(noise="strict", noise_multiplier=1.1))
    assert result.noise_ratio == pytest.approx(1.0, abs=0.05)


def charter_for(tiny_charter, **secagg):
    charter = tiny_charter(form="both")
    training = dataclasses.replace(charter.training, rounds=3, local_steps=1, learning_rate=0.7)
    privacy = dataclasses.replace(
        charter.privacy,
        training=dataclasses.replace(
            charter.privacy.training, trust_mode="distributed", clipping_norm=0.5
        ),
    )
    aggregation = dataclasses.replace(charter.secagg, **{"clip": 50.0, **secagg})
    return dataclasses.replace(
        charter, training=training, privacy=privacy, secagg=aggregation, roster=()
    )


def test_without_noise_the_sites_sums_make_one_central_step(site, terms, tiny_charter, noise):
    learner, vector, activations, labels = site
    charter = charter_for(tiny_charter)
    charter = dataclasses.replace(
        charter,
        privacy=dataclasses.replace(
            charter.privacy,
            training=dataclasses.replace(charter.privacy.training, sampling_rate=1.0),
        ),
    )
    one_step = terms(clipping_norm=0.5, learning_rate=0.7)
    tiny_noise = 4.0  # grid steps of 65,536: nothing at this scale
    total = sum(share(site, one_step, noise, rows, std=tiny_noise) for rows in SITES.values())
    found = gradient_step(charter, total, declared=12)
    central = train_round(
        learner, vector=vector, activations=activations, labels=labels,
        terms=one_step, noise=noise,
    ).update  # fmt: skip
    # A rounding of 3/4 step a record and the tiny noise, in the unit of the step.
    unit = 0.7 * 0.5 / NORM_STEPS / 12
    np.testing.assert_allclose(found, central, atol=(12 * 0.75 + 6 * 4 * 3**0.5) * unit)


def test_the_smallest_sum_without_its_colluders_carries_the_noise_of_central_dp_sgd(
    site, terms, tiny_charter
):
    # minimum-cohort 3, colluders 1: two honest shares must do.
    charter = charter_for(tiny_charter)
    plan = make_plan(charter)
    assert (plan.training.trust_mode, plan.update.shares) == ("distributed", 2)
    assert plan.training.epsilon <= charter.privacy.training.epsilon
    std = plan.update.gradient_share_std
    nobody = terms(sampling_rate=1e-12, clipping_norm=0.5)
    honest = np.stack(
        [
            share(site, nobody, NoiseSource.from_os(), std=std)
            + share(site, nobody, NoiseSource.from_os(), std=std)
            for _ in range(40)
        ]
    ).astype(float)
    promised = plan.update.noise_multiplier * NORM_STEPS
    assert abs(honest.std() / promised - 1) < 6 / math.sqrt(2 * honest.size)
    # And one share alone does not: it must never leave unmasked.
    assert std < 0.75 * promised
    assert std == share_std(promised, shares=2)


def test_a_share_fits_its_words_and_cutting_it_brings_no_two_sums_further_apart(site, terms, noise):
    everyone = terms(clipping_norm=0.5)
    limit = NORM_STEPS // 100
    cut = share(site, everyone, noise, std=4.0, limit=limit)
    assert np.abs(cut).max() <= limit + 14 * 4.0 + 2
    full = sums(site, everyone, integer_sum, list(range(12)), list(range(11)))
    apart = [torch.clamp(total, -limit, limit) for total in full]
    assert float((apart[0] - apart[1]).double().norm()) <= float(
        (full[0] - full[1]).double().norm()
    )


def test_a_frozen_factor_gets_no_noise_and_no_gradient(site, terms, noise):
    learner = site[0]
    found = share(site, terms(frozen="A", clipping_norm=0.5), noise)
    start = 0
    for name, parameter in learner.parameters.items():
        part = found[start : start + parameter.numel()]
        start += parameter.numel()
        assert (not part.any()) == (".lora_A." in name)


def test_the_task_has_room_for_every_share_of_a_run(tiny_charter):
    charter = charter_for(tiny_charter)
    spec = sum_specs(charter, vector_length=10)[charter_sums.UPDATE]
    std = make_plan(charter).update.gradient_share_std
    assert spec.bound >= 50.0 / 0.5 * NORM_STEPS + 14 * std
    assert spec.fits(4)


def test_more_than_one_step_is_refused_where_the_noise_is_shared(site, terms, noise):
    with pytest.raises(TrainingError, match="only one is noised enough"):
        share(site, terms(steps=2), noise)


@pytest.mark.parametrize(
    ("table", "changes", "said"),
    [
        ("training", {"local_steps": 2}, "a round has one step"),
        ("training", {"optimizer": "adam"}, 'only "sgd" without momentum'),
        ("training", {"momentum": 0.9}, 'only "sgd" without momentum'),
        ("secagg", {"colluders": 0}, "set it to at least 1"),
    ],
)
def test_a_charter_whose_shares_could_not_protect_is_refused(tiny_charter, table, changes, said):
    charter = charter_for(tiny_charter)
    changed = dataclasses.replace(getattr(charter, table), **changes)
    with pytest.raises(CharterError, match=said):
        parse(encode(dataclasses.replace(charter, **{table: changed})))
    assert parse(encode(charter)) == charter


def test_the_coordinators_step_divides_by_declared_and_never_by_drawn_records(tiny, tiny_charter):
    learner = tiny(form="both")
    charter = charter_for(tiny_charter)
    roster = tuple(_member(f"s{index}", declared) for index, declared in enumerate((10, 20, 30)))
    charter = dataclasses.replace(charter, roster=roster, coordinator_key="c" * 64)
    total = np.full(learner.size, 6 * NORM_STEPS, dtype=np.int64)
    start = learner.initial_vector()
    after = server_step(learner, start, charter=charter, total=total, survivors=("s0", "s2"))
    # Sum 6 norms of 0.5 over rate 0.5 times 40 declared, times the learning rate 0.7.
    np.testing.assert_allclose(start - after, 0.7 * 6 * 0.5 / (0.5 * 40), rtol=1e-3, atol=1e-6)


def _member(site, declared):
    from fedethics.charter.model import Member

    key = (site.encode().hex() * 16)[:64]
    return Member(site=site, public_key=key, declared_records=declared)
