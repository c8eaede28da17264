"""What the training mechanism and the unit of privacy need of other tables of the charter."""

from __future__ import annotations

from collections.abc import Iterator

from fedethics.charter.data_terms import DataTerms
from fedethics.charter.privacy_terms import PrivacyTerms
from fedethics.charter.secagg_terms import AggregationTerms
from fedethics.charter.training_terms import TrainingTerms


def unit_rule(privacy: PrivacyTerms, data: DataTerms) -> Iterator[str]:
    """Yield what is wrong between unit and data: a person needs an id, a record has none."""
    if privacy.unit == "person" and not data.person:
        yield 'privacy.unit "person": data.person does not name the column that tells persons apart'
    if privacy.unit == "record" and data.person:
        yield (
            f'data.person: {data.person!r} is named, but privacy.unit is "record"; the epsilon '
            "would be for one row of a person only"
        )


def adaptive_clipping_rule(privacy: PrivacyTerms, training: TrainingTerms) -> Iterator[str]:
    """Yield why the optimiser cannot go with a clipping norm that moves."""
    if privacy.training.adaptive_quantile and training.optimizer == "adam-bc":
        yield (
            'privacy.training.adaptive-quantile: optimizer "adam-bc" subtracts the noise\'s '
            "variance, which moves with the norm; use another optimizer"
        )


def distributed_training_rule(
    privacy: PrivacyTerms, training: TrainingTerms, secagg: AggregationTerms
) -> Iterator[str]:
    """Yield why training cannot be distributed as asked; nothing under local trust."""
    terms = privacy.training
    if terms.trust_mode != "distributed":
        return
    if terms.mechanism == "none":
        yield (
            'privacy.training.trust-mode "distributed": there is no noise to distribute under '
            'mechanism "none"'
        )
    if training.local_steps != 1:
        yield (
            f"training.local-steps: {training.local_steps}, but under distributed trust a round is "
            "one step: a second one would read a gradient that is not noised enough. Use 1"
        )
    if training.optimizer != "sgd" or training.momentum:
        yield (
            "training.optimizer: under distributed trust the coordinator takes the step, and only "
            '"sgd" without momentum is built'
        )
    if secagg.colluders == 0:
        yield (
            "secagg.colluders: 0, but under distributed trust any member can subtract its own "
            "share of the training noise; count at least that one"
        )
