"""A verdict follows from its interval; an open one says what records would decide at which rate."""

import re
from dataclasses import replace

import numpy as np
import pytest

from fedethics.errors import FairnessError
from fedethics.fairness import Objective, aggregate, judge, judge_together, overall
from fedethics.fairness.judge import conclude
from fedethics.fairness.together import holm


def groups(*rates, size=1000):
    """Counts of groups of `size` people, half positive, with these selection rates."""
    half = size // 2
    picked = [round(half * rate) for rate in rates]
    return np.array([[[half - k, k], [half - k, k]] for k in picked])


GAP = Objective(
    metric="demographic_parity_difference", feature="feature", bar=0.1, direction="at-most"
)


@pytest.mark.parametrize(
    ("rates", "outcome"),
    [((0.5, 0.5), "holds"), ((0.2, 0.6), "fails"), ((0.5, 0.6), "cannot conclude")],
)
def test_the_whole_interval_must_lie_on_one_side(rates, outcome, from_counts):
    verdict = judge(from_counts(groups(*rates)), GAP)
    assert verdict.outcome == outcome
    low, high = verdict.estimate.low, verdict.estimate.high
    assert {"holds": high <= 0.1, "fails": low > 0.1, "cannot conclude": low <= 0.1 < high}[outcome]
    assert (verdict.remedy != "") == (outcome == "cannot conclude")
    assert "\n" not in verdict.sentence


@pytest.mark.parametrize("rates", [(0.0, 0.0), (1.0, 1.0), (0.004, 0.002)])
@pytest.mark.parametrize(
    "metric", ["demographic_parity_difference", "equalized_odds_difference", "four_fifths"]
)
def test_groups_that_fare_alike_because_nothing_is_decided_do_not_hold(rates, metric, from_counts):
    below = metric == "four_fifths"
    ask = replace(
        GAP, metric=metric, bar=0.0 if below else 1.0, direction="at-least" if below else "at-most"
    )
    verdict = judge(from_counts(groups(*rates)), ask)
    assert verdict.outcome == "cannot conclude"
    if verdict.estimate.value == verdict.estimate.value:
        assert "same answer" in verdict.remedy
    assert judge(from_counts(groups(0.3, 0.3)), ask).outcome == "holds"


def test_a_floor_on_accuracy_may_hold_though_nobody_is_selected(from_counts):
    floor = Objective(
        metric="accuracy_score_group_min", feature="feature", bar=0.4, direction="at-least"
    )
    assert judge(from_counts(groups(0.0, 0.0)), floor).outcome == "holds"


def test_a_bar_from_below_turns_the_sides_around(from_counts):
    tables = from_counts(groups(0.5, 0.5))
    ask = Objective(metric="four_fifths", feature="feature", bar=0.8, direction="at-least")
    assert judge(tables, ask).outcome == "holds"
    assert judge(from_counts(groups(0.2, 0.6)), ask).outcome == "fails"
    floor = Objective(metric="accuracy_score", feature=None, bar=0.4, direction="at-least")
    assert judge(tables, floor).outcome == "holds"
    assert judge(tables, replace(floor, bar=0.6)).outcome == "fails"
    assert judge(tables, replace(floor, bar=overall(tables, "accuracy_score").value)).outcome == (
        "cannot conclude"
    )


def test_noise_turns_a_verdict_into_no_conclusion(from_counts):
    exact = judge(from_counts(groups(0.5, 0.5, size=400)), replace(GAP, bar=0.15))
    assert exact.outcome == "holds"
    hidden = from_counts(groups(0.5, 0.5, size=400), variance=1e4, rng=np.random.default_rng(0))
    verdict = judge(hidden, replace(GAP, bar=0.15))
    assert verdict.outcome == "cannot conclude"
    assert (verdict.estimate.low, verdict.estimate.high) == (0.0, 1.0)
    # Nothing is known that a forecast could start from.
    assert verdict.remedy == ""


def forecasts(remedy):
    """Return {rate: records} of what a remedy says."""
    said = re.findall(r"is ([\d.]+) \([^)]*\), about ([\d,]+) held-out records", remedy)
    return {float(rate): int(records.replace(",", "")) for rate, records in said}


@pytest.mark.parametrize("variance", [0.0, 40.0])
def test_the_records_that_it_names_decide_with_80_percent_if_the_rate_is_so(from_counts, variance):
    """Told of a gap: drawn anew at each rate that it supposes, about 4 in 5 tables decide."""
    rng = np.random.default_rng(5)
    first = from_counts(groups(0.5, 0.56, size=1000), variance=variance, rng=rng)
    verdict = judge(first, GAP)
    assert verdict.outcome == "cannot conclude"
    told = forecasts(verdict.remedy)
    assert len(told) >= 2
    for rate, records in told.items():
        half = records // 4
        picked = rng.binomial(half, [[0.5, 0.5], [0.5 + rate, 0.5 + rate]], (120, 2, 2))
        decided = sum(
            conclude(
                from_counts(np.stack([half - k, k], axis=2), variance=variance, rng=rng), GAP
            ).outcome
            != "cannot conclude"
            for k in picked
        )
        assert 0.68 < decided / 120 < 0.92, (rate, records)


def test_it_names_the_estimate_and_both_limits_each_once(from_counts):
    verdict = judge(from_counts(groups(0.5, 0.56)), GAP)
    assert verdict.remedy.count("decide") == 3
    for what in ("its lower limit", "the estimate", "its upper limit"):
        assert verdict.remedy.count(what) == 1
    alike = judge(from_counts(groups(0.5, 0.5, size=160)), GAP)
    assert alike.remedy.count("decide") == 2 and "its lower limit" not in alike.remedy


