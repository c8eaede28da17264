"""Whether the settings come from where the charter says: of a search, every trial is paid for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

from fedethics.charter.document import hash_of
from fedethics.charter.phases import agreed_of
from fedethics.charter.tuning_terms import TuningTerms
from fedethics.errors import FedethicsError
from fedethics.privacy import search
from fedethics.privacy.ledger.receipt import Receipt
from fedethics.release import receipts, searched
from fedethics.release.folder import EVIDENCE, Folder, tables_of
from fedethics.release.rules import integrity, privacy
from fedethics.release.rules.privacy import genuine_receipts
from fedethics.release.rules.rule import Findings, Rule, Topic
from fedethics.release.searched import Tried

_TOPIC: Topic = "privacy"
NAME = "settings as declared"
_IDLE = {
    "fixed": "The charter says that nobody tried other settings on these records. No ledger could "
    "show the opposite, so nothing was examined.",
    "public": "The charter says that the settings were chosen on public records: {source}. No "
    "ledger could show the opposite, so nothing was examined.",
}


def examine(folder: Folder) -> tuple[Rule, ...]:
    """Judge where the settings come from; no rule where the charter does not say."""
    tuning = folder.charter.tuning
    if tuning is None:
        return ()
    if not tuning.paid:
        said = _IDLE[tuning.settings_from].format(source=tuning.source)
        return (_rule(Findings(idle=said), holds=said),)
    if not tuning.is_final:
        what = f"This is {tuning.phase} of a search" if tuning.phase else "A search is no run"
        fault = f"{what}. Only its final run can be released."
        return (_rule(Findings(faults=(fault,)), holds=fault),)
    try:
        faults, holds = _search(folder, tuning)
    except FedethicsError as error:
        faults, holds = (f"The trials cannot be examined: {error}.",), ""
    return (_rule(Findings(faults=faults), holds=holds),)


def _rule(findings: Findings, *, holds: str) -> Rule:
    return findings.rule(NAME, topic=_TOPIC, holds=holds, evidence=EVIDENCE)


def _search(folder: Folder, tuning: TuningTerms) -> tuple[tuple[str, ...], str]:
    if not search.follows(folder.charter):
        return ("The run's charter does not follow from the one that was signed.",), ""
    trials = searched.tried(folder.charter, folder.evidence.trials or ())
    faults = [fault for one in trials for fault in (*_unpaid(folder, one), *_unproven(folder, one))]
    faults += _misnamed(folder, trials)
    best = searched.best(folder.charter, trials)
    if best != tuning.number:
        faults.append(
            f"The settings are candidate {tuning.number}'s, but {best} did best by {tuning.select}."
        )
    _, (training, evaluation) = search.costs(agreed_of(folder.charter))
    return tuple(faults), (
        f"{len(trials)} candidates were tried on the sites' own records, and candidate {best} did "
        f"best by {tuning.select}, from noised sums. Each site's ledger shows every trial. All "
        f"trials and this run together cost a trained unit at most epsilon {training:.3f}, and a "
        f"held-out one {evaluation:.3f}, as planned; a round that was done again costs more."
    )


def _unpaid(folder: Folder, trial: Tried) -> Iterator[str]:
    """Yield what speaks against a trial: each site's final receipt must name its receipt of it."""
    own = hash_of(trial.charter)
    if trial.evidence.charter_hash != own:
        yield f"Trial {trial.number} was not run under the charter that follows for it."
    given = dict(_receipts(folder, trial, own))
    final = genuine_receipts(folder)
    for site in folder.charter.site_names:
        receipt, now = given.get(site), final.get(site)
        if receipt is None:
            yield f"{site} signed no receipt of trial {trial.number}."
        elif now is None or receipt.ledger_head not in now.earlier:
            yield f"The ledger of {site} does not show trial {trial.number}."
        else:
            yield from _overspent(trial, receipt)


def _unproven(folder: Folder, trial: Tried) -> Iterator[str]:
    """Hold a trial's figures to what the sites signed, by the rules for the released run."""
    own = dataclasses.replace(
        folder,
        charter=trial.charter,
        charter_sha256=hash_of(trial.charter),
        evidence=trial.evidence,
        tables=tables_of(trial.charter, trial.evidence),
    )
    for rule in (*integrity.examine_trial(own), *privacy.examine(own)):
        if rule.verdict != "pass":
            yield f"Trial {trial.number}, {rule.name}: {rule.sentence}"


def _misnamed(folder: Folder, trials: Sequence[Tried]) -> list[str]:
    """Return which trials are of another search than the final run, by its name."""
    tuning, run = folder.charter.tuning, folder.evidence.run_id
    ending = f"-{tuning.phase}" if tuning else ""
    if not run.endswith(ending):
        return [f"Run {run} is not named as the final run of a search: NAME{ending}."]
    names = searched.trial_names(folder.charter, run.removesuffix(ending))
    return [
        f"Trial {one.number} is run {one.evidence.run_id}; the trial of this search is {name}."
        for one, name in zip(trials, names, strict=True)
        if one.evidence.run_id != name
    ]


def _receipts(folder: Folder, trial: Tried, own: str) -> Iterator[tuple[str, Receipt]]:
    members = {member.public_key: member.site for member in folder.charter.roster}
    for signed in trial.evidence.receipts:
        if signed.public_key not in members:
            continue
        receipt = receipts.genuine(signed, roster_key=signed.public_key)
        if receipt is None or receipt.site != members[signed.public_key]:
            continue
        if (receipt.run_id, receipt.charter_hash) == (trial.evidence.run_id, own):
            yield receipt.site, receipt


def _overspent(trial: Tried, receipt: Receipt) -> Iterator[str]:
    budgets = trial.charter.privacy
    for name, spent, allowed in (
        ("training", receipt.training_epsilon, budgets.training.epsilon),
        ("evaluation", receipt.evaluation_epsilon, budgets.evaluation.epsilon),
    ):
        if spent is None or not math.isfinite(spent) or spent > allowed:
            shown = "without a bound" if spent is None else f"{spent:.3f}, above {allowed:g},"
            yield f"{receipt.site} spent {shown} for {name} in trial {trial.number}."
