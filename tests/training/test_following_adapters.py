"""The server step that a site repeats: equal bits in plain forms, a rotation at most in fedsvd."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from fedethics.charter.document import load
from fedethics.charter.model import Member
from fedethics.training.factors import pairs
from fedethics.training.server_step import follows, in_form, plain_step
from tests.privacy.charters import HEART

DECLARED = {"a": 200, "b": 172, "c": 31, "d": 86}


def _charter(trust: str):
    draft = load(HEART)
    roster = tuple(
        Member(site=site, public_key=f"{n:064x}", declared_records=records)
        for n, (site, records) in enumerate(DECLARED.items())
    )
    mode = dataclasses.replace(draft.privacy.training, trust_mode=trust, clipping_norm=0.7)
    privacy = dataclasses.replace(draft.privacy, training=mode)
    return dataclasses.replace(draft, roster=roster, privacy=privacy)


def _round(exact: Fraction) -> float:
    """The float64 next to a fraction: what one IEEE operation gives."""
    return exact.numerator / exact.denominator


def _by_hand(charter, start: float, total: int, survivors) -> float:
    """One coordinate of the step in exact fractions, rounded where the rule rounds."""
    rate = charter.training.server_learning_rate
    if charter.privacy.training.trust_mode == "local":
        weight = 0.0
        for site in sorted(survivors):
            weight = _round(
                Fraction(weight)
                + Fraction(_round(Fraction(DECLARED[site], sum(DECLARED.values()))))
            )
        mean = _round(
            Fraction(_round(Fraction(total) / Fraction(charter.secagg.scale))) / Fraction(weight)
        )
    else:
        from fedethics.privacy.gaussian_shares import NORM_STEPS

        terms = charter.privacy.training
        unit = _round(Fraction(terms.clipping_norm) / NORM_STEPS)
        declared = sum(DECLARED[site] for site in survivors)
        per = _round(Fraction(terms.sampling_rate) * declared)
        mean = _round(Fraction(_round(Fraction(total) * Fraction(unit))) / Fraction(per))
        mean = _round(Fraction(-charter.training.learning_rate) * Fraction(mean))
    moved = _round(Fraction(_round(Fraction(rate) * Fraction(mean))) + Fraction(start))
    return float(np.float32(moved))


@pytest.mark.parametrize("trust", ["local", "distributed"])
@pytest.mark.parametrize("survivors", [("a", "b", "c"), ("d", "b", "a", "c"), ("c", "d", "a")])
def test_a_plain_step_is_its_rule_in_exact_arithmetic_bit_for_bit(trust, survivors):
    charter, rng = _charter(trust), np.random.default_rng(5)
    start = rng.normal(scale=0.1, size=300).astype(np.float32)
    total = rng.integers(-(2**38), 2**38, size=300)
    after = plain_step(start, charter=charter, total=total, survivors=survivors)
    expected = [
        _by_hand(charter, float(s), int(t), survivors)
        for s, t in zip(start.tolist(), total.tolist(), strict=True)
    ]
    assert after.dtype == np.float32
    assert after.tobytes() == np.array(expected, dtype=np.float32).tobytes()


def test_a_plain_step_does_not_depend_on_where_a_coordinate_stands_or_in_which_order_sites_are():
    charter, rng = _charter("local"), np.random.default_rng(6)
    start = rng.normal(size=1003).astype(np.float32)
    total = rng.integers(-(2**40), 2**40, size=1003)
    whole = plain_step(start, charter=charter, total=total, survivors=("a", "b", "c", "d"))
    turned = plain_step(start, charter=charter, total=total, survivors=("d", "c", "b", "a"))
    assert whole.tobytes() == turned.tobytes()
    for cut in (slice(1, None), slice(3, 700), slice(None, None, 7)):
        part = plain_step(
            start[cut], charter=charter, total=total[cut], survivors=("a", "b", "c", "d")
        )
        assert part.tobytes() == whole[cut].tobytes()


@pytest.fixture
def fedsvd(tiny, moved):
    learner = tiny(form="fedsvd", layers=(1, 2))
    return learner, moved(learner)


def _turned(learner, vector, seed: int, pair_number: int = 0):
    """The same adapter with one pair's factors rotated: another library's SVD, at the utmost."""
    pair = pairs(learner)[pair_number]
    a, b = pair.read(vector)
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(a), len(a))))
    turned = vector.copy()
    turned[pair.a] = (q @ a).astype(np.float32).ravel()
    turned[pair.b] = (b @ q.T).astype(np.float32).ravel()
    return turned


def test_a_rotation_of_the_factors_follows_and_its_scores_are_the_same(fedsvd, texts):
    learner, plain = fedsvd
    agreed = in_form(learner, plain, "fedsvd")
    assert follows(learner, agreed, plain, "fedsvd")
    activations = learner.activations(texts)
    for seed in range(5):
        turned = _turned(learner, agreed, seed)
        assert turned.tobytes() != agreed.tobytes()
        assert follows(learner, turned, plain, "fedsvd")
        np.testing.assert_allclose(
            learner.scores(turned, activations), learner.scores(agreed, activations), atol=1e-5
        )


def _chosen(learner, agreed):
    """What a coordinator could try beyond a rotation."""
    pair, rng = pairs(learner)[1], np.random.default_rng(8)
    a, b = pair.read(agreed)
    head = np.ones(agreed.size, dtype=bool)
    for each in pairs(learner):
        head[each.a] = head[each.b] = False
    place = int(np.flatnonzero(head)[0])

    def with_factors(new_a, new_b):
        vector = agreed.copy()
        vector[pair.a], vector[pair.b] = new_a.ravel(), new_b.ravel()
        return vector.astype(np.float32)

    other_a, _ = np.linalg.qr(rng.normal(size=a.T.shape))
    off = agreed.copy()
    off[place] = np.nextafter(off[place], np.float32(9))
    nan = agreed.copy()
    nan[place] = np.nan
    return {
        "a last bit of the head": off,
        "a NaN": nan,
        "a larger product": with_factors(a, b * 1.001),
        "another product": with_factors(a, b + 1e-3 * rng.normal(size=b.shape)),
        "rows that are not of length 1": with_factors(a * 2, b / 2),
        "other rows": with_factors(other_a.T, b),
        "rows with a little of others": with_factors(*_tilted(a, b, other_a.T[0])),
        "zeros": np.zeros_like(agreed),
        "one coordinate too few": agreed[:-1],
    }


def _tilted(a, b, towards):
    tilted = a.copy()
    tilted[0] += 1e-3 * towards
    q, r = np.linalg.qr(tilted.T)
    return q.T, b @ r.T


def test_nothing_beyond_a_rotation_follows(fedsvd):
    learner, plain = fedsvd
    agreed = in_form(learner, plain, "fedsvd")
    for what, vector in _chosen(learner, agreed).items():
        assert not follows(learner, vector, plain, "fedsvd"), what


def test_a_product_of_zero_does_not_leave_the_rows_free(fedsvd):
    # B is zero after a round without movement: any A has the same product.
    learner, _ = fedsvd
    start = learner.initial_vector()
    agreed = in_form(learner, start, "fedsvd")
    assert follows(learner, agreed, start, "fedsvd")
    pair = pairs(learner)[0]
    a, _ = pair.read(agreed)
    rows, _ = np.linalg.qr(np.random.default_rng(9).normal(size=a.T.shape))
    chosen = agreed.copy()
    chosen[pair.a] = rows.T.astype(np.float32).ravel()
    assert not follows(learner, chosen, start, "fedsvd")


@pytest.mark.parametrize("form", ["ffa", "both", "alternating", "fed-sb"])
def test_the_plain_forms_follow_bit_for_bit_or_not_at_all(tiny, moved, form):
    learner = tiny(form=form, layers=(1, 2))
    vector = moved(learner)
    assert follows(learner, vector.copy(), vector, form)
    for place in (0, vector.size // 2, vector.size - 1):
        other = vector.copy()
        other[place] = np.nextafter(other[place], np.float32(9))
        assert not follows(learner, other, vector, form)
