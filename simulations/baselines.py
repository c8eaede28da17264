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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedethics.aggregates.update import sum_limit
from fedethics.charter.model import Charter
from fedethics.data.records import Split
from fedethics.privacy.gaussian_shares import NORM_STEPS, share_std
from fedethics.privacy.noise import NoiseSource
from fedethics.privacy.plan import PrivacyPlan, make_plan
from fedethics.site.workbench import Workbench
from fedethics.training.distributed import gradient_share
from fedethics.training.dp_sgd import train_round
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms
from fedethics.training.server_step import Moments, gradient_step, server_change, stepped
from simulations.logistic import fit_logistic
from simulations.site_rules import SiteRule
from simulations.steered import counts_before, losses, weights_of


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
        self,
        learner: Learner,
        *,
        sites: Sequence[str],
        epsilon: float | None,
        seed: int,
        rule: SiteRule | None = None,
    ) -> Fit:
        """Train over `sites` with plain sums; `epsilon` None means without DP.

        Args:
            learner: with the adapter to start from.
            sites: who takes part.
            epsilon: for one unit of the training records, counts that steer training included.
            seed: of sampling and noise.
            rule: how sites count, where it is not by their declared records (local trust only).
        """
        plan = self.plan(epsilon)
        sigma = plan.update.noise_multiplier or 0.0
        distributed = self.charter.privacy.training.trust_mode == "distributed"
        # Without noise, one step a round is the same step whoever divides.
        one_round = self._shared_round if distributed and sigma else self._local_round
        vector = learner.initial_vector()
        moments: Moments | None = None
        sources = {site: NoiseSource.fixed(f"{seed}/{site}".encode()) for site in sites}
        counted: list[NDArray[np.int64]] = []
        parts = {site: self.records[site].train for site in sites}

        def scored() -> dict[str, NDArray[np.float64]]:
            return {
                site: learner.scores(
                    vector, Workbench(self.records[site], learner).activations(part)
                )
                for site, part in parts.items()
            }

        for number in range(1, self.charter.training.rounds + 1):
            if number in plan.steering.rounds:
                counted.append(counts_before(self.charter, parts, sources, plan, number, scored()))
            weights = weights_of(self.charter, parts, plan, counted)
            shares: Mapping[str, float] = self._shares(sites)
            if rule is not None and not distributed:
                shares = rule.shares(losses(parts, scored()), self._sizes(sites))
            mean = one_round(learner, vector, sigma, number, sources, weights, shares)
            change, moments = server_change(self.charter, mean, moments)
            vector = self._stepped(learner, vector, change)
        return self._judge(learner, vector)

    def plan(self, epsilon: float | None) -> PrivacyPlan:
        """Return the charter's plan at another training epsilon; None is without DP."""
        privacy = self.charter.privacy
        if epsilon is None:
            training = dataclasses.replace(privacy.training, mechanism="none")
        else:
            training = dataclasses.replace(privacy.training, mechanism="dp-sgd", epsilon=epsilon)
            # A smaller budget leaves the audit the same part of it.
            part = min(1.0, epsilon / privacy.training.epsilon)
            audit = dataclasses.replace(privacy.audit, epsilon=privacy.audit.epsilon * part)
            privacy = dataclasses.replace(privacy, audit=audit)
        privacy = dataclasses.replace(privacy, training=training)
        return make_plan(dataclasses.replace(self.charter, privacy=privacy))

    def _sizes(self, sites: Sequence[str]) -> dict[str, int]:
        return {site: self._declared(site) for site in sites}

    def _shares(self, sites: Sequence[str]) -> dict[str, float]:
        sizes = self._sizes(sites)
        return {site: size / sum(sizes.values()) for site, size in sizes.items()}

    def _local_round(
        self,
        learner: Learner,
        vector: NDArray[np.float32],
        sigma: float,
        number: int,
        sources: Mapping[str, NoiseSource],
        weights: Mapping[str, NDArray[np.float64] | None],
        shares: Mapping[str, float],
    ) -> NDArray[np.float64]:
        """Return the mean of the sites' updates by their shares."""
        mean = np.zeros(learner.size)
        for site, source in sources.items():
            part = self.records[site].train
            result = train_round(
                learner,
                vector=vector,
                activations=Workbench(self.records[site], learner).activations(part),
                labels=part.labels,
                terms=self._terms(sigma, self._declared(site), number),
                noise=source.derive(str(number)),
                units=part.units,
                weights=weights[site],
            )
            mean += shares[site] * result.update
        return mean

    def _shared_round(
        self,
        learner: Learner,
        vector: NDArray[np.float32],
        sigma: float,
        number: int,
        sources: Mapping[str, NoiseSource],
        weights: Mapping[str, NDArray[np.float64] | None],
        _shares: Mapping[str, float],
    ) -> NDArray[np.float64]:
        """Return one step over all sites, each with its share of the noise (distributed trust)."""
        secagg = self.charter.secagg
        std = share_std(sigma * NORM_STEPS, shares=secagg.minimum_cohort - secagg.colluders)
        total = np.zeros(learner.size, dtype=np.int64)
        for site, source in sources.items():
            part = self.records[site].train
            total += gradient_share(
                learner,
                vector=vector,
                activations=Workbench(self.records[site], learner).activations(part),
                labels=part.labels,
                terms=self._terms(sigma, self._declared(site), number),
                noise=source.derive(str(number)),
                share_std=std,
                limit=sum_limit(self.charter),
                units=part.units,
                weights=weights[site],
            )
        return gradient_step(self.charter, total, declared=sum(map(self._declared, sources)))

    def _stepped(
        self, learner: Learner, vector: NDArray[np.float32], mean: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        return stepped(
            learner,
            vector,
            mean=mean,
            rate=self.charter.training.server_learning_rate,
            form=self.charter.adapter.form,
        )

    def pool(self, learner: Learner, *, seed: int, epsilon: float | None = None) -> Fit:
        """Train on all records in one place for as many steps; without DP unless `epsilon` says."""
        vector = learner.initial_vector()
        moments: Moments | None = None
        parts = [self.records[site].train for site in self.records]
        benches = [Workbench(split, learner) for split in self.records.values()]
        activations = functools.reduce(
            operator.add,
            [bench.activations(part) for bench, part in zip(benches, parts, strict=True)],
        )
        labels = np.concatenate([part.labels for part in parts])
        source = NoiseSource.fixed(f"{seed}/pooled".encode())
        for number in range(1, self.charter.training.rounds + 1):
            result = train_round(
                learner,
                vector=vector,
                activations=activations,
                labels=labels,
                terms=self._terms(
                    self.plan(epsilon).update.noise_multiplier or 0.0, len(labels), number
                ),
                noise=source.derive(str(number)),
                units=_side_by_side([part.units for part in parts]),
            )
            change, moments = server_change(self.charter, result.update.astype(np.float64), moments)
            vector = self._stepped(learner, vector, change)
        return self._judge(learner, vector)

    def logistic(self, sites: Sequence[str]) -> Fit:
        """Fit logistic regression on the raw columns of `sites`, without DP."""
        rows = [row for site in sites for row in self.records[site].train.values]
        labels = np.concatenate([self.records[site].train.labels for site in sites])
        columns = self.charter.data.columns
        words = frozenset(column.name for column in columns if column.kind == "text")
        label = self.charter.data.labels
        several = None if label.classes is None else len(label.names)
        predict = fit_logistic(rows, labels, words_of=words, classes=several)
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

    def _terms(self, sigma: float, declared: int, number: int) -> LocalTerms:
        local = self.charter.privacy.training
        if not sigma:
            local = dataclasses.replace(local, mechanism="none")
        privacy = dataclasses.replace(self.charter.privacy, training=local)
        return LocalTerms.of(
            dataclasses.replace(self.charter, privacy=privacy),
            noise_multiplier=sigma,
            declared_records=declared,
            round_number=number,
        )


def _side_by_side(units: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Number the units of several sites through: a person at two sites is two units."""
    numbered, start = [], 0
    for own in units:
        numbered.append(own + start)
        start += int(own.max()) + 1
    return np.concatenate(numbered)
