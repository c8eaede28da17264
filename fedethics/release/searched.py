"""A search for settings, read from its trials' evidence: what was tried, what each gave, who won.

Every figure is computed again from a trial's opened sums and the charter that follows from the
signed one; nothing is copied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fedethics.charter.ethics_terms import Objective
from fedethics.charter.model import Charter
from fedethics.charter.phases import agreed_of
from fedethics.errors import ReleaseError
from fedethics.fairness import judge_together
from fedethics.privacy import search
from fedethics.release import evidence
from fedethics.release.evidence import Evidence
from fedethics.release.folder import tables_of
from fedethics.release.rules.objectives import as_objective


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """One trial.

    Attributes:
        number: of its candidate, counted from 1.
        said: its settings.
        charter: of the trial, as it follows from the signed one.
        evidence: as the final run's evidence has it.
        value, low, high: the noised estimate that decides, with its interval; NaN without one.
    """

    number: int
    said: str
    charter: Charter
    evidence: Evidence
    value: float
    low: float
    high: float


def trial_names(final: Charter, search_name: str) -> tuple[str, ...]:
    """Return the names of the runs whose evidence a final run needs."""
    count = len(final.tuning.candidates or ()) if final.tuning else 0
    return tuple(f"{search_name}-trial-{number}" for number in range(1, count + 1))


def tried(final: Charter, texts: Sequence[str]) -> tuple[Tried, ...]:
    """Return every trial, in the candidates' order.

    Args:
        final: charter of the final run.
        texts: the evidence of each trial, canonical.

    Raises:
        ReleaseError: too few or too many, malformed, or not of the size that the charter says.
        AccountingError: the signed charter has no such search.
    """
    agreed = agreed_of(final)
    charters = search.trials(agreed)
    if len(texts) != len(charters):
        raise ReleaseError(f"{len(charters)} candidates, but evidence of {len(texts)} trials")
    candidates = search.search_terms(agreed).candidates or ()
    return tuple(
        _tried(number, candidate.said, charter, text)
        for number, (candidate, charter, text) in enumerate(
            zip(candidates, charters, texts, strict=True), start=1
        )
    )


def _tried(number: int, said: str, charter: Charter, text: str) -> Tried:
    found = evidence.parse(text.encode("utf-8"), where=f"the evidence of trial {number}")
    judged = judge_together(tables_of(charter, found), [as_objective(decider(charter))])
    estimate = judged[0].estimate
    return Tried(
        number=number,
        said=said,
        charter=charter,
        evidence=found,
        value=estimate.figure,
        low=estimate.low,
        high=estimate.high,
    )


def decider(charter: Charter) -> Objective:
    """Return the objective by whose metric the trials are compared.

    Raises:
        ReleaseError: the charter has none of this metric without groups.
    """
    wanted = charter.tuning.select if charter.tuning else None
    for one in charter.ethics.objectives:
        if one.metric == wanted and not one.feature:
            return one
    raise ReleaseError(f"tuning.select: {wanted!r} is no objective without groups")


def winner(final: Charter, texts: Sequence[str]) -> int:
    """Return the number of the candidate with the best estimate; the first of equal ones.

    Raises:
        ReleaseError: as `tried`.
    """
    return best(final, tried(final, texts))


def best(final: Charter, trials: Sequence[Tried]) -> int:
    """Return the number of the best of these trials.

    A trial without an estimate is the worst, so that without any the first candidate wins: the rule
    decides in any case, since the trials are paid for.
    """
    sign = 1.0 if decider(final).direction == "at-least" else -1.0
    ranked = [
        (sign * one.value if math.isfinite(one.value) else -math.inf, -one.number) for one in trials
    ]
    return -max(ranked)[1]
