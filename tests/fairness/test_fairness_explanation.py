"""Sums of score changes: what a site adds, what one record can move, what the sums say."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics.errors import FairnessError
from fedethics.fairness import (
    Explained,
    Layout,
    Objective,
    SensitiveFeature,
    Tables,
    aggregate,
    by_group,
    importance,
    importance_by_group,
    importance_gaps,
    judge,
    overall,
    tabulate,
    tabulate_explanation,
)

SEX = SensitiveFeature(name="sex", groups=("Female", "Male"))
RACE = SensitiveFeature(name="race", groups=("a", "b", "c"))
COLUMNS = ("pain", "pulse")
LAYOUT = Layout(
    features=(SEX, RACE),
    explained=Explained(columns=COLUMNS, by=SEX, swaps=(RACE, SEX), largest_change=0.25, steps=64),
)


class People:
    """Invented records and the scores of a model that sees them in every changed form."""

    def __init__(self, count: int, seed: int, *, spread: float = 0.4) -> None:
        rng = np.random.default_rng(seed)
        self.groups = np.stack([rng.integers(2, size=count), rng.integers(3, size=count)], axis=1)
        self.labels = rng.integers(2, size=count)
        self.scores = rng.random(count)
        near = lambda *shape: np.clip(  # noqa: E731
            self.scores.reshape(-1, *[1] * (len(shape) - 1)) + rng.normal(0, spread, shape), 0, 1
        )
        self.occluded = {name: near(count) for name in COLUMNS}
        self.swapped = {"race": near(count, 2), "sex": near(count, 1)}

    def take(self, keep) -> People:
        chosen = object.__new__(People)
        chosen.groups, chosen.labels = self.groups[keep], self.labels[keep]
        chosen.scores = self.scores[keep]
        chosen.occluded = {name: values[keep] for name, values in self.occluded.items()}
        chosen.swapped = {name: values[keep] for name, values in self.swapped.items()}
        return chosen

    def changes(self, layout: Layout = LAYOUT) -> np.ndarray:
        return tabulate_explanation(
            layout,
            groups=self.groups,
            scores=self.scores,
            occluded=self.occluded,
            swapped=self.swapped,
        )

    def vector(self, layout: Layout = LAYOUT) -> np.ndarray:
        told = tabulate(layout, groups=self.groups, labels=self.labels, scores=self.scores)
        return np.concatenate([told, self.changes(layout)])


def opened(vector, layout: Layout = LAYOUT, **variances) -> Tables:
    stated = {"counts_variance": 0.0, "histogram_variance": 0.0} | variances
    return Tables.from_vector(vector, layout=layout, sites=4, **stated)


def counted(change: float) -> float:
    """A change as it counts: cut at 0.25 and rounded to 64 steps of it."""
    return round(min(abs(change), 0.25) / 0.25 * 64) / 64 * 0.25


def test_sums_of_sites_equal_a_loop_over_all_their_people():
    sites = [People(count, seed) for seed, count in enumerate((40, 25, 60, 33))]
    tables = opened(sum(site.vector() for site in sites))
    total = sum(len(site.scores) for site in sites)
    for column in COLUMNS:
        changes = [
            (int(sex), counted(changed - score))
            for site in sites
            for (sex, _), score, changed in zip(
                site.groups, site.scores, site.occluded[column], strict=True
            )
        ]
        expected = sum(change for _, change in changes) / total
        assert importance(tables)[column].value == pytest.approx(expected, abs=1e-12)
        by_sex = importance_by_group(tables)[column]
        means = [np.mean([c for sex, c in changes if sex == group]) for group in (0, 1)]
        assert [by_sex[name].value for name in SEX.groups] == pytest.approx(means, abs=1e-12)
        gap = importance_gaps(tables)[column]
        assert gap.value == pytest.approx(abs(means[0] - means[1]), abs=1e-12)
        assert gap.low <= gap.value <= gap.high


def test_flips_and_shifts_equal_a_loop_over_all_their_people():
    people = People(150, 7)
    tables = opened(people.vector())
    seen = {name: {group: [] for group in f.groups} for name, f in (("sex", SEX), ("race", RACE))}
    for row, score in enumerate(people.scores):
        for place, feature in enumerate((SEX, RACE)):
            others = people.swapped[feature.name][row]
            flips = any((other >= 0.5) != (score >= 0.5) for other in others)
            largest = max((other - score for other in others), key=abs)
            group = feature.groups[people.groups[row, place]]
            seen[feature.name][group].append((flips, score >= 0.5, largest))
    for feature, groups in seen.items():
        for metric, of in {
            "flip_rate": lambda flips, _was, _by: flips,
            "flip_to_positive_rate": lambda flips, was, _by: flips and not was,
            "flip_to_negative_rate": lambda flips, was, _by: flips and was,
            "swap_shift": lambda _flips, _was, by: counted(by),
            "swap_rise": lambda _flips, _was, by: counted(by) * (by > 0),
            "swap_fall": lambda _flips, _was, by: counted(by) * (by < 0),
        }.items():
            found = by_group(tables, metric, feature=feature)
            for group, records in groups.items():
                expected = np.mean([of(*record) for record in records])
                assert found[group].estimate.value == pytest.approx(expected, abs=1e-12)
        everyone = [record for records in groups.values() for record in records]
        rate = aggregate(tables, "counterfactual_flip_rate", feature=feature)
        assert rate.value == pytest.approx(np.mean([flips for flips, *_ in everyone]), abs=1e-12)
        shift = aggregate(tables, "counterfactual_score_shift", feature=feature)
        assert shift.value == pytest.approx(np.mean([counted(by) for *_, by in everyone]))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 12))
def test_one_record_moves_no_more_than_the_layout_promises(seed, count):
    people, explained = People(count, seed, spread=3.0), LAYOUT.explained
    whole = people.changes()
    assert len(whole) == explained.length
    for left_out in range(count):
        change = whole - people.take(np.arange(count) != left_out).changes()
        effects, flips = change[: explained.effects_length], change[explained.effects_length :]
        assert (effects >= 0).all()
        assert np.count_nonzero(effects) <= explained.changes
        assert effects.max() <= explained.steps
        # One entry of each swapped feature's flips: race has 6 of them, sex 4.
        for block in (flips[:6], flips[6:]):
            assert block.sum() <= 1 and (block >= 0).all()


def test_the_bound_is_reached_so_less_noise_would_not_do():
    people = People(1, 0)
    people.scores[:] = 0.0
    people.occluded = {name: np.ones(1) for name in COLUMNS}
    people.swapped = {"race": np.ones((1, 2)), "sex": np.ones((1, 1))}
    change = people.changes()
    assert sorted(change[change > 0]) == [1, 1, 64, 64, 64, 64]


def test_without_noise_no_change_is_certainly_none_and_its_interval_says_how_surely():
    people = People(200, 3)
    people.occluded = {name: people.scores.copy() for name in COLUMNS}
    people.swapped = {name: np.repeat(people.scores[:, None], n, 1)
                      for name, n in (("race", 2), ("sex", 1))}  # fmt: skip
    tables = opened(people.vector())
    assert [(one.value, one.low) for one in importance(tables).values()] == [(0, 0)] * 2
    flips = aggregate(tables, "counterfactual_flip_rate", feature="sex")
    # Wilson's upper limit for 0 of 200.
    assert flips.high == pytest.approx(1.96**2 / (200 + 1.96**2), rel=1e-3)


def _noised(rng, people: People, variances: tuple[float, float, float]) -> Tables:
    vector, cut = people.vector(), LAYOUT.tables_length
    ends = (cut, cut + LAYOUT.explained.effects_length, len(vector))
    for start, end, variance in zip((0, *ends[:2]), ends, variances, strict=True):
        if variance:
            vector[start:end] += rng.poisson(variance / 2, end - start)
            vector[start:end] -= rng.poisson(variance / 2, end - start)
    return opened(
        vector,
        counts_variance=variances[0],
        histogram_variance=variances[0],
        effects_variance=variances[1],
        flips_variance=variances[2],
    )


@pytest.mark.parametrize("variances", [(0, 0, 0), (2, 64**2 * 8, 4), (40, 64**2 * 100, 60)])
@pytest.mark.parametrize("count", [60, 400])
def test_intervals_cover_the_truth_as_often_as_they_say(variances, count):
    # Everyone flips with probability 0.2; half of the occluded scores change by more than counts.
    rng = np.random.default_rng([count, int(variances[0])])
    repeats, missed = 300, {"flips": 0, "importance": 0, "gap": 0}
    for _ in range(repeats):
        people = People(count, int(rng.integers(2**32)))
        people.scores = np.where(rng.random(count) < 0.5, 0.45, 0.55)
        flip = rng.random(count) < 0.2
        people.swapped["sex"] = np.where(flip, 1.0 - people.scores, people.scores)[:, None]
        change = np.where(rng.random(count) < 0.5, 0.375, 0.0625)
        people.occluded["pain"] = people.scores - change
        tables = _noised(rng, people, variances)
        flips = aggregate(tables, "counterfactual_flip_rate", feature="sex")
        missed["flips"] += not flips.low <= 0.2 <= flips.high
        found = importance(tables)["pain"]
        missed["importance"] += not found.low <= 0.5 * (0.25 + 0.0625) <= found.high
        gap = importance_gaps(tables)["pain"]
        missed["gap"] += not gap.low <= 0.0 <= gap.high
    # 95 %, less four standard errors of 300 repeats.
    assert max(missed.values()) / repeats <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / repeats), missed


def test_an_interval_that_ignored_the_noise_would_miss():
    rng, missed = np.random.default_rng(5), 0
    for _ in range(200):
        people = People(60, int(rng.integers(2**32)))
        people.swapped["sex"] = people.scores[:, None].copy()
        tables = _noised(rng, people, (40, 64**2 * 100, 60))
        deaf = replace(
            tables.explanation.swaps["sex"],
            flips_variance=0.0,
        )
        explanation = replace(tables.explanation, swaps={"sex": deaf})
        found = aggregate(
            replace(tables, explanation=explanation), "counterfactual_flip_rate", feature="sex"
        )
        missed += found.low > 0.0
    assert missed > 20


def _objective(bar: float) -> Objective:
    return Objective(metric="counterfactual_flip_rate", feature="sex", bar=bar, direction="at-most")


@pytest.mark.parametrize(
    ("flips", "bar", "outcome"),
    [(0, 0.05, "holds"), (120, 0.05, "fails"), (14, 0.05, "cannot conclude")],
)
def test_flips_are_judged_against_their_bar(flips, bar, outcome):
    people = People(300, 1)
    people.swapped["sex"] = people.scores[:, None].copy()
    people.swapped["sex"][:flips, 0] = people.scores[:flips] < 0.5
    verdict = judge(opened(people.vector()), _objective(bar))
    assert verdict.outcome == outcome
    assert verdict.estimate.value == pytest.approx(flips / 300)
    assert "decision changes when their group's word is swapped" in verdict.sentence
    assert bool(verdict.remedy) == (outcome == "cannot conclude")


def test_no_flips_of_a_model_that_decides_nothing_are_no_merit():
    people = People(300, 1)
    people.scores = people.scores * 0.4
    people.swapped["sex"] = people.scores[:, None].copy()
    verdict = judge(opened(people.vector()), _objective(0.05))
    assert verdict.outcome == "cannot conclude"


def test_a_group_too_small_to_show_is_told_apart_nowhere():
    people = People(300, 2)
    people.groups[:, 0] = 1
    people.groups[:5, 0] = 0
    tables = opened(people.vector(), counts_variance=1.0)
    withheld = importance_by_group(tables)["pain"]["Female"]
    assert np.isnan(withheld.value) and "withheld" in withheld.note
    assert np.isnan(importance_gaps(tables)["pain"].value)
    assert by_group(tables, "flip_rate", feature="sex")["Female"].suppressed


def test_what_was_not_collected_is_refused_by_name():
    people, plain = People(50, 4), replace(LAYOUT, explained=Explained())
    told = tabulate(plain, groups=people.groups, labels=people.labels, scores=people.scores)
    tables = opened(told, plain)
    for ask in (
        lambda: importance(tables),
        lambda: by_group(tables, "flip_rate", feature="sex"),
        lambda: judge(tables, _objective(0.1)),
        lambda: overall(tables, "flip_rate"),
    ):
        with pytest.raises(FairnessError, match=r"ethics\.explanation"):
            ask()
    with pytest.raises(FairnessError, match="the one whose word is swapped"):
        Objective(metric="flip_rate", feature=None, bar=0.1, direction="at-most")


@pytest.mark.parametrize("wrong", [np.nan, 1.5, -0.1])
def test_a_changed_score_that_is_none_is_refused_without_saying_whose(wrong):
    people = People(9, 4)
    people.occluded["pulse"][3] = wrong
    with pytest.raises(FairnessError, match=r"^1 scores \(pulse\) are not numbers"):
        people.changes()


def test_scores_of_another_column_are_refused():
    people = People(9, 4)
    del people.occluded["pulse"]
    with pytest.raises(FairnessError, match="layout asks for"):
        people.changes()


def test_blocks_do_not_overlap():
    explained = LAYOUT.explained
    assert (explained.effects_length, explained.flips_length) == (2 * 2 + 6 + 4, 6 + 4)
    assert explained.changes == 4
    # Each entry alone, set to one, comes back as exactly one figure.
    for place in range(explained.length):
        vector = np.zeros(LAYOUT.length, dtype=np.int64)
        vector[LAYOUT.tables_length + place] = 64
        found = opened(vector).explanation
        sums = [
            found.effects,
            *itertools.chain(*((s.flips, s.shifts) for s in found.swaps.values())),
        ]
        assert sum(np.count_nonzero(block) for block in sums) == 1


def test_changes_below_half_a_step_are_not_called_none():
    # Each of 20,000 scores moves by 0.0038, which rounds to no step of 1/128.
    layout = Layout(features=(SEX,), explained=Explained(swaps=(SEX,), largest_change=0.5))
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 2, (20_000, 1))
    scores = rng.uniform(0.2, 0.4, 20_000)
    vector = np.concatenate(
        [
            tabulate(layout, groups=groups, labels=(scores > 0.3).astype(np.int8), scores=scores),
            tabulate_explanation(
                layout,
                groups=groups,
                scores=scores,
                occluded={},
                swapped={SEX.name: scores[:, None] + 0.0038},
            ),
        ]
    )
    tables = Tables.from_vector(
        vector, layout=layout, counts_variance=0.0, histogram_variance=0.0, sites=4
    )
    shift = aggregate(tables, "counterfactual_score_shift", feature=SEX.name)
    assert shift.low <= 0.0038 <= shift.high
