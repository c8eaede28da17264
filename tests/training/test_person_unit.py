"""Where the unit is the person, everything of one person is one bounded contribution."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics.errors import TrainingError
from fedethics.training.clipping import clipped_sum, integer_sum
from fedethics.training.dp_sgd import poisson_sample, site_of, train_round
from fedethics.training.per_sample import OpacusGradients, PerSampleGradients

# Twelve records of five persons, out of order.
PERSONS = np.array([0, 1, 2, 0, 0, 3, 1, 4, 4, 2, 0, 3])


@pytest.fixture(scope="module")
def site(tiny, texts, labels, moved):
    learner = tiny(form="both")
    return learner, moved(learner), learner.activations(texts), labels


def total(site, terms, sampled, *, units=PERSONS, add=clipped_sum):
    learner, vector, activations, labels = site
    with learner.lock, OpacusGradients(learner) as gradients:
        learner.load(vector)
        built = site_of(learner, gradients, activations, labels, units=units, terms=terms)
        return add(built, np.array(sorted(sampled), dtype=int), terms=terms).total


@settings(max_examples=15, deadline=None)
@given(
    sampled=st.sets(st.integers(0, 3)),
    norm=st.floats(1e-3, 10.0),
    physical=st.integers(1, 12),
)
def test_one_person_more_changes_the_sum_by_at_most_the_clipping_norm(
    site, terms, sampled, norm, physical
):
    bounded = terms(clipping_norm=norm, physical_batch=physical, unit="person")
    less = total(site, bounded, sampled)
    more = total(site, bounded, sampled | {4})
    assert float((more - less).norm()) <= norm * (1 + 1e-5)
    assert (more - less).any()


def test_a_person_adds_the_clipped_mean_of_their_records(site, terms):
    free = terms(clipping_norm=torch.inf)
    rows = [total(site, free, [row], units=np.arange(12)) for row in range(12)]
    for norm in (0.2, 1e3):
        for person in range(5):
            mean = torch.stack([rows[row] for row in np.flatnonzero(person == PERSONS)]).mean(0)
            expected = mean * min(1.0, norm / float(mean.norm()))
            for physical in (1, 3, 64):
                found = total(site, terms(clipping_norm=norm, physical_batch=physical), [person])
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_the_integer_sum_of_a_person_does_not_depend_on_who_else_is_sampled(site, terms):
    strict = terms(clipping_norm=0.3, unit="person", noise="strict")
    alone = sum(total(site, strict, [person], add=integer_sum) for person in range(5))
    together = total(site, strict, range(5), add=integer_sum)
    assert together.dtype == torch.int64
    assert torch.equal(alone, together)


def test_a_persons_rows_are_sampled_together(site, terms, noise):
    learner, vector, activations, labels = site
    seen = []
    honest = PerSampleGradients.__call__

    def watch(self, batch, labels):
        seen.append(set(batch.rows.tolist()))
        return honest(self, batch, labels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PerSampleGradients, "__call__", watch)
        for _ in range(12):
            seen.clear()
            train_round(
                learner, vector=vector, activations=activations, labels=labels,
                terms=terms(sampling_rate=0.5, unit="person"), noise=noise, units=PERSONS,
            )  # fmt: skip
            rows = set().union(*seen)
            persons = set(PERSONS[sorted(rows)].tolist())
            assert rows == set(np.flatnonzero(np.isin(PERSONS, sorted(persons))).tolist())


def test_persons_and_not_records_join_with_the_sampling_rate(noise):
    sizes = [len(poisson_sample(noise, count=5, rate=0.4)) for _ in range(4000)]
    assert np.mean(sizes) == pytest.approx(2.0, abs=0.1)


def test_a_record_that_breaks_the_arithmetic_takes_its_person_out_and_nobody_else(site, terms):
    learner, vector, activations, labels = site
    hidden = list(activations.hidden)
    hidden[3] = torch.full_like(hidden[3], torch.nan)
    broken = dataclasses.replace(activations, hidden=tuple(hidden))
    found = total((learner, vector, broken, labels), terms(unit="person"), range(5))
    expected = total(site, terms(unit="person"), [1, 2, 3, 4])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_persons_without_the_rows_persons_are_refused(site, terms, noise):
    learner, vector, activations, labels = site
    with pytest.raises(TrainingError, match="whose each record is"):
        train_round(
            learner, vector=vector, activations=activations, labels=labels,
            terms=terms(unit="person"), noise=noise,
        )  # fmt: skip
