"""All bars of a charter as one family: what the gate's pass and fail may claim of them.

Objectives, benchmarks, measures, the comparison with the base model, agreement and the census
all set bars. "Pass" says that every one of them is met and needs no correction; "fail" says that
some bar is missed, and each bar is one more chance to say so wrongly. So which bars fail follows
from Holm's steps over all of them, of whatever kind (`fedethics.fairness.together`). One that fails
by its own interval only fails alone, and the gate cannot conclude on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fedethics import texts
from fedethics.fairness.together import holm
from fedethics.release.rules.rule import Rule


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One bar of the charter and how it stands.

    Attributes:
        rule: the answer by the bar's own interval.
        said: what was found, without a conclusion; said of a bar that fails alone.
        fails: whether the whole interval lies on the wrong side when the error that the charter
            allows is divided by so many.
    """

    rule: Rule
    said: str
    fails: Callable[[int], bool]


def together(answers: Sequence[Rule | Bar]) -> tuple[Rule, ...]:
    """Return every rule in order; which bars fail, by Holm's steps over all of them."""
    bars = [answer for answer in answers if isinstance(answer, Bar)]

    def fails(place: int, looks: int) -> bool:
        bar = bars[place]
        return bar.rule.verdict == "fail" and (looks == 1 or bar.fails(looks))

    failed = holm(fails, len(bars))
    alone = {
        id(bar)
        for place, bar in enumerate(bars)
        if bar.rule.verdict == "fail" and place not in failed
    }
    return tuple(
        answer
        if isinstance(answer, Rule)
        else _fails_alone(answer, len(bars))
        if id(answer) in alone
        else answer.rule
        for answer in answers
    )


def of_rules(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Return the rules that hold a figure to a bar of the charter."""
    return tuple(
        rule
        for rule in rules
        if rule.topic == "people" and rule.figure is not None and rule.figure.bar is not None
    )


def _fails_alone(bar: Bar, count: int) -> Rule:
    return replace(
        bar.rule,
        verdict="cannot conclude",
        sentence=texts.in_line(
            f"{bar.said} By its own interval it fails; with {count} bars looked at, one such miss "
            "may be chance (Holm), so that nothing can be concluded."
        ),
    )
