"""Chances of verdicts, against records tabulated one by one, binomials and the normal law."""

import math

import numpy as np
import pytest
from scipy import stats

from fedethics.errors import FairnessError
from fedethics.fairness import Objective, tabulate
from fedethics.fairness.needed import POWER
from fedethics.foresight import words
from fedethics.foresight.draws import NO_NOISE, Drawing, TableNoise
from fedethics.foresight.forecast import forecast
from fedethics.foresight.kinds import score_shares
from fedethics.foresight.models import fair
from fedethics.foresight.population import population

ACCURACY = Objective(metric="accuracy_score", feature=None, bar=0.65, direction="at-least")
MISSED = Objective(
    metric="equal_opportunity_difference", feature="sex", bar=0.15, direction="at-most"
)
SEX = {"sex": (58, 199)}
SICK = {"sex": (15 / 58, 120 / 199)}


def foreseen(layout, *objectives, records=257, noise=NO_NOISE, noise_at=None, **declared):
    people = population(layout, records=records, **({"groups": {}} | declared))
    return forecast(
        [(one.metric, one) for one in objectives],
        people,
        noise=noise,
        noise_at=noise_at or (lambda _: NO_NOISE),
        epsilon=3.0,
        sites=4,
        accuracy=0.75,
    )


@pytest.fixture(scope="module")
def drawing(layout):
    return Drawing.of(layout, sites=4)


def test_tables_of_drawn_types_are_those_of_records_tabulated_one_by_one(layout, drawing):
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, len(drawing.entries), 500)
    cell, label, score_bin = np.unravel_index(kinds, (6, 2, layout.bins))
    groups = np.stack(np.unravel_index(cell, (2, 3)), axis=1)
    whole = tabulate(layout, groups=groups, labels=label, scores=(score_bin + 0.5) / layout.bins)
    counted = np.bincount(kinds, minlength=len(drawing.entries))
    assert (drawing._vector(counted) == whole).all()


def test_a_model_selects_as_many_as_it_says_and_ranks_as_the_binormal_law(layout, drawing):
    people = population(layout, records=100, groups={}, base_rate=0.3)
    tables = drawing.expected(people, fair(layout, 0.8))
    counts = tables.counts.sum(axis=0) / tables.counts.sum()
    assert counts == pytest.approx(np.array([[0.56, 0.14], [0.06, 0.24]]), abs=1e-4)
    shares = score_shares(layout, fair(layout, 0.8))[0]
    wins = np.tril(np.outer(shares[1], shares[0]), -1).sum() + 0.5 * (shares[1] @ shares[0])
    separation = 2 * stats.norm.ppf(0.8)
    assert wins == pytest.approx(stats.norm.cdf(separation / math.sqrt(2)), abs=0.002)


def test_noise_has_the_planned_variance_and_exact_tables_have_none(layout, drawing):
    people = population(layout, records=50, groups={})
    noise = TableNoise(counts=9.0, histogram=4.0)
    rng = np.random.default_rng(1)
    apart = []
    for _, (noised, exact) in zip(
        range(40), drawing.draw(people, fair(layout, 0.7), noise, rng), strict=False
    ):
        assert exact.counts.sum() == exact.histogram.sum() == 50
        assert (noised.counts_variance, noised.histogram_variance) == (9.0, 4.0)
        apart.append(
            [(noised.counts - exact.counts).var(), (noised.histogram - exact.histogram).var()]
        )
    assert np.mean(apart, axis=0) == pytest.approx([9.0, 4.0], rel=0.15)


