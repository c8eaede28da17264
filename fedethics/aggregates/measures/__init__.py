"""Means of bounded numbers over held-out records, by group: what is measured of a text.

One sum after the last round. A record adds `GRID` steps to hit and miss of its group together, for
each measure, and to a sum that tells how far the numbers are spread at most as many. The epsilon is
the charter's `measures.epsilon`, a part of the evaluation's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fedethics.aggregates.aggregate import Aggregate, Ask, Number, SumPlan, count_spec
from fedethics.aggregates.noise import Account, Noise, count_noise
from fedethics.charter.measure_terms import GRID, MeasureTerms
from fedethics.charter.model import Charter
from fedethics.errors import AccountingError
from fedethics.learning_tasks.task import Bounded
from fedethics.privacy.calibration import smallest_scale
from fedethics.privacy.events import Event, count_mechanism
from fedethics.secagg import SumSpec

# More noise than this, over the sensitivity, is not looked for: nothing could be seen through it.
_LARGEST = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuresPlan(SumPlan):
    """One release of all measures.

    Attributes:
        values: noise on each hit and miss, in steps.
        spread: noise on each sum of spreads, in steps.
        words: noise on each sum of what a word moves, in steps. A record moves all of them by at
            most `GRID` steps added up, so that they are one release.
        there: which of the three there are.
    """

    values: Noise
    spread: Noise
    words: Noise
    there: tuple[bool, bool, bool]

    @property
    def events(self) -> tuple[Event, ...]:
        """What the release costs a held-out unit."""
        blocks = zip((self.values, self.spread, self.words), self.there, strict=True)
        return tuple(noise.event for noise, there in blocks if there)

    def charge(self, account: Account) -> tuple[Event, ...]:
        """Return the release."""
        return self.events if account is Account.EVALUATION else ()

    def mechanisms(self) -> Iterator[tuple[str, Event]]:
        """Yield each kind of sums."""
        names = ("a measure's sum", "a measure's spread", "a word's sum")
        noises = (self.values, self.spread, self.words)
        for name, noise, there in zip(names, noises, self.there, strict=True):
            if there:
                yield name, noise.event


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureLayout:
    """What the released vector holds: for each measure hit and miss of each group, then spreads.

    A measure that some records have not (`Bounded.apart`) has a third entry in each group, where
    such a record stands instead.

    Guarantee: a record moves the entries of each measure by `GRID` steps added up, in one group,
    and each spread by 0 to `GRID` steps, in one group. It moves the entries of all words, raised
    and lowered, by at most `GRID` steps added up, in one group.

    Attributes:
        measures: by name, in order.
        groups: of the charter's feature; one, where everyone is together.
        words: whose effects are summed, last in the vector.
    """

    measures: dict[str, Bounded]
    groups: tuple[str, ...]
    words: tuple[str, ...] = ()

    @property
    def spread_names(self) -> tuple[str, ...]:
        """Measures whose spread is summed: those that are not 0 or 1."""
        return tuple(name for name, each in self.measures.items() if not each.binary)

    @property
    def widths(self) -> dict[str, int]:
        """Entries of each measure in one group: hit, miss, and perhaps those counted apart."""
        return {name: 3 if each.apart else 2 for name, each in self.measures.items()}

    @property
    def values_length(self) -> int:
        """Entries of hits, misses, and of those counted apart."""
        return len(self.groups) * sum(self.widths.values())

    @property
    def spread_length(self) -> int:
        """Entries of spreads."""
        return len(self.groups) * len(self.spread_names)

    @property
    def words_length(self) -> int:
        """Entries of words: raised and lowered, of each group."""
        return 2 * len(self.groups) * len(self.words)

    @property
    def length(self) -> int:
        """Entries of the vector."""
        return self.values_length + self.spread_length + self.words_length


def terms_of(charter: Charter) -> MeasureTerms:
    """Return what is measured.

    Raises:
        AccountingError: nothing.
    """
    if charter.measures is None:
        raise AccountingError("the charter asks for no measures; nothing was computed")
    return charter.measures


def layout_of_measures(charter: Charter) -> MeasureLayout:
    """Return the layout of the charter's measures.

    Raises:
        AccountingError: it asks for none.
    """
    terms = terms_of(charter)
    features = {feature.name: feature.groups for feature in charter.data.sensitive}
    return MeasureLayout(
        measures=terms.bounded(charter.model.task),
        groups=tuple(features[terms.feature]) if terms.feature else ("everyone",),
        words=terms.vocabulary.words if terms.vocabulary else (),
    )


class Measures(Aggregate[MeasuresPlan]):
    """A sum of its own, with an epsilon of its own."""

    name = "measures"
    once = True
    opt_in = (
        "sum what is measured of held-out texts (loss, token accuracy, scores of answers, what "
        "swapped words change)"
    )
    seen = "the opened sums of what was measured of held-out texts, with noise"
    plan_type = MeasuresPlan

    def plan(self, charter: Charter, scale: float) -> MeasuresPlan | None:
        """Return the plan; None where the charter measures nothing further."""
        if charter.measures is None:
            return None
        terms, layout = charter.measures, layout_of_measures(charter)
        most = GRID * charter.data.max_rows_per_person
        counts = (len(layout.measures), len(layout.spread_names), int(bool(layout.words)))
        words_ratio = terms.vocabulary.ratio if terms.vocabulary else 1.0
        ratios = (1.0, terms.spread_ratio, words_ratio)

        def plan(scale: float) -> MeasuresPlan:
            values, spread, words = (
                count_noise(
                    charter,
                    Account.EVALUATION,
                    std=scale * most * ratio,
                    releases=max(1, count),
                    sensitivity=most,
                )
                for ratio, count in zip(ratios, counts, strict=True)
            )
            return MeasuresPlan(
                rounds=(charter.training.rounds,),
                values=values,
                spread=spread,
                words=words,
                there=(bool(counts[0]), bool(counts[1]), bool(counts[2])),
            )

        if not plan(1.0).values.std:
            return plan(1.0)
        largest = count_mechanism(charter.privacy.evaluation.mechanism).largest_std
        return plan(
            smallest_scale(
                lambda scale: plan(scale).events,
                epsilon=terms.epsilon,
                delta=charter.privacy.delta,
                largest=min(0.99 * largest / most / max(ratios), _LARGEST),
            )
        )

    def spec(self, charter: Charter, plan: MeasuresPlan, *, vector_length: int) -> SumSpec:
        """Return the task."""
        return count_spec(self.name, layout_of_measures(charter).length)

    def permissions(self, charter: Charter) -> tuple[str, ...]:
        """Return the name, where anything is measured further."""
        return () if charter.measures is None else (self.name,)

    def asks(self, charter: Charter) -> Iterator[Ask]:
        """Yield what is measured and its epsilon."""
        terms = charter.measures
        if terms is None:
            return
        layout = layout_of_measures(charter)
        words = [f"effects of {len(layout.words)} words"] if layout.words else []
        named = ", ".join([*layout.measures, *words])
        by = f", by {terms.feature}" if terms.feature else ""
        yield (
            "measures of held-out texts",
            f"{named}{by}",
            'only with "measures" among allow.releases',
        )
        spent = f"{terms.epsilon:g}, as a part of the evaluation's epsilon"
        yield "epsilon of the measures", spent, "the cap on the held-out epsilon"

    def left(self, charter: Charter, plan: MeasuresPlan, number: Number) -> tuple[str, str, str]:
        """Return the row of the release."""
        std = number(plan.values.sum_std / GRID, 2)
        how = f"{charter.privacy.evaluation.mechanism}: std {std} records on each hit and miss"
        if plan.there[1]:
            spread = number(plan.spread.sum_std / (4 * GRID), 2)
            how += f", {spread} on each sum of spreads"
        if plan.there[2] and charter.measures and charter.measures.vocabulary:
            most = charter.measures.vocabulary.largest_change
            word = number(most * plan.words.sum_std / GRID, 2)
            how += f", {word} on each sum of what a word moves"
        return "sums of what was measured of a text, by group", "held out", f"{how} of the sum"


MEASURES = Measures()
