"""What the federation is compared with: alone, without DP, pooled, other epsilons, plain columns.

These runs hold all records in one process, which no real federation can; they exist so that a
researcher can see what federation and privacy each cost. Training is the very code that sites run;
only the secure sum is replaced by a plain one. Noise and sampling follow from the seed, so the
figures repeat; nothing of them is ever released.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedethics.charter.model import Charter
from fedethics.data.split import Split
from fedethics.privacy.calibration import noise_multiplier
from fedethics.privacy.noise import NoiseSource
from fedethics.site.workbench import Workbench
from fedethics.training.dp_sgd import LocalTerms, train_round
from fedethics.training.learner import Learner


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """One trained model, judged on the held-out records of every site.

    Attributes:
        scores: site -> score of each held-out record.
    """

    scores: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Bench:
    """The sites' records and the charter that the baselines follow."""

    charter: Charter
    records: Mapping[str, Split]

    def learner(self, seed: int) -> Learner:
        """Return a learner whose adapter starts from `seed`."""
        adapter = dataclasses.replace(self.charter.adapter, seed=seed)
        return Learner(dataclasses.replace(self.charter, adapter=adapter))

    def federate(
        self, learner: Learner, *, sites: Sequence[str], epsilon: float | None, seed: int
    ) -> Fit:
        """Train over `sites` with plain sums; `epsilon` None means without DP."""
        sigma = self._sigma(epsilon)
        declared = {site: self._declared(site) for site in sites}
        total = sum(declared.values())
        vector = learner.initial_vector()
        sources = {site: NoiseSource.fixed(f"{seed}/{site}".encode()) for site in sites}
        for number in range(self.charter.training.rounds):
            step = np.zeros_like(vector, dtype=np.float64)
            for site in sites:
                part = self.records[site].train
                result = train_round(
                    learner,
                    vector=vector,
                    activations=Workbench(self.records[site], learner).activations(part),
                    labels=part.labels,
                    terms=self._terms(sigma, declared[site]),
                    noise=sources[site].derive(str(number)),
                )
                step += declared[site] / total * result.update
            rate = self.charter.training.server_learning_rate
            vector = (vector + rate * step).astype(np.float32)
        return self._judge(learner, vector)

    def pool(self, learner: Learner, *, seed: int) -> Fit:
        """Train on all records in one place, without DP, for as many steps."""
        vector = learner.initial_vector()
        parts = [self.records[site].train for site in self.records]
        benches = [Workbench(split, learner) for split in self.records.values()]
        activations = functools.reduce(
            operator.add,
            [bench.activations(part) for bench, part in zip(benches, parts, strict=True)],
        )
        labels = np.concatenate([part.labels for part in parts])
        source = NoiseSource.fixed(f"{seed}/pooled".encode())
        for number in range(self.charter.training.rounds):
            result = train_round(
                learner,
                vector=vector,
                activations=activations,
                labels=labels,
                terms=self._terms(0.0, len(labels)),
                noise=source.derive(str(number)),
            )
            vector = vector + result.update
        return self._judge(learner, vector)

    def logistic(self, sites: Sequence[str]) -> Fit:
        """Fit logistic regression on the raw columns of `sites`, without DP."""
        rows = [row for site in sites for row in self.records[site].train.values]
        labels = np.concatenate([self.records[site].train.labels for site in sites])
        predict = _logistic(rows, labels)
        return Fit(
            scores={site: predict(split.held_out.values) for site, split in self.records.items()}
        )

    def _judge(self, learner: Learner, vector: NDArray[np.float32]) -> Fit:
        return Fit(
            scores={
                site: learner.scores(vector, Workbench(split, learner).activations(split.held_out))
                for site, split in self.records.items()
            }
        )

    def _declared(self, site: str) -> int:
        member = self.charter.member(site)
        return member.declared_records if member else 0

    def _sigma(self, epsilon: float | None) -> float:
        if epsilon is None:
            return 0.0
        training = self.charter.training
        return noise_multiplier(
            epsilon=epsilon,
            delta=self.charter.privacy.delta,
            sampling_rate=self.charter.privacy.training.sampling_rate,
            steps=training.rounds * training.local_steps,
        )

    def _terms(self, sigma: float, declared: int) -> LocalTerms:
        return LocalTerms.of(self.charter, noise_multiplier=sigma, declared_records=declared)


Rows = Sequence[Mapping[str, float | str | None]]


def _logistic(rows: Rows, labels: NDArray[np.int8]) -> Callable[[Rows], NDArray[np.float64]]:
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler

    if len(np.unique(labels)) < 2:
        only = float(labels[0])
        return lambda asked: np.full(len(asked), only)
    model = make_pipeline(
        DictVectorizer(sparse=False), MaxAbsScaler(), LogisticRegression(max_iter=1000)
    )
    model.fit([_without_gaps(row) for row in rows], labels)
    return lambda asked: np.asarray(
        model.predict_proba([_without_gaps(row) for row in asked])[:, 1], dtype=np.float64
    )


def _without_gaps(row: Mapping[str, float | str | None]) -> dict[str, float | str]:
    # A gap is its own category, so that "never measured" is not read as zero.
    return {name: "not recorded" if value is None else value for name, value in row.items()}
