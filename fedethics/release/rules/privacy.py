"""Whether every site's data paid what the charter allows, by the sites' own signed word."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial

from fedethics.errors import AccountingError
from fedethics.privacy.ledger.receipt import Receipt
from fedethics.release import receipts
from fedethics.release.evidence import Plan, SignedReceipt
from fedethics.release.folder import CHARTER, EVIDENCE, Folder
from fedethics.release.plan_facts import plan_facts
from fedethics.release.rules.rule import Findings, Measurement, Rule, Topic

# Stds and epsilons are recomputed in floating point, perhaps by another version of a library.
_RELATIVE = 1e-6
_TOPIC: Topic = "privacy"


def examine(folder: Folder) -> tuple[Rule, ...]:
    """Judge receipts, terms, both epsilons, the noise, and the plan."""
    return (
        _receipts(folder),
        _terms(folder),
        _spending(
            folder,
            phase="training",
            allowed=folder.charter.privacy.training.epsilon,
            spent=lambda receipt: (receipt.training_epsilon, receipt.training_rounds),
        ),
        _spending(
            folder,
            phase="evaluation",
            allowed=folder.charter.privacy.evaluation.epsilon,
            spent=lambda receipt: (receipt.evaluation_epsilon, receipt.evaluation_rounds),
        ),
        _noise(folder),
        _plan(folder),
    )


def genuine_receipts(folder: Folder) -> dict[str, Receipt]:
    """Return, by site, the receipts that its roster key signed for this run and this charter."""
    return {
        receipt.site: receipt
        for receipt, fault in map(partial(_checked, folder), folder.evidence.receipts)
        if receipt is not None and not fault
    }


def took_part(folder: Folder) -> tuple[str, ...]:
    """Return the sites that must account for the run: the roster, or those that were asked.

    Where the charter has a quorum, a run may go on without a site. One that no sum on record asked
    put nothing into what is released.
    """
    everyone = folder.charter.site_names
    if folder.charter.secagg.quorum is None:
        return everyone
    asked = {site for entry in folder.evidence.rounds for site in entry.cohort}
    return tuple(site for site in everyone if site in asked)


def _checked(folder: Folder, signed: SignedReceipt) -> tuple[Receipt | None, str]:
    """Return a receipt and what is wrong with it; a forged one is never read."""
    member = next((m for m in folder.charter.roster if m.public_key == signed.public_key), None)
    if member is None:
        return None, f"A receipt is signed by {signed.public_key[:12]}, no key of the roster."
    receipt = receipts.genuine(signed, roster_key=member.public_key)
    if receipt is None or receipt.site != member.site:
        return None, f"The receipt of {member.site} does not bear its signature."
    if receipt.run_id != folder.evidence.run_id:
        return receipt, f"The receipt of {receipt.site} is for run {receipt.run_id}."
    if receipt.charter_hash != folder.charter_sha256:
        return receipt, f"The receipt of {receipt.site} is for charter {receipt.charter_hash[:12]}."
    return receipt, ""


def receipt_faults(folder: Folder) -> tuple[str, ...]:
    """Return one sentence for each receipt that is forged, foreign or doubled."""
    checked = [_checked(folder, signed) for signed in folder.evidence.receipts]
    sites = [receipt.site for receipt, _ in checked if receipt is not None]
    doubled = sorted({site for site in sites if sites.count(site) > 1})
    faults = [fault for _, fault in checked if fault]
    return (*faults, *(f"{site} has more than one receipt." for site in doubled))


def _of(folder: Folder, asked: tuple[str, ...]) -> str:
    away = len(folder.charter.roster) - len(asked)
    return f" that took part ({away} of the roster did not)" if away else ""


def _receipts(folder: Folder) -> Rule:
    keys = {signed.public_key for signed in folder.evidence.receipts}
    asked = took_part(folder)
    missing = [
        member.site
        for member in folder.charter.roster
        if member.public_key not in keys and member.site in asked
    ]
    gaps = [f"No receipt from {', '.join(missing)}: what they spent is unknown."] if missing else []
    found = Findings(faults=receipt_faults(folder), gaps=tuple(gaps))
    return found.rule(
        "receipts of every site",
        topic=_TOPIC,
        holds=f"All {len(asked)} sites{_of(folder, asked)} signed what this run spent on their "
        "data, each with its roster key.",
        evidence=EVIDENCE,
    )


def _terms(folder: Folder) -> Rule:
    privacy = folder.charter.privacy
    agreed = (privacy.unit, privacy.neighbouring, privacy.delta)
    plan = folder.evidence.plan
    stated: dict[str, tuple[str, str, float]] = {
        "the coordinator's plan": (plan.unit, plan.neighbouring, plan.delta)
    }
    for site, receipt in genuine_receipts(folder).items():
        stated[f"the receipt of {site}"] = (receipt.unit, receipt.neighbouring, receipt.delta)
    faults = tuple(
        f"In {who}, the terms are unit {unit}, {neighbouring}, delta {delta:g}."
        for who, (unit, neighbouring, delta) in stated.items()
        if (unit, neighbouring, delta) != agreed
    )
    found = Findings(faults=faults)
    return found.rule(
        "terms of the guarantee",
        topic=_TOPIC,
        holds=f"Every epsilon here is for one {privacy.unit}, under {privacy.neighbouring} "
        f"neighbours, at delta {privacy.delta:g}, as the charter says.",
        evidence=CHARTER,
    )


def _spending(
    folder: Folder,
    *,
    phase: str,
    allowed: float,
    spent: Callable[[Receipt], tuple[float | None, tuple[int, ...]]],
) -> Rule:
    found = genuine_receipts(folder)
    faults: list[str] = []
    worst = 0.0
    for site, receipt in found.items():
        amount, rounds = spent(receipt)
        worst = max(worst, math.inf if amount is None else amount)
        if amount is None:
            faults.append(f"{site} spent without a bound.")
        elif amount > allowed:
            faults.append(f"{site} spent {amount:.3f}, above {allowed:g}{_again(rounds)}.")
    unknown = [site for site in took_part(folder) if site not in found]
    gaps = [f"Unknown at {', '.join(unknown)}: no valid receipt."] if unknown else []
    findings = Findings(faults=tuple(faults), gaps=tuple(gaps))
    return findings.rule(
        f"epsilon of {phase}",
        topic=_TOPIC,
        holds=f"No site's data paid more than {worst:.3f} for {phase}; the charter allows "
        f"{allowed:g}.",
        evidence=EVIDENCE,
        figure=Measurement(
            value=worst if found and math.isfinite(worst) else None,
            bar=allowed,
            direction="at-most",
        ),
    )


def _again(rounds: tuple[int, ...]) -> str:
    twice = receipts.redone(rounds)
    if not twice:
        return ""
    numbers = ", ".join(str(number) for number in twice)
    return f" (done again after an interruption, and paid for again: round {numbers})"


def _noise(folder: Folder) -> Rule:
    found, privacy = folder.evidence, folder.charter.privacy
    faults: list[str] = []
    if found.test_mode:
        faults.append(
            "The run was in test mode: its noise came from a seed, so nothing is private."
        )
    faults.extend(
        f"{site} used fixed noise."
        for site, receipt in genuine_receipts(folder).items()
        if receipt.fixed_noise and not found.test_mode
    )
    if privacy.training.mechanism == "none" or found.plan.training_epsilon is None:
        faults.append("Training ran without differential privacy: its epsilon is infinite.")
    if privacy.evaluation.mechanism == "none" or found.plan.evaluation_epsilon is None:
        faults.append("The evaluation tables carry no noise: their epsilon is infinite.")
    findings = Findings(faults=tuple(faults))
    return findings.rule(
        "noise was real",
        topic=_TOPIC,
        holds="Training and evaluation both carry noise drawn afresh at each site.",
        evidence=EVIDENCE,
    )


def _plan(folder: Folder) -> Rule:
    try:
        faults = _differences(folder)
    except AccountingError as error:
        faults = (f"No plan follows from the charter: {error}",)
    findings = Findings(faults=faults)
    return findings.rule(
        "noise as planned",
        topic=_TOPIC,
        holds="Noise, steps and epsilons, recomputed from the charter alone, are those in the "
        "evidence; every interval here includes that noise.",
        evidence=EVIDENCE,
    )


def _differences(folder: Folder) -> tuple[str, ...]:
    found, planned = folder.evidence, plan_facts(folder.charter)
    stated: Plan = found.plan
    pairs: dict[str, tuple[float | str | None, float | str | None]] = {
        field.name: (getattr(stated, field.name), getattr(planned, field.name))
        for field in dataclasses.fields(Plan)
    }
    pairs["counts_variance"] = (found.counts_variance, planned.counts_std**2)
    pairs["histogram_variance"] = (found.histogram_variance, planned.histogram_std**2)
    pairs["effects_variance"] = (found.effects_variance, planned.effects_std**2)
    pairs["flips_variance"] = (found.flips_variance, planned.flips_std**2)
    for entry in found.progress:
        label = f"progress variance of round {entry.round}"
        pairs[label] = (entry.variance, planned.progress_std**2)
    return tuple(
        f"The evidence says {name.replace('_', ' ')} {said}; the charter gives {computed}."
        for name, (said, computed) in pairs.items()
        if not _same(said, computed)
    )


def _same(first: float | str | None, second: float | str | None) -> bool:
    if isinstance(first, float | int) and isinstance(second, float | int):
        return math.isclose(first, second, rel_tol=_RELATIVE, abs_tol=1e-12)
    return first == second
