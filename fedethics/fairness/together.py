"""Several objectives judged as one list: what the gate's pass and fail may claim.

"Pass" says that every objective holds. It is wrong if one of them does not, and then that one's own
interval must have missed its bar on that side: at 95 % with a probability of at most 2.5 %,
however many objectives there are and however they depend on each other. So "holds" needs none
(intersection-union test: Berger 1982, Technometrics 24:295; Berger and Hsu 1996, Stat. Sci.
11:283).

"Fail" says that some objective fails, and each is one more chance to say so wrongly: with 10 truths
at their bars 22 % of gates would fail. Holm's steps (1979, Scand. J. Stat. 6:65) bring that back to
2.5 %: of k objectives the clearest must fail at a k-th of its error, the next at a (k-1)-th, and so
on. One that fails by its own interval only "fails alone": the list cannot conclude on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fedethics.fairness.judge import Objective, Verdict, conclude, judge
from fedethics.fairness.layout import Tables
from fedethics.fairness.partition import MINIMUM_CELL


def holm(fails: Callable[[int, int], bool], count: int) -> frozenset[int]:
    """Return which of `count` objectives fail when all are looked at.

    Args:
        fails: of an objective's place and a divisor, whether it fails at its error divided so.
        count: how many there are.
    """
    failed: frozenset[int] = frozenset()
    while True:
        looks = count - len(failed)
        more = [place for place in range(count) if place not in failed and fails(place, looks)]
        if not more:
            return failed
        failed = failed.union(more)


def at_looks(confidence: float, looks: int) -> float:
    """Return the confidence whose error is that of `confidence` divided by `looks`."""
    return confidence if looks == 1 else 1.0 - (1.0 - confidence) / looks


def at_once(objective: Objective, looks: int) -> Objective:
    """Return the objective with its error divided by `looks`."""
    return replace(objective, confidence=at_looks(objective.confidence, looks))


def judge_together(
    tables: Tables, objectives: Sequence[Objective], *, minimum_cell: int = MINIMUM_CELL
) -> tuple[Verdict, ...]:
    """Return the verdict on each objective, with "fails" by Holm's steps over all of them.

    An estimate and its interval are those of the objective by itself.

    Raises:
        FairnessError: as `judge`.
    """
    alone = tuple(judge(tables, each, minimum_cell=minimum_cell) for each in objectives)

    def fails(place: int, looks: int) -> bool:
        if alone[place].outcome != "fails" or looks == 1:
            return alone[place].outcome == "fails"
        asked = at_once(objectives[place], looks)
        return conclude(tables, asked, minimum_cell=minimum_cell).outcome == "fails"

    failed = holm(fails, len(alone))
    return tuple(
        _fails_alone(verdict, len(alone))
        if verdict.outcome == "fails" and place not in failed
        else verdict
        for place, verdict in enumerate(alone)
    )


def _fails_alone(verdict: Verdict, count: int) -> Verdict:
    found = verdict.sentence.partition(": ")[2]
    return replace(
        verdict,
        outcome="cannot conclude",
        fails_alone=True,
        sentence=f"The objective fails alone: {found}",
        remedy=(
            f"By its own interval it fails; with {count} objectives looked at, one such miss may "
            "be chance (Holm), so that nothing can be concluded."
        ),
    )
