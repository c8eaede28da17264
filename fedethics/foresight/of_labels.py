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
from fedethics.aggregates.agreement.alpha import alpha_of
from fedethics.aggregates.agreement.gate import NAME, NAME_BY_GROUP
from fedethics.charter.annotation_terms import AnnotationTerms
from fedethics.charter.model import Charter
from fedethics.errors import AccountingError
from fedethics.fairness import Estimate
from fedethics.fairness.explained import FloatArray
from fedethics.fairness.judge import Outcome
from fedethics.fairness.together import at_looks
from fedethics.foresight.asked import Asked, outcome_of
from fedethics.foresight.people import People


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedOfLabels(Asked):
    """A bar of `[annotation]`: on everyone, or on each group of the feature that is counted apart.

    Attributes:
        charter: the terms.
        terms: of annotation.
        noise: variance on each entry of a matrix, in steps.
        apart: whether each group must meet it.
    """

    charter: Charter
    terms: AnnotationTerms
    noise: float
    apart: bool

    def judged(
        self, value: float, records: FloatArray, *, noise: float, rng: np.random.Generator
    ) -> tuple[Outcome, Outcome]:
        """Draw every annotator's label of every record and count coincidences."""
        triangle = np.triu_indices(len(self.terms.labels))
        upper = np.stack([
            np.rint(coincidences(self.terms, value, int(size), rng)[triangle] * self.terms.steps)
            for size in records
        ])  # fmt: skip
        noisy = upper + np.rint(rng.normal(0.0, noise * math.sqrt(self.noise), upper.shape))
        return self._outcome(noisy, self.noise * noise**2), self._outcome(upper, 0.0)

    def noise_at(self, epsilon: float) -> float:
        """Return the factor on the noise of the charter's own plan."""
        terms = replace(self.terms, epsilon=epsilon)
        own, other = plan_of(self.charter), plan_of(replace(self.charter, annotation=terms))
        return other.noise.std / own.noise.std if own.noise.std else 1.0

    def _outcome(self, sums: FloatArray, variance: float) -> Outcome:
        if not self.apart:
            whole = self._alpha(sums.sum(axis=0), variance * len(sums), looks=1)
            return outcome_of(whole, bar=self.bar, direction=self.direction)
        # As the gate: each group at its own interval; one that misses allows for all of them.
        surely = [self._alpha(each, variance, looks=len(sums)) for each in sums]
        if any(each.high < self.bar for each in surely):
            return "fails"
        lows = [self._alpha(each, variance, looks=1).low for each in sums]
        return "holds" if all(low >= self.bar for low in lows) else "cannot conclude"

    def _alpha(self, sums: FloatArray, variance: float, *, looks: int) -> Estimate:
        asked = replace(self.terms, confidence=at_looks(self.terms.confidence, looks))
        return alpha_of([int(one) for one in sums], asked, variance=variance)


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
    """Yield the bars on agreement, of everyone and of each group; none where there are none."""
    terms = charter.annotation
    if terms is None:
        return
    for bar, title in ((terms.bar, NAME), (terms.group_bar, NAME_BY_GROUP)):
        if bar is None:
            continue
        share = 1.0 / charter.data.holdout_fraction
        yield AskedOfLabels(
            title=title,
            bar=bar,
            direction="at-least",
            best=1.0,
            low=0.0,
            high=1.0,
            aim="half-way",
            records=people.of(terms.by or "") * share,
            epsilon=terms.epsilon,
            spends="annotation.epsilon",
            share=share,
            charter=charter,
            terms=terms,
            noise=plan_of(charter).noise.sum_variance,
            apart=title == NAME_BY_GROUP,
        )


def supposed_of_labels(charter: Charter) -> Iterator[str]:
    """Yield what was supposed of the labels."""
    terms = charter.annotation
    if terms is not None and (terms.bar is not None or terms.group_bar is not None):
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
