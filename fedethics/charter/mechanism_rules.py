"""What the training mechanism and the unit of privacy need of other tables of the charter."""

from __future__ import annotations

from collections.abc import Iterator

from fedethics.charter.data_terms import DataTerms
from fedethics.charter.privacy_terms import PrivacyTerms
from fedethics.charter.roster import Member
from fedethics.charter.secagg_terms import AggregationTerms
from fedethics.charter.training_terms import TrainingTerms
from fedethics.secagg.honest_sites import COMPLETE_UP_TO, RING_FAILURE, SMALLEST_HONEST

# A failure of the ring comes on top of delta; it may be this share of it.
_RING_SHARE = 1e-3


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


def fast_mode_rule(roster: tuple[Member, ...], secagg: AggregationTerms) -> Iterator[str]:
    """Yield why survivors must be signed: unsigned, a sum could be one honest site's vector."""
    if secagg.mode != "fast" or secagg.problems():
        return
    if len(roster) > COMPLETE_UP_TO:
        yield (
            f'secagg.mode "fast": {len(roster)} sites; above {COMPLETE_UP_TO} the survivors of a '
            'sum must be signed. Use "strict"'
        )
    elif not roster or len(roster) >= secagg.minimum_cohort:
        sites = len(roster) or secagg.minimum_cohort
        if secagg.fewest_honest(sites, whole_roster=False) < SMALLEST_HONEST:
            yield (
                f'secagg.mode "fast": with {sites} sites, minimum-cohort {secagg.minimum_cohort} '
                f"and {secagg.colluders} colluders, a lying coordinator could open the vector of "
                'one honest site alone. Use "strict", or raise minimum-cohort'
            )


def ring_rule(roster: tuple[Member, ...], privacy: PrivacyTerms) -> Iterator[str]:
    """Yield why noise cannot be shared on a ring: the chance that it is cut must hide in delta."""
    if len(roster) <= COMPLETE_UP_TO or privacy.delta * _RING_SHARE >= RING_FAILURE:
        return
    for name, terms in (("training", privacy.training), ("evaluation", privacy.evaluation)):
        if terms.trust_mode == "distributed":
            yield (
                f'privacy.{name}.trust-mode "distributed": above {COMPLETE_UP_TO} sites a ring '
                f"fails with probability {RING_FAILURE:.2g}, on top of privacy.delta "
                f"{privacy.delta:g}; that is more than {_RING_SHARE:g} of it. Use a delta of at "
                f"least {RING_FAILURE / _RING_SHARE:.2g}, or local trust"
            )
