"""The bar on the agreement of annotators: Krippendorff's alpha of drawn labels.

Every annotator labels every record. With probability alpha all agree on a label; else each draws
one at random, every label as often as the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from fedethics.aggregates.agreement import AGREEMENT, AgreementPlan
from fedethics.aggregates.agreement.alpha import LOWEST, alpha_of
from fedethics.charter.annotation_terms import AnnotationTerms
from fedethics.charter.model import Charter
from fedethics.errors import AccountingError
from fedethics.fairness.explained import FloatArray
from fedethics.fairness.judge import Outcome
from fedethics.foresight.asked import Asked, outcome_of
from fedethics.foresight.people import People


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedOfLabels(Asked):
    """The bar of `[annotation]`.

    Attributes:
        charter: the terms.
        terms: of annotation.
        noise: variance on each entry, in steps.
    """

    charter: Charter
    terms: AnnotationTerms
    noise: float

    def judged(
        self, value: float, records: FloatArray, *, noise: float, rng: np.random.Generator
    ) -> tuple[Outcome, Outcome]:
        """Draw every annotator's label of every record and count coincidences."""
        matrix = coincidences(self.terms, value, int(records.sum()), rng)
        upper = np.rint(matrix[np.triu_indices(len(matrix))] * self.terms.steps)
        noisy = upper + np.rint(rng.normal(0.0, noise * math.sqrt(self.noise), upper.shape))
        return self._outcome(noisy, self.noise * noise**2), self._outcome(upper, 0.0)

    def noise_at(self, epsilon: float) -> float:
        """Return the factor on the noise of the charter's own plan."""
        terms = replace(self.terms, epsilon=epsilon)
        own, other = plan_of(self.charter), plan_of(replace(self.charter, annotation=terms))
        return other.noise.std / own.noise.std if own.noise.std else 1.0

    def _outcome(self, sums: FloatArray, variance: float) -> Outcome:
        counts = [int(one) for one in sums]
        found = alpha_of(counts, self.terms, variance=variance)
        return outcome_of(found, bar=self.bar, direction=self.direction)


def coincidences(
    terms: AnnotationTerms, alpha: float, records: int, rng: np.random.Generator
) -> FloatArray:
    """Return the matrix of coincidences of one draw, shape (V, V).

    Args:
        terms: annotators and labels.
        alpha: true agreement, from 0 to 1.
        records: that all annotators label.
        rng: of the draw.
    """
    labels, raters = len(terms.labels), len(terms.annotators)
    alike = int(rng.binomial(records, alpha))
    even = np.full(labels, 1.0 / labels)
    given = rng.multinomial(raters, even, size=records - alike).astype(np.float64)
    matrix = (given.T @ given - np.diag(given.sum(axis=0))) / (raters - 1)
    return np.asarray(matrix + np.diag(rng.multinomial(alike, even) * float(raters)))


def asked_of_labels(charter: Charter, people: People) -> Iterator[AskedOfLabels]:
    """Yield the bar on agreement, where there is one."""
    terms = charter.annotation
    if terms is None or terms.bar is None:
        return
    yield AskedOfLabels(
        title="agreement of annotators",
        bar=terms.bar,
        direction="at-least",
        best=1.0,
        low=max(LOWEST, 0.0),
        high=1.0,
        aim="half-way",
        records=np.array([float(people.in_all)]),
        epsilon=terms.epsilon,
        spends="annotation.epsilon",
        share=1.0 / charter.data.holdout_fraction,
        charter=charter,
        terms=terms,
        noise=plan_of(charter).noise.sum_variance,
    )


def supposed_of_labels(charter: Charter) -> Iterator[str]:
    """Yield what was supposed of the labels."""
    if charter.annotation is not None and charter.annotation.bar is not None:
        yield "labels by every annotator on every record, trained ones too, each label as often"


def plan_of(charter: Charter) -> AgreementPlan:
    """Return the noise of the coincidences.

    Raises:
        AccountingError: the charter asks for none, or no noise keeps them within their epsilon.
    """
    plan = AGREEMENT.plan(charter, 1.0)
    if plan is None:
        raise AccountingError("the charter asks for no agreement; nothing was computed")
    return plan
