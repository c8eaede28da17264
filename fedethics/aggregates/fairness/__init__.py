"""The group tables of held-out records, and what the charter asks to have explained: the last sum.

A unit's rows move each block of counts, each block of scores, each sum of score changes and each
count of flips.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedethics.aggregates.aggregate import (
    Aggregate,
    Number,
    SumPlan,
    count_spec,
    opened_sums,
    sum_sha256,
)
from fedethics.aggregates.noise import Account, Noise, count_noise
from fedethics.charter.ethics_terms import STEPS
from fedethics.charter.model import Charter
from fedethics.charter_sums import layout_of
from fedethics.privacy.calibration import LARGEST
from fedethics.privacy.events import Event, count_mechanism
from fedethics.secagg import SumSpec

if TYPE_CHECKING:
    from fedethics.release.evidence import Evidence


@dataclass(frozen=True, kw_only=True, slots=True)
class FairnessPlan(SumPlan):
    """The one final release.

    A row moves one entry of each count block and of each score block by 1: each block is a release.
    It moves one sum for each column left out and one for each feature swapped, each by at most
    `STEPS`, and one count of flips for each feature swapped. The noise of the sums is independent,
    so all of them cost what as many releases cost in each of which one entry moves by `STEPS`; an
    entry that moves by less costs less, since the noise is log-concave: the best test stays a
    threshold, and its power grows with the shift (`privacy.integer_loss` has the same argument for
    several rows of one unit).

    Attributes:
        counts, histogram: noise on the entries of each count block, and of each score block; the
            event is that of all of them.
        effects: noise on each sum of score changes, in the steps that they are counted in; its std
            is 0.0 where there are none.
        flips: noise on each count of flips; its std is 0.0 where there are none.
        explained: whether there are sums of changes, and counts of flips.
    """

    counts: Noise
    histogram: Noise
    effects: Noise
    flips: Noise
    explained: tuple[bool, bool]

    @property
    def events(self) -> tuple[Event, ...]:
        """What the release costs a held-out unit."""
        extra = zip((self.effects, self.flips), self.explained, strict=True)
        return (
            self.counts.event,
            self.histogram.event,
            *(noise.event for noise, there in extra if there),
        )

    def charge(self, account: Account) -> tuple[Event, ...]:
        """Return the release."""
        return self.events if account is Account.EVALUATION else ()

    def mechanisms(self) -> Iterator[tuple[str, Event]]:
        """Yield each; without noise, what is explained adds nothing that is not refused already."""
        yield "the counts", self.counts.event
        yield "the histogram", self.histogram.event
        if self.effects.std:
            yield "a sum of score changes", self.effects.event
        if self.flips.std:
            yield "a count of flips", self.flips.event


class Fairness(Aggregate[FairnessPlan]):
    """The tables that a release is judged by."""

    name = "fairness"
    once = True
    scaled = Account.EVALUATION
    ends_run = True
    plan_type = FairnessPlan

    @property
    def words(self) -> tuple[str, ...]:
        """Return the name, and what the tables may hold besides."""
        return (self.name, "explanation")

    def plan(self, charter: Charter, scale: float) -> FairnessPlan:
        """Return the plan, with all noise in the charter's ratios to one base."""
        terms, told = charter.privacy.evaluation, charter.ethics.explanation
        changes, flips = told.changes(charter.data), len(told.swap)
        layout = layout_of(charter)

        def noise(std: float, *, entries: int = 1, most: int = 1) -> Noise:
            return count_noise(
                charter,
                Account.EVALUATION,
                std=std,
                releases=entries,
                sensitivity=most * charter.data.max_rows_per_person,
            )

        return FairnessPlan(
            rounds=(charter.training.rounds,),
            counts=noise(terms.counts_ratio * scale, entries=len(layout.count_blocks)),
            histogram=noise(terms.histogram_ratio * scale, entries=layout.score_blocks),
            effects=noise(told.effect_ratio * scale * STEPS, entries=changes, most=STEPS)
            if changes
            else _absent(noise(scale)),
            flips=noise(told.flip_ratio * scale, entries=flips) if flips else _absent(noise(scale)),
            explained=(bool(changes), bool(flips)),
        )

    def largest_scale(self, charter: Charter) -> float:
        """Return the largest base whose noise the accountant knows, counted in fine steps."""
        terms = charter.ethics.explanation
        if not terms.asked:
            return LARGEST
        largest = count_mechanism(charter.privacy.evaluation.mechanism).largest_std
        return 0.99 * largest / (terms.effect_ratio * STEPS)

    def spec(self, charter: Charter, plan: FairnessPlan, *, vector_length: int) -> SumSpec:
        """Return the specification."""
        return count_spec(self.name, layout_of(charter).length)

    def permissions(self, charter: Charter) -> tuple[str, ...]:
        """Return the name, and "explanation" where the tables hold any."""
        return self.words if charter.ethics.explanation.asked else (self.name,)

    def left(self, charter: Charter, plan: FairnessPlan, number: Number) -> tuple[str, str, str]:
        """Return the row of the release."""
        what = "counts by group, label and prediction; histograms of scores"
        stds = [noise.sum_std for noise in (plan.counts, plan.histogram, plan.effects, plan.flips)]
        how = (
            f"{charter.privacy.evaluation.mechanism}: std {number(stds[0], 2)} on each count, "
            f"{number(stds[1], 2)} on each bin of the sum"
        )
        terms = charter.ethics.explanation
        if terms.asked:
            what += "; sums of score changes and counts of flips"
            change = stds[2] * terms.largest_change / STEPS
            how += (
                f"; {number(change, 2)} on each sum of score changes, {number(stds[3], 2)} on "
                "each count of flips"
            )
        return what, "held out", how

    def faults(self, evidence: Evidence) -> Iterable[str]:
        """Hold the tables to the one sum that was opened."""
        tables = [entry for entry in evidence.rounds if entry.kind == self.name]
        if len(tables) > 1:
            yield "Fairness tables were opened more than once; the plan pays for one."
        whole = evidence.counts + evidence.histogram + evidence.explanation
        if tables and tables[-1].sum_sha256 != sum_sha256(whole):
            yield "The group tables are not the sum that was opened."

    def gaps(self, evidence: Evidence) -> Iterable[str]:
        """Say that they are missing."""
        if not opened_sums(evidence, self.name):
            yield "No opened sum of group tables is on record."


def _absent(noise: Noise) -> Noise:
    return Noise(std=0.0, shares=noise.shares, sites=noise.sites, event=noise.event)


FAIRNESS = Fairness()
