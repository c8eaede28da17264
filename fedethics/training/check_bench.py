"""What `dp-check` works on: a learner, made-up records and the charter's own terms."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedethics.charter.model import Charter
from fedethics.data.records import Targets
from fedethics.privacy.noise import NoiseSource
from fedethics.privacy.plan import PrivacyPlan, make_plan
from fedethics.training.activations import Activations
from fedethics.training.clipping import Site, clipped_sum
from fedethics.training.dp_sgd import RoundResult, train_round
from fedethics.training.engines import gradients_of
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms
from fedethics.training.sample_records import sample_records

RECORDS = 12
_DECLARED = 100


@dataclass(frozen=True, slots=True)
class Bench:
    """What the checks work on: a learner, made-up records, a plan and a round's terms."""

    learner: Learner
    plan: PrivacyPlan
    activations: Activations
    labels: Targets
    terms: LocalTerms
    vector: NDArray[np.float32]

    @classmethod
    def of(cls, charter: Charter, learner: Learner) -> Bench:
        """Make records up from the charter's columns, and take its first round's terms."""
        texts, labels = sample_records(charter.data, RECORDS, classes=learner.classes)
        plan = make_plan(charter)
        sigma = plan.noise_multiplier or 0.0
        terms = LocalTerms.of(
            charter, noise_multiplier=sigma, declared_records=_DECLARED, round_number=1
        )
        # Away from B = 0, where A has no gradient.
        ripple = (0.02 * np.sin(np.arange(learner.size))).astype(np.float32)
        vector = learner.initial_vector() + ripple
        return cls(learner, plan, learner.activations(texts), labels, terms, vector)

    def train(
        self,
        source: NoiseSource,
        labels: Targets | None = None,
        **changes: object,
    ) -> RoundResult:
        """Train one step with plain gradient descent, or as `changes` say."""
        plain = {"steps": 1, "optimizer": "sgd", "momentum": 0.0, "learning_rate": 1.0}
        return train_round(
            self.learner,
            vector=self.vector,
            activations=self.activations,
            labels=self.labels if labels is None else labels,
            terms=dataclasses.replace(self.terms, **{**plain, **changes}),  # type: ignore[arg-type]
            noise=source,
            units=np.arange(RECORDS),
        )

    @contextmanager
    def site(self) -> Iterator[Site]:
        """Give what gradients are taken from, with the learner held."""
        engine = gradients_of(self.learner)
        with self.learner.lock, engine as gradients:
            self.learner.load(self.vector)
            yield Site(
                learner=self.learner,
                gradients=gradients,
                activations=self.activations,
                labels=self.labels,
                units=np.arange(RECORDS),
            )

    def total(self, site: Site, rows: NDArray[np.intp], **changes: object) -> Tensor:
        """Return the sum of clipped gradients of `rows`."""
        terms = dataclasses.replace(self.terms, **changes)  # type: ignore[arg-type]
        return clipped_sum(site, rows, terms=terms).total