def test_a_rate_on_the_bar_is_not_promised_an_end(from_counts):
    verdict = judge(from_counts(groups(0.5, 0.6)), GAP)
    assert "0.100 (the estimate), even 1000 times these records do not decide" in verdict.remedy


def test_an_empty_group_forbids_holds_but_does_not_excuse_a_failure(from_counts):
    nobody = np.zeros((1, 2, 2), int)
    fine = judge(from_counts(np.concatenate([groups(0.5, 0.5), nobody])), GAP)
    assert fine.outcome == "cannot conclude"
    assert "group 2" in fine.sentence and "group 2" in fine.remedy
    bad = judge(from_counts(np.concatenate([groups(0.2, 0.6), nobody])), GAP)
    assert bad.outcome == "fails"


def test_nobody_to_compare_is_no_conclusion_even_with_a_bar_that_anything_meets(from_counts):
    nobody = np.zeros((2, 2, 2), int)
    verdict = judge(from_counts(nobody), replace(GAP, bar=1.0))
    assert verdict.outcome == "cannot conclude"
    assert "has no value" in verdict.sentence
    whole = Objective(metric="true_positive_rate", feature=None, bar=0.0, direction="at-least")
    assert judge(from_counts(nobody), whole).outcome == "cannot conclude"


def test_nobody_selected_anywhere_has_no_ratio_and_says_so(from_counts):
    ask = Objective(metric="four_fifths", feature="feature", bar=0.8, direction="at-least")
    verdict = judge(from_counts(groups(0.0, 0.0)), ask)
    assert verdict.outcome == "cannot conclude"
    assert "is 0: no ratio" in verdict.sentence


def test_the_sentence_names_the_groups_the_figure_the_interval_and_the_bar(from_counts):
    sentence = judge(from_counts(groups(0.2, 0.6)), GAP).sentence
    gap = aggregate(from_counts(groups(0.2, 0.6)), GAP.metric, feature="feature")
    for part in ("fails", "0.400", f"{gap.low:.3f}", f"{gap.high:.3f}", "at most 0.1", "95 %"):
        assert part in sentence
    assert "lowest for group 0 (0.200)" in sentence
    assert "highest for group 1 (0.600)" in sentence


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metric": "equalised_odds"}, "Nearest: .*equalized_odds_difference"),
        ({"metric": "log_loss_group_max"}, "no bound that score bins"),
        ({"metric": "selection_rate"}, "selection_rate_difference"),
        ({"feature": None}, "needs a sensitive feature"),
        ({"bar": 1.2}, r"outside its range \[0, 1\]"),
        ({"bar": -0.1}, "outside its range"),
        ({"bar": float("nan")}, "outside its range"),
        ({"direction": "at-least"}, "reward disparity"),
        ({"direction": "below"}, "at-most"),
        ({"confidence": 1.0}, "confidence"),
        ({"confidence": 95.0}, "confidence"),
    ],
)
def test_an_objective_that_cannot_be_judged_is_refused(changes, says):
    with pytest.raises(FairnessError, match=says):
        replace(GAP, **changes)


def test_an_objective_on_an_undeclared_feature_is_refused(from_counts):
    with pytest.raises(FairnessError, match="'race' is not declared; declared: feature"):
        judge(from_counts(groups(0.5, 0.5)), replace(GAP, feature="race"))


def expected_failures(p_values, error):
    """Holm's steps as written: the smallest against error / k, the next against error / (k - 1)."""
    failed = set()
    for looks, place in zip(
        range(len(p_values), 0, -1), sorted(range(len(p_values)), key=p_values.__getitem__),
        strict=True,
    ):  # fmt: skip
        if p_values[place] > error / looks:
            break
        failed.add(place)
    return failed


def test_holm_takes_the_smallest_first():
    rng = np.random.default_rng(0)
    for _ in range(300):
        p_values = list(rng.random(int(rng.integers(0, 7))) ** 5)
        found = holm(lambda place, looks, p=p_values: p[place] <= 0.05 / looks, len(p_values))
        assert found == expected_failures(p_values, 0.05)


def test_an_objective_that_fails_alone_among_many_says_so(from_counts):
    tables = from_counts(groups(0.5, 0.5, size=400))
    just = overall(tables, "selection_rate").high + 0.002
    floor = Objective(metric="selection_rate", feature=None, bar=just, direction="at-least")
    others = [replace(GAP, bar=0.9)] * 4
    assert judge_together(tables, [floor])[0].outcome == "fails"
    verdict, *rest = judge_together(tables, [floor, *others])
    assert (verdict.outcome, verdict.fails_alone) == ("cannot conclude", True)
    assert "fails alone" in verdict.sentence and "5 objectives" in verdict.remedy
    assert verdict.estimate == judge(tables, floor).estimate
    assert {one.outcome for one in rest} == {"holds"}
    # What fails clearly fails in any company.
    clear = judge_together(tables, [replace(floor, bar=0.9), floor, *others])
    assert [one.outcome for one in clear[:2]] == ["fails", "cannot conclude"]


def test_truths_at_their_bars_fail_a_gate_as_rarely_as_one_alone():
    # Twenty statistics, each exactly at its bar: which gates would fail, and which pass?
    from scipy.stats import norm

    draws = np.random.default_rng(1).normal(size=(4000, 20))
    uncorrected = corrected = passed = 0
    for row in draws:
        tail = 2 * norm.cdf(row)
        uncorrected += bool((tail <= 0.05).any())
        corrected += bool(holm(lambda place, looks, p=tail: p[place] <= 0.05 / looks, 20))
        passed += bool((2 * norm.sf(row) <= 0.05).all())
    assert uncorrected / 4000 > 0.35
    assert corrected / 4000 <= 0.025 + 3 * (0.025 * 0.975 / 4000) ** 0.5
    assert passed == 0
