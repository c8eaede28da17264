"""The one-product check of revealed shares says what interpolation, share by share, would say."""

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics.secagg import shamir
from fedethics.secagg.shamir import recover


def dealt(*, threshold, holders, secret=b"s" * 32):
    return shamir.split(secret, threshold=threshold, holders=holders, random_bytes=os.urandom)


def shifted(share, by):
    return ((int.from_bytes(share, "big") + by) % shamir.PRIME).to_bytes(33, "big")


def lie_on_a_polynomial(points, shares, threshold):
    """Interpolate each spare share from the first t ones, by Neville's scheme."""
    for spare, share in zip(points[threshold:], shares[threshold:], strict=True):
        row = [int.from_bytes(first, "big") for first in shares[:threshold]]
        for step in range(1, threshold):
            row = [
                ((spare - points[k + step]) * row[k] + (points[k] - spare) * row[k + 1])
                * pow(points[k] - points[k + step], -1, shamir.PRIME)
                % shamir.PRIME
                for k in range(threshold - step)
            ]
        if row[0] != int.from_bytes(share, "big"):
            return False
    return True


@settings(max_examples=80, deadline=None)
@given(
    sizes=st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))),
    seed=st.integers(0, 2**32),
)
def test_shares_fit_together_exactly_when_interpolation_says_so(sizes, seed):
    holders, threshold = sizes
    choice = random.Random(seed)
    shares = dealt(threshold=threshold, holders=holders)
    points = tuple(sorted(choice.sample(range(1, holders + 1), choice.randint(threshold, holders))))
    revealed = [shares[x - 1] for x in points]
    assert shamir.fit_together(points, revealed, threshold=threshold)
    for place in choice.sample(range(len(points)), choice.randint(0, len(points))):
        revealed[place] = shifted(revealed[place], choice.choice([1, -1, 2**200]))
    expected = lie_on_a_polynomial(points, revealed, threshold)
    assert shamir.fit_together(points, revealed, threshold=threshold) is expected


def test_liars_who_shift_their_shares_alike_are_still_named():
    # Their errors are equal, opposite, or cancel in the plain sum of all shares.
    secret = os.urandom(32)
    shares = dict(enumerate(dealt(threshold=5, holders=11, secret=secret), start=1))
    for errors in ({2: 1, 7: 1}, {2: 1, 7: -1}, {1: 1, 2: -2, 3: 1}):
        revealed = {x: shifted(share, errors.get(x, 0)) for x, share in shares.items()}
        found = recover(revealed, threshold=5, is_right=lambda guess: guess == secret)
        assert found == (secret, tuple(errors))


def test_a_dealer_whose_commitment_is_wrong_costs_one_try(monkeypatch):
    shares = dict(enumerate(dealt(threshold=5, holders=11), start=1))
    tries = []
    combine = shamir.combine
    monkeypatch.setattr(shamir, "combine", lambda chosen: tries.append(chosen) or combine(chosen))
    assert recover(shares, threshold=5, is_right=lambda guess: False) is None
    assert len(tries) == 1


@pytest.mark.parametrize("holders", [40, 300])
def test_a_cohort_of_any_size_agrees_and_one_wrong_share_is_seen(holders):
    threshold = 2 * holders // 3 + 1
    shares = dealt(threshold=threshold, holders=holders)
    points = tuple(range(1, holders + 1))
    assert shamir.fit_together(points, shares, threshold=threshold)
    shares[-1] = shifted(shares[-1], 1)
    assert not shamir.fit_together(points, shares, threshold=threshold)
