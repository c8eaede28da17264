"""What a charter asks of a site, next to what the site's policy allows: one row for each term.

The rows explain; they do not decide. What decides are the rules of `fedethics.policy.permit`, whose
reasons stand below the table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from fedethics.aggregates.aggregate import UNLIMITED
from fedethics.aggregates.aggregate import Ask as Row
from fedethics.aggregates.registry import AGGREGATES
from fedethics.charter.cohorts import words
from fedethics.charter.model import Charter
from fedethics.policy.model import ANY, Policy
from fedethics.privacy.plan import PrivacyPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One term: what is asked and what is allowed, in words."""

    term: str
    asked: str
    allowed: str


def asks(charter: Charter, *, policy: Policy, plan: PrivacyPlan) -> tuple[Ask, ...]:
    """Return every term of `charter` that a policy limits, and the few others that matter."""
    rows = (
        *_of_privacy(charter, policy, plan),
        *_of_work(charter, policy, plan),
        *_of_sums(charter, policy),
        *(row for each in AGGREGATES.values() for row in each.asks(charter)),
    )
    return tuple(Ask(term=term, asked=asked, allowed=allowed) for term, asked, allowed in rows)


def _of_privacy(charter: Charter, policy: Policy, plan: PrivacyPlan) -> Iterator[Row]:
    allow, privacy = policy.allow, charter.privacy
    at = f"at delta {privacy.delta:g}"
    if charter.monitoring is not None:
        one_window = f"{_figure(plan.evaluation.epsilon)} {at}"
        yield "epsilon of a window's records, each window", one_window, _caps(policy)
    else:
        yield from _of_a_run(plan, at, policy)
    yield "delta", f"{privacy.delta:g}", f"at most {policy.caps.delta:g}"
    yield "who counts as one", privacy.unit, _any_of(allow.units)
    yield (
        "who training noise protects against",
        privacy.training.trust_mode,
        _any_of(allow.training_trust_modes),
    )
    yield (
        "who table noise protects against",
        privacy.evaluation.trust_mode,
        _any_of(allow.evaluation_trust_modes),
    )
    if charter.monitoring is None:
        multiplier = plan.update.noise_multiplier
        noise = "none" if multiplier is None else f"{multiplier:.3g}"
        yield "noise multiplier of a training step", noise, _noise(policy)
        yield "how training noise is drawn", _drawn(charter), UNLIMITED


def _of_a_run(plan: PrivacyPlan, at: str, policy: Policy) -> Iterator[Row]:
    yield "epsilon of training, whole run", f"{_figure(plan.training.epsilon)} {at}", _caps(policy)
    yield (
        "epsilon of held-out records, whole run",
        f"{_figure(plan.evaluation.epsilon)} {at}",
        _caps(policy),
    )


def _of_work(charter: Charter, policy: Policy, plan: PrivacyPlan) -> Iterator[Row]:
    training, minimum = charter.training, policy.minimum
    asked = [each for each in AGGREGATES.values() if each.name in plan.sums]
    sums = [word for each in asked for word in each.permissions(charter)]
    cohort = f"at least {charter.secagg.minimum_cohort} of {len(charter.roster)}"
    steps = f"{training.rounds}, of {training.local_steps} steps each"
    if turns := words(charter):
        steps = f"{steps}; {turns}"
    listed = "any charter" if ANY in policy.allow.charters else "those listed by hash"
    yield "sums that leave", ", ".join(sums), _any_of(policy.allow.releases)
    if template := charter.model.chat_template:
        length = f"the charter's own, {len(template)} characters, run apart: read it"
        yield "chat template, a program that reads every record", length, UNLIMITED
    explanation = charter.ethics.explanation
    if explanation.asked and charter.monitoring is None:
        changes = f"{len(explanation.occluded(charter.data))} columns left out, one at a time; "
        changes += f"{len(explanation.swap)} words swapped"
        releases = 'only with "explanation" among allow.releases'
        yield "score changes in the fairness sum", changes, releases
    yield "sites in any opened sum", cohort, f"at least {minimum.cohort}"
    if charter.monitoring is None:
        quorum = charter.secagg.quorum
    tables = "the whole roster" if quorum is None else f"at least {quorum} of {len(charter.roster)}"
    yield "sites in tables that are opened once", tables, f"at least {minimum.cohort}"
    yield "rounds", steps, "as many as the caps on epsilon allow"
    yield "records in each part", "checked when the data are read", f"at least {minimum.records}"
    yield "this charter", plan.charter_hash[:16], listed


def _of_sums(charter: Charter, policy: Policy) -> Iterator[Row]:
    secagg = charter.secagg
    sites = len(charter.roster) or secagg.minimum_cohort
    honest = secagg.fewest_honest(sites, whole_roster=False)
    yield "sites assumed to collude with the coordinator", str(secagg.colluders), UNLIMITED
    yield (
        "honest sites in any opened sum",
        f"at least {honest}",
        f"at least {policy.minimum.honest_sites}",
    )
    signed = (
        "signed by the sites" if secagg.mode == "strict" else "not signed: as the coordinator says"
    )
    yield "who is in a sum", f"{secagg.mode} ({signed})", UNLIMITED
    checked = "by the sites, in slices" if secagg.verify_slices else "not checked by the sites"
    yield "whether a received sum is the true one", checked, UNLIMITED


def _drawn(charter: Charter) -> str:
    training = charter.privacy.training
    if training.mechanism == "none":
        return "not at all"
    if training.noise == "strict" or training.trust_mode == "distributed":
        return "strict (exact integers)"
    return "fast (float64)"


def _figure(value: float) -> str:
    return "infinite" if math.isinf(value) else f"{value:.3g}"


def _caps(policy: Policy) -> str:
    caps = policy.caps
    return (
        f"{caps.epsilon_per_run:g} a run, {caps.epsilon_per_year:g} a year, "
        f"{caps.epsilon_per_data_set:g} for life"
    )


def _noise(policy: Policy) -> str:
    least = f"at least {policy.minimum.noise_multiplier:g}"
    return f"{least}, or none" if policy.allow.without_dp else least


def _any_of(values: tuple[str, ...]) -> str:
    return " or ".join(values)
