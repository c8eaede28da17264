"""All bars of a charter are one family: which of them fail, and what the verdict claims."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import norm

from fedethics.aggregates.at_gate import EXAMINED
from fedethics.release.rules.bars import Bar, of_rules, together
from fedethics.release.rules.rule import Measurement, Rule, overall


def rule(verdict, *, bar=0.5, topic="people", name="a bar"):
    figure = None if bar is None else Measurement(value=0.4, low=0.3, high=0.45, bar=bar)
    return Rule(
        name=name, topic=topic, verdict=verdict, figure=figure, sentence="Missed.", evidence="e"
    )


def bar_of(p_value, *, error=0.05, name="a bar"):
    """A bar whose interval lies on the wrong side as long as its error is above `p_value`."""
    alone = rule("fail" if p_value <= error else "pass", name=name)
    return Bar(rule=alone, said="It is 0.4.", fails=lambda looks: p_value <= error / looks)


def test_of_bars_of_any_kind_the_clearest_is_held_to_the_smallest_error():
    plain = rule("pass", bar=None, topic="integrity")
    answers = [bar_of(0.04, name="an objective"), plain, bar_of(0.03, name="a measure")]
    first, between, last = together(answers)
    assert (first.verdict, last.verdict) == ("cannot conclude", "cannot conclude")
    assert between is plain
    assert "with 2 bars looked at" in first.sentence and first.sentence.startswith("It is 0.4.")
    assert first.figure == answers[0].rule.figure
    # One that is clear in any company leaves the other a whole error.
    assert [one.verdict for one in together([*answers, bar_of(1e-9)])] == [
        "cannot conclude", "pass", "cannot conclude", "fail",
    ]  # fmt: skip
    assert [one.verdict for one in together([bar_of(0.04), bar_of(0.02)])] == ["fail", "fail"]


def test_one_bar_alone_is_judged_by_its_own_interval_and_faults_are_never_excused():
    assert together([bar_of(0.049)])[0].verdict == "fail"
    fault = rule("fail", bar=None, topic="privacy")
    found = together([fault, *(bar_of(0.04) for _ in range(9))])
    assert found[0] is fault and overall(found) == "fail"


def test_truths_at_their_bars_fail_as_rarely_whatever_their_kinds():
    rng = np.random.default_rng(3)
    wrong, runs = 0, 2000
    for draws in rng.normal(size=(runs, 8)):
        bars = [bar_of(float(2 * norm.cdf(draw))) for draw in draws]
        wrong += overall(together(bars)) == "fail"
    assert wrong / runs <= 0.025 + 5 * (0.025 * 0.975 / runs) ** 0.5
    # Without the steps, 18 % of such gates would fail.
    assert 1 - 0.975**8 > 0.18


def test_the_bars_of_a_gate_are_its_figures_of_people_with_a_bar():
    listed = [rule("pass"), rule("pass", bar=None), rule("pass", topic="privacy")]
    assert of_rules(listed) == (listed[0],)


@pytest.mark.parametrize("kind", sorted(EXAMINED))
def test_a_kind_of_sum_answers_with_rules_and_bars(kind):
    said = EXAMINED[kind].__annotations__["return"]
    assert said in {"tuple[Rule, ...]", "tuple[Rule | Bar, ...]"}


def test_the_order_of_bars_does_not_matter():
    p_values = (0.001, 0.02, 0.03, 0.2)
    expected = None
    for order in itertools.permutations(p_values):
        found = dict(zip(order, (one.verdict for one in together(list(map(bar_of, order)))),
                         strict=True))  # fmt: skip
        expected = expected or found
        assert found == expected
