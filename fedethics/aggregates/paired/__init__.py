"""Held-out records that the training gained and lost: the trained model beside its start.

One sum after the last round. A record stands in one of four entries of its group: right under both
models, gained, lost, wrong under both. The epsilon is the charter's `paired.epsilon`, a part of the
evaluation's.
"""

from __future__ import annotations

from collections.abc import Iterator

from fedethics.aggregates.aggregate import Aggregate, Ask, Number, TablePlan, count_spec
from fedethics.aggregates.noise import Account, Noise, count_noise
from fedethics.charter.model import Charter
from fedethics.charter.paired_terms import PairedTerms
from fedethics.errors import AccountingError
from fedethics.privacy.calibration import smallest_scale
from fedethics.privacy.events import count_mechanism
from fedethics.secagg import SumSpec

# More noise than this, over the sensitivity, is not looked for: nothing could be seen through it.
_LARGEST = 300.0
# Supposed by forecasts: of ten records, one is answered otherwise than before.
CHANGED = 0.1


def terms_of(charter: Charter) -> PairedTerms:
    """Return what is compared.

    Raises:
        AccountingError: nothing.
    """
    if charter.paired is None:
        raise AccountingError("the charter compares with no model; nothing was computed")
    return charter.paired


def groups_of(charter: Charter) -> tuple[str, ...]:
    """Return the groups that are counted apart; one, where everyone is together."""
    wanted = terms_of(charter).feature
    features = {feature.name: feature.groups for feature in charter.data.sensitive}
    return tuple(features[wanted]) if wanted else ("everyone",)


class Paired(Aggregate[TablePlan]):
    """A sum of its own, with an epsilon of its own."""

    name = "paired"
    once = True
    opt_in = "count which held-out records the trained model and the one before it get right"
    seen = "the opened counts of records that training gained and lost, with noise"
    plan_type = TablePlan

    def plan(self, charter: Charter, scale: float) -> TablePlan | None:
        """Return the plan; None where the charter compares with nothing."""
        if charter.paired is None:
            return None
        return TablePlan(
            rounds=(charter.training.rounds,),
            noise=_noise(charter, charter.paired),
            accounts=self.accounts,
            table="the counts of records gained and lost",
        )

    def spec(self, charter: Charter, plan: TablePlan, *, vector_length: int) -> SumSpec:
        """Return the specification: four entries a group."""
        return count_spec(self.name, 4 * len(groups_of(charter)))

    def permissions(self, charter: Charter) -> tuple[str, ...]:
        """Return the name, where anything is compared."""
        return () if charter.paired is None else (self.name,)

    def asks(self, charter: Charter) -> Iterator[Ask]:
        """Yield what is counted and its epsilon."""
        terms = charter.paired
        if terms is None:
            return
        by = f", by {terms.feature}" if terms.feature else ""
        yield (
            "comparison with the model before training",
            f"records gained and lost{by}",
            'only with "paired" among allow.releases',
        )
        spent = f"{terms.epsilon:g}, as a part of the evaluation's epsilon"
        yield "epsilon of the comparison", spent, "the cap on the held-out epsilon"

    def foretold(self, charter: Charter, plan: TablePlan) -> Iterator[tuple[str, str]]:
        """Yield from which change on each bar holds with 80 %, by the records that are declared.

        One in ten answers is supposed to change at least, and groups to be of equal size.
        """
        from fedethics.fairness.paired import change_that_holds  # here: it needs scipy

        terms, declared = charter.paired, sum(one.declared_records for one in charter.roster)
        if terms is None or not declared:
            return
        held_out = charter.data.holdout_fraction
        records, groups = declared / (1.0 - held_out) * held_out, len(groups_of(charter))
        for one in terms.objectives:
            size = records / groups if one.of_groups else records
            noise = plan.noise.sum_variance * (1 if one.of_groups else groups)
            change = change_that_holds(
                one.bar, records=size, changed=CHANGED, noise=noise, confidence=one.confidence
            )
            of_whom = f"{size:.0f} held-out records" + (" of a group" if one.of_groups else "")
            yield (
                f"{one.metric}, by the gate",
                f"holds with 80 % if the change truly is {change:+.3f} or better (bar "
                f"{one.bar:+g}, {of_whom}, one answer in ten changes)"
                if change < 1.0
                else f"cannot hold: with {of_whom} and this noise no change is shown to be above "
                f"{one.bar:+g}. Raise paired.epsilon, or hold out more records",
            )

    def left(self, charter: Charter, plan: TablePlan, number: Number) -> tuple[str, str, str]:
        """Return the row of the counts."""
        return (
            "counts of records right before and after training, by group",
            "held out",
            f"{charter.privacy.evaluation.mechanism}: std {number(plan.noise.sum_std, 2)} on each "
            "count of the sum",
        )


def _noise(charter: Charter, terms: PairedTerms) -> Noise:
    rows = charter.data.max_rows_per_person

    def noise(scale: float) -> Noise:
        return count_noise(charter, Account.EVALUATION, std=scale * rows, sensitivity=rows)

    if not noise(1.0).std:
        return noise(1.0)
    largest = count_mechanism(charter.privacy.evaluation.mechanism).largest_std
    return noise(
        smallest_scale(
            lambda scale: (noise(scale).event,),
            epsilon=terms.epsilon,
            delta=charter.privacy.delta,
            largest=min(0.99 * largest / rows, _LARGEST),
        )
    )


PAIRED = Paired()
