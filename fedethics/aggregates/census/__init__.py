"""Who is in the data, over all sites, before anything is trained.

One sum before the first step, of all records that a run uses, trained and held out, each charged to
its own account. What one record adds is in `layout`.
"""

from __future__ import annotations

from collections.abc import Iterator

from fedethics.aggregates.aggregate import (
    UNLIMITED,
    Aggregate,
    Ask,
    Moment,
    Number,
    TablePlan,
    count_spec,
)
from fedethics.aggregates.census.layout import CensusLayout, layout_of_census
from fedethics.aggregates.noise import Account, Noise, both_accounts_noise
from fedethics.charter.model import Charter
from fedethics.secagg import SumSpec


class CensusPlan(TablePlan):
    """All blocks of one census, each entry with the same noise."""

    __slots__ = ()

    def noises(self) -> Iterator[tuple[str, Noise]]:
        """Yield that on a count."""
        yield "each count", self.noise


class Census(Aggregate[CensusPlan]):
    """One sum for both accounts: its noise is enough for whichever is trusted less."""

    name = "census"
    once = True
    moment = Moment.BEFORE_STEP
    accounts = (Account.TRAINING, Account.EVALUATION)
    opt_in = (
        "count all records by group and label, missing values, lengths and listed words of texts, "
        "before anything is trained"
    )
    spent_on = "the census"
    seen = "the opened counts of the census, with noise"
    plan_type = CensusPlan

    def plan(self, charter: Charter, scale: float) -> CensusPlan | None:
        """Return the plan; None where the charter asks for no census."""
        if charter.census is None:
            return None
        layout = layout_of_census(charter)
        noise = both_accounts_noise(
            charter,
            epsilon=charter.census.epsilon,
            sensitivity=charter.data.max_rows_per_person,
            releases=layout.releases,
        )
        return CensusPlan(
            rounds=(1,), noise=noise, accounts=self.accounts, table="the counts of the census"
        )

    def spec(self, charter: Charter, plan: CensusPlan, *, vector_length: int) -> SumSpec:
        """Return the specification: every block of the layout."""
        return count_spec(self.name, layout_of_census(charter).length)

    def permissions(self, charter: Charter) -> tuple[str, ...]:
        """Return the name, where a census is asked for."""
        return () if charter.census is None else (self.name,)

    def asks(self, charter: Charter) -> Iterator[Ask]:
        """Yield what is counted, its epsilon, and the bars."""
        terms = charter.census
        if terms is None:
            return
        counted = "; ".join(_counted(charter, layout_of_census(charter)))
        yield "census", counted, 'only with "census" among allow.releases'
        spent = f"{terms.epsilon:g}, as a part of both epsilons"
        yield "epsilon of the census", spent, "the caps on both epsilons"
        if terms.minimum is not None:
            yield "records of each group", f"at least {terms.minimum}", UNLIMITED
        if terms.largest_difference is not None:
            most = f"at most {terms.largest_difference:g} from the reference"
            yield "share of each group", most, UNLIMITED

    def foretold(self, charter: Charter, plan: CensusPlan) -> Iterator[tuple[str, str]]:
        """Yield how many records of a group the gate will take for enough, or for too few."""
        from fedethics.fairness.estimate import two_sided  # here: it needs scipy

        terms = charter.census
        if terms is None or terms.minimum is None:
            return
        labels = len(layout_of_census(charter).labels)
        reach = two_sided(terms.confidence) * plan.noise.sum_std * labels**0.5
        most = max(0, int(terms.minimum - reach))
        fails = f"fails if it has about {most} or fewer" if most else "cannot fail"
        yield (
            "records of a group, by the gate",
            f"passes if each group has about {terms.minimum + reach:.0f} or more, {fails} (bar "
            f"{terms.minimum}, give or take {reach:.0f} for the noise)",
        )

    def left(self, charter: Charter, plan: CensusPlan, number: Number) -> tuple[str, str, str]:
        """Return the row of the counts."""
        counted = "; ".join(_counted(charter, layout_of_census(charter)))
        return (
            f"census: {counted}",
            "trained; held out",
            f"{charter.privacy.evaluation.mechanism}: std {number(plan.noise.sum_std, 2)} on each "
            "count of the sum",
        )


def _counted(charter: Charter, layout: CensusLayout) -> Iterator[str]:
    """Yield what is counted, in words."""
    terms = charter.census
    if terms is None:
        return
    by = f" by {terms.by}" if terms.by else ""
    label = " and label" if len(layout.labels) > 1 else ""
    yield f"records by {', '.join(layout.features)}{label}"
    if layout.missing:
        yield f"missing values of {', '.join(layout.missing)}{by}"
    if layout.edges:
        yield f"lengths of texts{by}"
    if layout.sites:
        yield f"sites with at least {terms.sites_from} records of a group"
    if layout.words:
        yield f"records{by} that hold each of {len(layout.words)} words"


CENSUS = Census()
