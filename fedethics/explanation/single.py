"""One record's score, and what it depends on: each phrase left out, each other group's word put in.

Occlusion asks the model about a text that it may never have seen: one with a phrase missing. What
comes back is how this model reacts, near this record, to that change. It is no cause in the world,
no advice on what the person could do, and two phrases that say the same can each look unimportant.

Is an order of columns worth anything? Leave the first ones out, or keep only them, and look.

DeYoung et al. (2020), "ERASER", section 4.2, with phrases as the units and the area over the curve:
comprehensiveness is how much the model's confidence in its own answer falls when the k phrases that
support it most are left out. Sufficiency is how much it falls when only those k are kept. Both are
means over k = 1 to one less than all. A faithful order has high comprehensiveness and low
sufficiency; random orders of the same record show what is high.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedethics.charter.data_terms import DataTerms
from fedethics.charter.ethics_terms import ExplanationTerms as Terms
from fedethics.charter.ethics_terms import explanation_problems
from fedethics.data.records import Value, wording
from fedethics.data.rendering import Scorer, swapped, text_columns, without
from fedethics.errors import DataError

RANDOM_ORDERS = 40
_SEED = 20200710
# At most this share of random orders may do as well.
_CHANCE = 0.05

LeftOut = Callable[..., list[float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Faithfulness:
    """The order by effect against random orders, for one record.

    Attributes:
        comprehensiveness: of the order by effect; higher is better.
        sufficiency: the same for the columns that are kept; lower is better.
        random_comprehensiveness, random_sufficiency: means over the random orders.
        as_comprehensive, as_sufficient: share of random orders that do as well or better.
    """

    comprehensiveness: float
    sufficiency: float
    random_comprehensiveness: float
    random_sufficiency: float
    as_comprehensive: float
    as_sufficient: float

    @property
    def better_than_chance(self) -> bool:
        """Whether at most 5 % of random orders do as well, on both figures."""
        return max(self.as_comprehensive, self.as_sufficient) <= _CHANCE


def faithfulness(
    left_out: LeftOut,
    changes: Mapping[str, float],
    *,
    positive: bool,
    sizes: Sequence[int] = (),
) -> Faithfulness:
    """Hold the order by effect against random orders; the same record gives the same figures.

    Args:
        left_out: scores of the record with each of several sets of columns left out.
        changes: by column, score with it less score without it.
        positive: the model's answer.
        sizes: how many of the first columns are left out, or kept; all numbers if empty.
    """
    sign = 1.0 if positive else -1.0
    names = tuple(changes)
    order = sorted(names, key=lambda name: -sign * changes[name])
    shuffle = np.random.default_rng(_SEED)
    orders = [order, *(list(shuffle.permutation(names)) for _ in range(RANDOM_ORDERS))]
    everything = frozenset(names)
    fronts = [[frozenset(o[:k]) for k in sizes or range(1, len(o))] for o in orders]
    # One call, so that what several orders share is scored once.
    left_out(*(s for front in fronts for first in front for s in (first, everything - first)))
    (whole,) = left_out(frozenset())
    removed = np.array([_falls(left_out, front, whole, sign) for front in fronts])
    kept = np.array(
        [_falls(left_out, [everything - f for f in front], whole, sign) for front in fronts]
    )
    return Faithfulness(
        comprehensiveness=float(removed[0]),
        sufficiency=float(kept[0]),
        random_comprehensiveness=float(removed[1:].mean()),
        random_sufficiency=float(kept[1:].mean()),
        as_comprehensive=float((removed[1:] >= removed[0]).mean()),
        as_sufficient=float((kept[1:] <= kept[0]).mean()),
    )


def _falls(
    left_out: LeftOut, subsets: Sequence[frozenset[str]], whole: float, sign: float
) -> float:
    """Return the mean fall of the confidence in the answer over the subsets left out."""
    return float(np.mean([sign * (whole - score) for score in left_out(*subsets)]))


# Sensitive: every field tells of one record. Made at the site, shown there, never sent.
@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """What leaving one column's phrase out does.

    Attributes:
        phrase: as the model reads it.
        change: score with the phrase less score without it: above 0, the phrase raises the score.
    """

    column: str
    phrase: str
    change: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Swap:
    """What another group's word does: score and decision with that word in place of the own."""

    feature: str
    own: str
    other: str
    score: float
    flips: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Explained:
    """One record explained.

    Attributes:
        positive: whether the score is at or above the charter's threshold.
        effects: of each told column, in the order of the text.
        swaps: of each sensitive feature whose word the text tells, for each other group.
        faithfulness: whether the effects' order is worth anything, for this record.
    """

    score: float
    positive: bool
    effects: tuple[Effect, ...]
    swaps: tuple[Swap, ...]
    faithfulness: Faithfulness


def explain_record(
    score: Scorer,
    row: Mapping[str, Value],
    groups: Sequence[int],
    *,
    terms: DataTerms,
    threshold: float,
) -> Explained:
    """Explain one record.

    Args:
        score: the model, texts in, scores in [0, 1] out.
        row: the record's parsed values by column.
        groups: index of its group for each sensitive feature, in the charter's order.
        terms: the charter's schema.
        threshold: of the decision.

    Raises:
        DataError: the text is one column only; nothing could be left out.
    """
    columns = text_columns(terms)
    if len(columns) < 2:
        raise DataError(
            f"the text of a record is its column {', '.join(c.name for c in columns)} alone; "
            "leaving it out leaves nothing. Ask for its words"
        )
    left_out = _LeftOut(score, row, terms)
    names = tuple(column.name for column in columns)
    whole, *without_one = left_out(frozenset(), *(frozenset({name}) for name in names))
    positive = whole >= threshold
    effects = tuple(
        Effect(column=column.name, phrase=wording(row[column.name], column), change=whole - changed)
        for column, changed in zip(columns, without_one, strict=True)
    )
    return Explained(
        score=whole,
        positive=positive,
        effects=effects,
        swaps=_swaps(score, row, groups, terms=terms, threshold=threshold, positive=positive),
        faithfulness=faithfulness(
            left_out, {one.column: one.change for one in effects}, positive=positive
        ),
    )


class _LeftOut:
    """Scores of one record with sets of columns left out; each set is scored once."""

    def __init__(self, score: Scorer, row: Mapping[str, Value], terms: DataTerms) -> None:
        self._score, self._row, self._terms = score, row, terms
        self._known: dict[frozenset[str], float] = {}

    def __call__(self, *subsets: frozenset[str]) -> list[float]:
        new = sorted(set(subsets) - set(self._known), key=sorted)
        texts = [without(self._row, self._terms, *names) for names in new]
        scores = self._score(texts) if texts else np.zeros(0)
        self._known.update(zip(new, map(float, scores), strict=True))
        return [self._known[names] for names in subsets]


def _swaps(
    score: Scorer,
    row: Mapping[str, Value],
    groups: Sequence[int],
    *,
    terms: DataTerms,
    threshold: float,
    positive: bool,
) -> tuple[Swap, ...]:
    found: list[Swap] = []
    for place, feature in enumerate(terms.sensitive):
        if any(explanation_problems(Terms(swap=(feature.name,)), terms)):
            continue  # the text has no word for it
        told = swapped(row, terms, feature.name, group=groups[place])
        for other, changed in zip(told, score(list(told.values())), strict=True):
            found.append(
                Swap(
                    feature=feature.name,
                    own=feature.groups[groups[place]],
                    other=other,
                    score=float(changed),
                    flips=bool((changed >= threshold) != positive),
                )
            )
    return tuple(found)