def test_a_floor_without_noise_holds_and_fails_as_often_as_wilsons_interval_does(layout):
    """Against the binomial law: at which counts is the limit on one side of the bar?"""
    found = foreseen(layout, ACCURACY, records=200).objectives[0]
    z, right = stats.norm.ppf(0.975), np.arange(201)
    centre = (right + z * z / 2) / (200 + z * z)
    half = z * np.sqrt(right * (200 - right) / 200 + z * z / 4) / (200 + z * z)
    for level in found.levels:
        law = stats.binom(200, level.value).pmf(right)
        holds, fails = law[centre - half >= 0.65].sum(), law[centre + half < 0.65].sum()
        assert level.exact.holds == pytest.approx(holds, abs=0.06)
        assert level.exact.fails == pytest.approx(fails, abs=0.06)
    assert [round(level.value, 3) for level in found.levels] == [1.0, 0.825, 0.65, 0.3]


def test_with_15_sick_women_no_epsilon_lets_the_gap_hold_and_enough_records_do(layout):
    found = foreseen(
        layout, MISSED, noise=TableNoise(counts=5.0, histogram=5.0), groups=SEX, base_rates=SICK
    )
    one = found.objectives[0]
    assert one.hopeless and math.isinf(one.epsilon) and not one.can_hold
    assert one.at("best").exact.holds < 0.05
    assert found.best.noised.holds == found.best.exact.holds == 0.0
    said = " ".join(words.sentences(found))
    assert "No epsilon would do with these records" in said
    # |difference| + w <= bar with 80 %, its standard deviation w / z95: w = bar / (1 + z90 / z95).
    sick = np.array([15, 120]) * one.records / 257
    variance = 0.1875 / sick + (0.75**2 + 0.25**2) * 3 * 5.0 / sick**2
    width = stats.norm.ppf(0.975) * math.sqrt(variance.sum())
    assert width == pytest.approx(
        0.15 / (1 + stats.norm.ppf(0.9) / stats.norm.ppf(0.975)), rel=0.12
    )
    again = foreseen(
        layout, MISSED, noise=TableNoise(counts=5.0, histogram=5.0),
        records=one.records, groups={}, base_rates=SICK,
    ).objectives[0]  # fmt: skip
    assert again.can_hold and again.records == one.records


def test_less_noise_is_advised_where_it_would_do_and_its_epsilon_is_named(layout):
    loud = TableNoise(counts=400.0, histogram=400.0)
    found = foreseen(
        layout, ACCURACY, records=400, noise=loud,
        noise_at=lambda epsilon: loud.times(3.0 / epsilon),
    )  # fmt: skip
    one = found.objectives[0]
    assert not one.can_hold and not one.hopeless
    assert 3.0 < one.epsilon < math.inf and one.records > 400
    assert one.at("half-way").exact.holds >= POWER
    assert "evaluation epsilon of about" in words.remedy(one)


def test_the_same_terms_give_the_same_answer(layout):
    first, second = (foreseen(layout, ACCURACY, records=400) for _ in range(2))
    assert words.document(first) == words.document(second)


def test_a_ratio_is_foreseen_down_to_twice_as_far_from_one_as_its_bar(layout):
    ask = Objective(metric="four_fifths", feature="sex", bar=0.8, direction="at-least")
    one = foreseen(layout, ask, records=4000).objectives[0]
    assert [level.value for level in one.levels] == pytest.approx([1.0, 0.9, 0.8, 0.6], abs=0.005)
    assert one.at("best").exact.holds == 1.0 and one.at("twice").exact.fails == 1.0
    assert one.at("bar").exact.holds < 0.1


def test_what_the_planner_cannot_draw_is_refused_by_name(layout):
    swapped = Objective(
        metric="counterfactual_flip_rate", feature="sex", bar=0.1, direction="at-most"
    )
    found = foreseen(layout, swapped, ACCURACY, records=60)
    assert "word swapped" in found.objectives[0].refused and found.objectives[1].levels
    assert "Not foreseen: counterfactual_flip_rate" in " ".join(words.sentences(found))
    people = population(layout, records=60, groups={})
    for accuracy in (0.5, 1.0, float("nan")):
        with pytest.raises(FairnessError, match="--accuracy"):
            forecast(
                [], people, noise=NO_NOISE, noise_at=lambda _: NO_NOISE, epsilon=1.0, sites=3,
                accuracy=accuracy,
            )  # fmt: skip
