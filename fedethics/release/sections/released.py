"""Every release that was charged: what left the sites, when, with which noise."""

from __future__ import annotations

import math

from fedethics.charter.ethics_terms import STEPS
from fedethics.privacy.plan import make_plan
from fedethics.release.folder import Folder
from fedethics.release.sections.block import NARROW, Table, number
from fedethics.tasks import AUDIT, FAIRNESS, PROGRESS, STEERING, UPDATE


def build(folder: Folder) -> Table:
    """Return one row for each opened sum, in the order in which they were opened."""
    charter, plan = folder.charter, make_plan(folder.charter)
    facts = folder.evidence.plan
    privacy, training = charter.privacy, charter.training
    multiplier = "no noise" if plan.noise_multiplier is None else number(plan.noise_multiplier)
    rows = {
        UPDATE: (
            "weighted sum of the sites' updates",
            "trained",
            f"{privacy.training.mechanism}: {training.local_steps} steps, noise multiplier "
            f"{multiplier}, sampling rate {facts.sampling_rate:g}, clipping norm "
            f"{privacy.training.clipping_norm:g}",
        ),
        PROGRESS: (
            "four counts: label by prediction, no groups",
            "held out",
            f"{privacy.evaluation.mechanism}: std {number(facts.progress_std, 2)} on each count "
            "of the sum",
        ),
        FAIRNESS: (
            "counts by group, label and prediction; histograms of scores",
            "held out",
            f"{privacy.evaluation.mechanism}: std {number(facts.counts_std, 2)} on each count, "
            f"{number(facts.histogram_std, 2)} on each bin of the sum{_explained(folder)}",
        ),
        STEERING: (
            f"counts by {charter.mitigation.feature}, label and prediction, before the round",
            "trained",
            f"{privacy.evaluation.mechanism}: std "
            f"{number(math.sqrt(plan.steering_sum_variance), 2)} on each count of the sum",
        ),
    }
    if plan.audit is not None:
        stds = [
            number(math.sqrt(half.sum_variance), 2)
            for half in (plan.audit.members, plan.audit.non_members)
        ]
        rows[AUDIT] = (
            "histograms of the adapter's certainty, trained and held-out apart",
            "trained; held out",
            f"{privacy.evaluation.mechanism}: std {stds[0]} and {stds[1]} on each bin of the sum",
        )
    if charter.ethics.explanation.asked:
        what, whose, how = rows[FAIRNESS]
        rows[FAIRNESS] = (f"{what}; sums of score changes and counts of flips", whose, how)
    return Table(
        head=("After", "What left, as a sum", "Records that paid", "Mechanism", "Sites in the sum"),
        rows=tuple(
            (
                f"round{NARROW}{entry.round}",
                *rows[entry.kind],
                f"{len(entry.survivors)} of {len(entry.cohort)}",
            )
            for entry in folder.evidence.rounds
        ),
    )


def _explained(folder: Folder) -> str:
    terms, facts = folder.charter.ethics.explanation, folder.evidence.plan
    if not terms.asked:
        return ""
    change = facts.effects_std * terms.largest_change / STEPS
    return (
        f"; {number(change, 2)} on each sum of score changes, {number(facts.flips_std, 2)} on each "
        "count of flips"
    )
