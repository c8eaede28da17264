"""Shares: any t give the secret, fewer say nothing, wrong ones are found out."""

import os
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedethics.secagg import shamir
from fedethics.secagg.shamir import recover
from tests.secagg.federation import FixedBytes


def is_probable_prime(number):
    """Miller-Rabin with the first 20 primes as bases."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71):
        power = pow(base, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


def test_the_field_has_prime_order_and_holds_every_secret():
    assert is_probable_prime(shamir.PRIME)
    assert not any(is_probable_prime(2**256 + k) for k in range(297))
    assert shamir.PRIME < 256**shamir.SHARE_BYTES


@settings(max_examples=60, deadline=None)
@given(
    secret=st.binary(min_size=32, max_size=32)
    | st.sampled_from([bytes(32), b"\xff" * 32, bytes(31) + b"\x01"]),
    sizes=st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))),
)
def test_every_subset_of_t_shares_gives_the_secret(secret, sizes):
    holders, threshold = sizes
    shares = shamir.split(secret, threshold=threshold, holders=holders, random_bytes=os.urandom)
    for subset in combinations(range(1, holders + 1), threshold):
        assert shamir.combine({x: shares[x - 1] for x in subset}) == secret


def test_t_minus_1_shares_are_uniform_whatever_the_secret():
    random_bytes = FixedBytes("shares")
    counts = np.zeros((2, 2, 64), dtype=int)
    for which, secret in enumerate((bytes(32), b"\xff" * 32)):
        for _ in range(6000):
            shares = shamir.split(secret, threshold=3, holders=4, random_bytes=random_bytes)
            for position in range(2):
                # The top bits below 2**256: uniform over the field to 2**-247.
                counts[which, position, shares[position][1] >> 2] += 1
    for table in counts.reshape(4, 64):
        assert stats.chisquare(table).pvalue > 1e-5
    assert stats.chi2_contingency(counts[:, 0]).pvalue > 1e-5


def test_two_shares_of_three_fit_every_secret():
    shares = shamir.split(b"s" * 32, threshold=3, holders=3, random_bytes=os.urandom)
    points = (1, 2, 3)
    # The secret is the value at 0: weights 3, -3, 1 of the Lagrange row for x = 1, 2, 3.
    for guess in (bytes(32), b"x" * 32, b"\xff" * 32):
        first, second = (int.from_bytes(share, "big") for share in shares[:2])
        third = (int.from_bytes(guess, "big") - 3 * first + 3 * second) % shamir.PRIME
        completed = [*shares[:2], third.to_bytes(33, "big")]
        assert shamir.combine(dict(zip(points, completed, strict=True))) == guess


@pytest.mark.parametrize(
    "shares",
    [{}, {0: bytes(33)}, {-1: bytes(33)}, {1: bytes(32)}, {1: b"\xff" * 33}, {1: b""}],
)
def test_what_is_not_a_share_is_refused(shares):
    with pytest.raises(ValueError):
        shamir.combine(shares)


@pytest.mark.parametrize(("secret", "threshold"), [(b"short", 2), (bytes(32), 0), (bytes(32), 5)])
def test_an_impossible_split_is_refused(secret, threshold):
    with pytest.raises(ValueError):
        shamir.split(secret, threshold=threshold, holders=4, random_bytes=os.urandom)


@pytest.mark.parametrize("wrong", [(1,), (4,), (9,), (1, 5), (2, 8)])
def test_wrong_shares_are_outvoted_and_named(wrong):
    secret = os.urandom(32)
    dealt = shamir.split(secret, threshold=5, holders=9, random_bytes=os.urandom)
    shares = {x: os.urandom(33) if x in wrong else dealt[x - 1] for x in range(1, 10)}
    shares = {x: bytes(1) + share[1:] for x, share in shares.items()}
    honest = {x: dealt[x - 1] for x in range(1, 10) if x not in wrong}
    shares.update(honest)
    found = recover(shares, threshold=5, is_right=lambda guess: guess == secret)
    assert found == (secret, wrong)


def test_too_few_right_shares_recover_nothing():
    secret = os.urandom(32)
    dealt = shamir.split(secret, threshold=5, holders=9, random_bytes=os.urandom)
    few = {x: dealt[x - 1] for x in range(1, 5)}
    assert recover(few, threshold=5, is_right=lambda guess: guess == secret) is None
    few[7] = bytes(33)
    assert recover(few, threshold=5, is_right=lambda guess: guess == secret) is None
