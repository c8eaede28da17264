"""Coincidences of annotators' labels over all sites: do people share what a model is to learn?

The matrix of coincidences is a sum over records (`fedethics.data.agreement`), so Krippendorff's
alpha over all sites follows from one sum. It is opened before the first step: of all records that a
run uses, trained and held out, each charged to its own account.

Where the charter names a feature, there is one matrix for each of its groups. A record is in one of
them, so that it moves the sum no more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from fedethics.aggregates.aggregate import (
    UNLIMITED,
    Aggregate,
    Ask,
    Moment,
    Number,
    TablePlan,
    count_spec,
)
from fedethics.aggregates.agreement.alpha import entries, reach_of
from fedethics.aggregates.noise import Account, Noise, both_accounts_noise
from fedethics.charter.annotation_terms import AnnotationTerms
from fedethics.charter.model import Charter
from fedethics.data.beside import BesideColumn
from fedethics.errors import AccountingError
from fedethics.secagg import SumSpec

EVERYONE = "everyone"


@dataclass(frozen=True, kw_only=True, slots=True)
class AgreementPlan(TablePlan):
    """One matrix.

    Attributes:
        steps: to a coincidence; `noise` is in steps.
    """

    steps: int

    def noises(self) -> Iterator[tuple[str, Noise]]:
        """Yield that on a coincidence."""
        yield "each coincidence", dataclasses.replace(self.noise, std=self.noise.std / self.steps)


class Agreement(Aggregate[AgreementPlan]):
    """One sum for both accounts: its noise is enough for whichever is trusted less."""

    name = "agreement"
    once = True
    moment = Moment.BEFORE_STEP
    accounts = (Account.TRAINING, Account.EVALUATION)
    opt_in = "count which labels annotators gave to the same records"
    spent_on = "the count of annotators' labels"
    seen = "the opened sum of coincidences of annotators' labels, with noise"
    plan_type = AgreementPlan

    def plan(self, charter: Charter, scale: float) -> AgreementPlan | None:
        """Return the plan; None where the charter says nothing of annotation."""
        terms = charter.annotation
        if terms is None:
            return None
        return AgreementPlan(
            rounds=(1,),
            noise=_noise(charter, terms),
            accounts=self.accounts,
            table="the coincidences of annotators' labels",
            steps=terms.steps,
        )

    def spec(self, charter: Charter, plan: AgreementPlan, *, vector_length: int) -> SumSpec:
        """Return the specification: of each matrix the upper triangle, with its diagonal."""
        size = entries(len(_terms(charter).labels))
        return count_spec(self.name, len(groups_of(charter)) * size)

    def permissions(self, charter: Charter) -> tuple[str, ...]:
        """Return the name, where annotators' labels are to be counted."""
        return () if charter.annotation is None else (self.name,)

    def columns(self, charter: Charter) -> tuple[BesideColumn, ...]:
        """Return each annotator's column."""
        terms = charter.annotation
        return () if terms is None else columns_of(terms)

    def asks(self, charter: Charter) -> Iterator[Ask]:
        """Yield what is counted and its epsilon."""
        terms = charter.annotation
        if terms is None:
            return
        bar = "no bar" if terms.bar is None else f"at least {terms.bar:g}"
        by = f" by {terms.by}" if terms.by else ""
        counted = f"{terms.level} alpha of {len(terms.annotators)} annotators a record{by}, {bar}"
        if terms.group_bar is not None:
            counted += f", in each group at least {terms.group_bar:g}"
        yield "agreement of annotators", counted, 'only with "agreement" among allow.releases'
        if terms.adjudication is not None:
            by = f" by {terms.adjudicator}" if terms.adjudicator else ""
            needed = f"{terms.per_record or 1} labels a record at least"
            left = terms.unresolved or "leave-out"
            yield "labels decided", f"{terms.adjudication}{by}, {needed}; else {left}", UNLIMITED
        spent = f"{terms.epsilon:g}, as a part of both epsilons"
        yield "epsilon of annotators' labels", spent, "the caps on both epsilons"
        yield "columns of annotators", ", ".join(terms.annotators), UNLIMITED

    def foretold(self, charter: Charter, plan: AgreementPlan) -> Iterator[tuple[str, str]]:
        """Yield at which alpha the gate passes and at which it fails, if every record is labelled.

        By all annotators, with every label as frequent as the others: what was declared says no
        more. Records that fewer label widen what stays open.
        """
        terms, declared = charter.annotation, sum(one.declared_records for one in charter.roster)
        if terms is None or terms.bar is None or not declared:
            return
        records = round(declared / (1 - charter.data.holdout_fraction))
        groups = len(groups_of(charter))
        variance = groups * plan.noise.sum_variance
        passes, fails = reach_of(terms, records=records, variance=variance)
        yield (
            "agreement, by the gate",
            f"passes if alpha is about {passes:.2f} or more, fails if it is about {fails:.2f} or "
            f"less; between them it cannot conclude (bar {terms.bar:g}, {records} records)"
            if passes <= 1
            else f"cannot pass: with {records} records and this noise no alpha is shown to be "
            f"above {terms.bar:g}. Raise annotation.epsilon, or label more records",
        )

    def left(self, charter: Charter, plan: AgreementPlan, number: Number) -> tuple[str, str, str]:
        """Return the row of the matrix."""
        ((_, noise),) = plan.noises()
        by = charter.annotation.by if charter.annotation else None
        return (
            f"coincidences of annotators' labels, {f'by {by}' if by else 'no groups'}",
            "trained; held out",
            f"{charter.privacy.evaluation.mechanism}: std {number(noise.sum_std, 2)} on each "
            "coincidence of the sum",
        )


def groups_of(charter: Charter) -> tuple[str, ...]:
    """Return the groups that are counted apart; one, where everyone is together.

    Raises:
        AccountingError: the charter says nothing of annotation.
    """
    wanted = _terms(charter).by
    features = {feature.name: feature.groups for feature in charter.data.sensitive}
    return tuple(features[wanted]) if wanted else (EVERYONE,)


def columns_of(terms: AnnotationTerms) -> tuple[BesideColumn, ...]:
    """Return the columns of annotators, as a site's file is read."""
    return tuple(
        BesideColumn(name, terms.labels, "annotation.annotators") for name in terms.annotators
    )


def _terms(charter: Charter) -> AnnotationTerms:
    if charter.annotation is None:
        raise AccountingError("the charter asks for no agreement; nothing was computed")
    return charter.annotation


def _noise(charter: Charter, terms: AnnotationTerms) -> Noise:
    rows = charter.data.max_rows_per_person * terms.sensitivity
    return both_accounts_noise(charter, epsilon=terms.epsilon, sensitivity=rows)


AGREEMENT = Agreement()
