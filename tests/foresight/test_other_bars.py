"""Bars on sums of their own, and on several classes, against records drawn one by one.

Every pipeline here is written anew: single records, the sites' tabulation, the charter's noise and
the gate's own rules.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from fedethics.aggregates.agreement import AGREEMENT
from fedethics.aggregates.measures import MEASURES, layout_of_measures
from fedethics.aggregates.measures.gate import examine as judge_measures
from fedethics.aggregates.measures.site import Numbers, tabulate_values
from fedethics.aggregates.paired import PAIRED
from fedethics.aggregates.paired.gate import examine as judge_pairs
from fedethics.charter.annotation_terms import AnnotationTerms
from fedethics.charter.document import load
from fedethics.charter.measure_terms import CounterfactualTerms, MeasureObjective, MeasureTerms
from fedethics.charter.model import Member
from fedethics.charter.paired_terms import PairedObjective, PairedTerms
from fedethics.data.agreement import coincidences as counted_coincidences
from fedethics.errors import FairnessError
from fedethics.fairness.paired import tabulate_pairs
from fedethics.foresight import words
from fedethics.foresight.chances import SHORT, Effort
from fedethics.foresight.of_charter import Declared, foresee
from fedethics.foresight.of_labels import coincidences
from fedethics.foresight.of_measures import SPREAD, drawn
from fedethics.learning_tasks.task import Bounded
from fedethics.privacy.plan import make_plan
from fedethics.release.evidence import Counted

ROOT = Path(__file__).parents[2]
RUNS = 120
TRUTHS = Effort(draws=200, first=200, searched=20)
WHY = "For the test."


def rostered(path):
    members = tuple(
        Member(site=name, public_key=f"{place:02x}" * 32, declared_records=4000)
        for place, name in enumerate(("a", "b", "c", "d"), start=1)
    )
    return dataclasses.replace(load(ROOT / path), roster=members)


@pytest.fixture(scope="module")
def letters():
    asked = MeasureTerms(
        names=("token_accuracy", "token_loss"), feature="addressee", epsilon=0.5,
        objectives=(
            MeasureObjective(metric="token_accuracy", bar=0.60, direction="at-least", why=WHY),
            MeasureObjective(metric="token_loss_difference", bar=0.5, direction="at-most", why=WHY),
        ),
    )  # fmt: skip
    return dataclasses.replace(rostered("examples/sft/letters.charter.toml"), measures=asked)


@pytest.fixture(scope="module")
def heart():
    """The heart charter with its floor on accuracy alone: its tables are drawn elsewhere."""
    charter = rostered("configs/heart.charter.toml")
    floor = tuple(one for one in charter.ethics.objectives if one.metric == "accuracy_score")
    kept = tuple(one for one in floor if not one.feature)
    ethics = dataclasses.replace(charter.ethics, objectives=kept)
    return dataclasses.replace(charter, ethics=ethics)


def near(planned, verdicts):
    """The share of runs that held is the chance that was foreseen, but for what chance allows."""
    real = float(np.mean([verdict == "pass" for verdict in verdicts]))
    middle = min(max((planned + real) / 2, 0.02), 0.98)
    error = math.sqrt(middle * (1 - middle) * (1 / TRUTHS.draws + 1 / len(verdicts)))
    assert abs(planned - real) <= 3.5 * error + 0.02, (planned, real)


def opened(charter, kind, counts, stds, rng):
    noise = np.rint(rng.normal(0, 1, len(counts)) * np.broadcast_to(stds, len(counts)))
    found = Counted(
        kind=kind, round=charter.training.rounds, counts=tuple(map(int, counts + noise))
    )
    evidence = SimpleNamespace(counted=(found,), rounds=())
    return SimpleNamespace(charter=charter, evidence=evidence)


@pytest.mark.slow
@pytest.mark.parametrize("records", [120, 400])
def test_the_chances_of_bars_on_measures_are_those_of_the_real_path(letters, records):
    found = foresee(letters, Declared(records=records), effort=TRUTHS)
    floor, gap = (one for one in found.objectives if "measured of texts" in one.title)
    assert [level.value for level in floor.levels] == pytest.approx([1.0, 0.8, 0.6, 0.2])
    assert [level.value for level in gap.levels] == pytest.approx([0.0, 0.25, 0.5, 1.0])
    rng, layout = np.random.default_rng(5), layout_of_measures(letters)
    plan = MEASURES.of(make_plan(letters).sums)
    stds = np.repeat(
        [plan.values.sum_std, plan.spread.sum_std], [layout.values_length, layout.spread_length]
    )
    size, held = 1 / SPREAD - 1, []
    for _ in range(RUNS):
        # Token accuracy half-way to its bar, loss as large for both groups.
        numbers = {
            "token_accuracy": rng.beta(0.8 * size, 0.2 * size, records),
            "token_loss": rng.beta(0.5 * size, 0.5 * size, records),
        }
        rows = np.arange(records)
        counts = tabulate_values(
            layout, groups=rows % 2,
            numbers={name: Numbers(rows=rows, values=each) for name, each in numbers.items()},
        )  # fmt: skip
        answers = judge_measures(opened(letters, "measures", counts, stds, rng))
        held.append([answer.rule.verdict for answer in answers])
    near(floor.at("half-way").noised.holds, [one[0] for one in held])
    near(gap.at("best").noised.holds, [one[1] for one in held])


def test_sums_of_many_numbers_have_the_moments_of_the_single_ones():
    rng, size = np.random.default_rng(2), 1 / SPREAD - 1
    many = [
        drawn(Bounded(meaning="x"), np.array([0.3]), np.array([50.0]), rng) for _ in range(4000)
    ]
    ours = np.array([[one.hits[0], one.spread[0]] for one in many])
    single = rng.beta(0.3 * size, 0.7 * size, (4000, 50))
    real = np.stack([single.sum(axis=1), (single * (1 - single)).sum(axis=1)], axis=1)
    assert ours.mean(axis=0) == pytest.approx(real.mean(axis=0), rel=0.02)
    assert np.cov(ours.T) == pytest.approx(np.cov(real.T), rel=0.15)


@pytest.mark.slow
def test_the_chances_of_a_change_are_those_of_the_real_path(heart):
    terms = PairedTerms(
        feature="sex", epsilon=0.5,
        objectives=(
            PairedObjective(metric="accuracy_change", bar=-0.06, why=WHY),
            PairedObjective(metric="accuracy_change_group_min", bar=-0.06, why=WHY),
        ),
    )  # fmt: skip
    charter = dataclasses.replace(heart, paired=terms)
    sizes = (200, 400)
    found = foresee(charter, Declared(records=600, groups={"sex": sizes}), effort=TRUTHS)
    every, lowest = (one for one in found.objectives if "before training" in one.title)
    std, rng, held = PAIRED.of(make_plan(charter).sums).noise.sum_std, np.random.default_rng(8), []
    groups = np.repeat([0, 1], sizes)
    for _ in range(RUNS):
        before = rng.random(600) < 0.75
        # One answer in ten changes, either way as often: no change of accuracy.
        after = before.copy()
        chosen = rng.permutation(600)[: rng.binomial(600, 0.1)]
        after[chosen] = rng.random(len(chosen)) < 0.5
        before[chosen] = ~after[chosen]
        counts = tabulate_pairs(groups, before=before, after=after, count=2).ravel()
        answers = judge_pairs(opened(charter, "paired", counts, std, rng))
        held.append([answer.rule.verdict for answer in answers])
    near(every.at("best").noised.holds, [one[0] for one in held])
    near(lowest.at("best").noised.holds, [one[1] for one in held])


def labelled(heart, **changes):
    terms = AnnotationTerms(
        **{"annotators": ("a1", "a2"), "labels": ("0", "1"), "bar": 0.7, "epsilon": 0.2} | changes
    )
    return dataclasses.replace(heart, annotation=terms), terms


@pytest.mark.parametrize("annotators", [("a1", "a2"), ("a1", "a2", "a3", "a4")])
def test_drawn_labels_agree_as_much_as_they_should(heart, annotators):
    _, terms = labelled(heart, annotators=annotators, labels=("0", "1", "2"))
    rng = np.random.default_rng(4)
    matrix = coincidences(terms, 0.6, 4000, rng)
    given = rng.integers(0, 3, (4000, len(annotators)))
    alike = rng.random(4000) < 0.6
    given = np.where(alike[:, None], rng.integers(0, 3, (4000, 1)), given)
    single = counted_coincidences([[str(one) for one in row] for row in given])
    for c in range(3):
        for k in range(3):
            real = single.pairs.get((str(c), str(k)), 0.0)
            assert matrix[c, k] == pytest.approx(real, abs=6 * math.sqrt(real + 1) + 60)
    assert matrix.sum() == pytest.approx(4000 * len(annotators))


def test_agreement_is_foreseen_from_all_records_and_says_which_epsilon_is_meant(heart):
    charter, _ = labelled(heart)
    found = foresee(charter, Declared(records=40), effort=SHORT)
    (one,) = (each for each in found.objectives if each.title == "agreement of annotators")
    assert one.spends == "annotation.epsilon" and not one.can_hold
    assert "annotation.epsilon" in words.remedy(one) or one.hopeless
    # In held-out records, as all advice is, though trained ones are labelled too.
    enough = foresee(charter, Declared(records=one.records), effort=SHORT)
    assert next(each for each in enough.objectives if each.title == one.title).can_hold
    many = foresee(charter, Declared(records=4000), effort=SHORT)
    assert next(each for each in many.objectives if each.title == one.title).can_hold
    # Groups counted apart carry noise each, and a bar of their own.
    terms = dataclasses.replace(charter.annotation, by="sex", group_bar=0.6)
    apart = foresee(
        dataclasses.replace(charter, annotation=terms), Declared(records=4000), effort=SHORT
    )
    titles = [each.title for each in apart.objectives if each.spends == "annotation.epsilon"]
    assert titles == ["agreement of annotators", "agreement of annotators by group"]
    assert all(each.can_hold for each in apart.objectives if each.title in titles)
    assert AGREEMENT.of(make_plan(charter).sums).noise.sum_std > 0


def test_flips_of_swapped_words_are_foreseen_and_the_gate_counts_every_bar(heart):
    swaps = CounterfactualTerms(name="gender", pairs=("he/she",), count=("flips",))
    bar = MeasureObjective(metric="gender_flips", bar=0.05, direction="at-most", why=WHY)
    charter = dataclasses.replace(
        heart, measures=MeasureTerms(epsilon=0.5, counterfactuals=(swaps,), objectives=(bar,))
    )
    found = foresee(charter, Declared(records=2000), effort=SHORT)
    flips = found.objectives[-1]
    assert flips.title == "gender_flips (measured of texts)" and flips.aim == "half-way"
    alone = foresee(heart, Declared(records=2000), effort=SHORT)
    # Independent of the group tables: the chances multiply.
    assert found.best.noised.holds == pytest.approx(
        alone.best.noised.holds * flips.at("half-way").noised.holds
    )
    said = " ".join(words.sentences(found))
    assert "all bars that are foreseen" in said
    assert any("swapped words in 50%" in one for one in found.supposed)


def test_several_classes_are_foreseen_as_the_binomial_law_has_them():
    charter = load(ROOT / "configs" / "heart-levels.charter.toml")
    first = dataclasses.replace(
        charter.ethics.objectives[0],
        metric="accuracy_score", feature="", bar=0.5, direction="at-least",
    )  # fmt: skip
    charter = dataclasses.replace(
        charter, ethics=dataclasses.replace(charter.ethics, objectives=(first,))
    )
    found = foresee(charter, Declared(records=300), effort=TRUTHS)
    (one,) = found.objectives
    z, right = stats.norm.ppf(0.975), np.arange(301)
    centre = (right + z * z / 2) / (300 + z * z)
    half = z * np.sqrt(right * (300 - right) / 300 + z * z / 4) / (300 + z * z)
    for level in one.levels:
        law = stats.binom(300, level.value).pmf(right)
        assert level.exact.holds == pytest.approx(law[centre - half >= 0.5].sum(), abs=0.07)
        assert level.exact.fails == pytest.approx(law[centre + half < 0.5].sum(), abs=0.07)
    assert any("as many records of each class" in said for said in found.supposed)


def test_what_is_declared_of_classes_must_fit_the_charter(heart):
    levels = load(ROOT / "configs" / "heart-levels.charter.toml")
    with pytest.raises(FairnessError, match=r"several classes.*--classes"):
        foresee(levels, Declared(records=100, base_rate=0.3), effort=SHORT)
    with pytest.raises(FairnessError, match="which add up to the 100"):
        foresee(levels, Declared(records=100, classes=(1, 2)), effort=SHORT)
    with pytest.raises(FairnessError, match="not of several classes"):
        foresee(heart, Declared(records=100, classes=(50, 50)), effort=SHORT)


def test_a_task_that_is_not_drawn_still_has_its_measures_foreseen(letters):
    found = foresee(letters, Declared(records=400), effort=SHORT)
    assert found.accuracy is None
    assert all(one.refused for one in found.objectives if "measured" not in one.title)
    assert sum(bool(one.levels) for one in found.objectives) == 2
    assert "all bars that are foreseen" in " ".join(words.sentences(found))
