"""What the run cost each site's data: terms, receipts, and epsilon growing over the rounds."""

from __future__ import annotations

import math

from fedethics.aggregates.noise import Account
from fedethics.aggregates.registry import charged_to, trained_kinds
from fedethics.charter.ethics_terms import STEPS
from fedethics.charter.model import Charter
from fedethics.errors import AccountingError
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import Event
from fedethics.privacy.ledger.receipt import Receipt
from fedethics.privacy.meaning import attack_sentence, found_sentence
from fedethics.privacy.plan import PrivacyPlan, make_plan
from fedethics.release.folder import Folder
from fedethics.release.plots import Line, over_rounds
from fedethics.release.rules.privacy import genuine_receipts
from fedethics.release.sections import guarantee
from fedethics.release.sections.block import NOTHING, Block, Table, listed, number

TRAINED, HELD_OUT = "training records", "held-out records"


def receipts(folder: Folder) -> Table:
    """Return one row a site: what its ledger says this run spent, and the terms of that number."""
    found, charter = genuine_receipts(folder), folder.charter
    privacy = charter.privacy
    rows = []
    for site in charter.site_names:
        receipt = found.get(site)
        if receipt is None:
            rows.append((site, "no valid receipt", *[NOTHING] * 5))
            continue
        rows.append(
            (
                site,
                _epsilon(receipt.training_epsilon),
                _epsilon(receipt.evaluation_epsilon),
                f"{receipt.delta:g}",
                f"{receipt.unit}, {receipt.neighbouring}",
                f"{privacy.training.trust_mode} / {privacy.evaluation.trust_mode}",
                f"{receipt.ledger_entries}: {receipt.ledger_head[:12]}",
            )
        )
    return Table(
        head=(
            "Site",
            f"ε training (allowed {privacy.training.epsilon:g})",
            f"ε evaluation (allowed {privacy.evaluation.epsilon:g})",
            "δ",
            "Unit, neighbours",
            "Trust mode (training / evaluation)",
            "Ledger: entries, head",
        ),
        rows=tuple(rows),
    )


def _epsilon(value: float | None) -> str:
    return "infinite" if value is None else number(value)


def over_time(folder: Folder) -> Block | None:
    """Return epsilon growing over the charges of each site; None where nothing bounds it."""
    charter, found = folder.charter, genuine_receipts(folder)
    try:
        plan = make_plan(charter)
        lines = _lines(folder, plan, found)
    except AccountingError:
        return None
    if not lines or not all(math.isfinite(value) for line in lines for value in line.y):
        return None
    title = "Epsilon by round and site"
    rows = tuple(
        (line.label, f"{int(x)}", number(y))
        for line in lines
        for x, y in zip(line.x, line.y, strict=True)
    )
    return Block(
        title=title,
        drawing=over_rounds(
            lines,
            name="epsilon",
            title=title,
            description="; ".join(f"{a}, after round {b}: {c}" for a, b, c in rows),
            y=f"epsilon at delta {charter.privacy.delta:g}",
            limits=_limits(charter),
        ),
        caption=(
            "Each point is one release that a site's ledger was charged for; two points in one "
            "round mean that it was repeated and charged again. Look for a line above the limit. "
            "A record is held out or trained on, never both, so only one of the two kinds of line "
            "applies to it. Epsilons do not add up: the accountant composes the mechanisms, so "
            "the line bends."
        ),
        table=Table(head=("Records and sites", "After round", "Epsilon so far"), rows=rows),
    )


def _lines(folder: Folder, plan: PrivacyPlan, found: dict[str, Receipt]) -> list[Line]:
    charter = folder.charter
    charged: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for site, receipt in found.items():
        charged.setdefault((TRAINED, receipt.training_rounds), []).append(site)
        charged.setdefault((HELD_OUT, receipt.evaluation_rounds), []).append(site)
    lines = []
    for (kind, rounds), sites in sorted(charged.items(), reverse=True):
        who = listed(tuple(sites)) if len(sites) < len(charter.roster) else "every site"
        account = Account.TRAINING if kind == TRAINED else Account.EVALUATION
        steps = _steps(folder, plan, account, rounds)
        if steps:
            lines.append(_cumulative(steps, f"{kind}: {who}", charter.privacy.delta))
    return lines


def _steps(
    folder: Folder, plan: PrivacyPlan, account: Account, rounds: tuple[int, ...]
) -> list[tuple[int, tuple[Event, ...]]]:
    """Return what an account paid round by round.

    A receipt lists the rounds of its account's main kinds; the others were charged in the rounds
    in which their sums were opened.
    """
    main = trained_kinds() if account is Account.TRAINING else charged_to(account)
    steps = [(after, _charges(plan, main, account, after)) for after in rounds]
    opened = sorted({(entry.round, entry.kind) for entry in folder.evidence.rounds})
    for after, kind in opened if steps else ():
        events = plan.charge(kind, account) if kind in plan.sums and kind not in main else ()
        again = [place for place, (other, _) in enumerate(steps) if other == after]
        if events and again:
            steps[again[-1]] = (after, (*steps[again[-1]][1], *events))
        elif events:
            steps.append((after, events))
    return sorted(steps, key=lambda step: step[0])


def _charges(
    plan: PrivacyPlan, kinds: frozenset[str], account: Account, after: int
) -> tuple[Event, ...]:
    due = (own for name, own in plan.sums.items() if name in kinds and after in own.rounds)
    return tuple(event for own in due for event in own.charge(account))


def _cumulative(steps: list[tuple[int, tuple[Event, ...]]], label: str, delta: float) -> Line:
    spent: list[Event] = []
    x, y = [0.0], [0.0]
    for round_number, events in steps:
        spent.extend(events)
        x.append(float(round_number))
        y.append(epsilon(spent, delta=delta))
    return Line(label=label, x=tuple(x), y=tuple(y))


def _limits(charter: Charter) -> tuple[tuple[float, str], ...]:
    training, evaluation = charter.privacy.training.epsilon, charter.privacy.evaluation.epsilon
    if training == evaluation:
        return ((training, f"the charter allows {training:g}"),)
    return (
        (training, f"training may spend {training:g}"),
        (evaluation, f"evaluation may spend {evaluation:g}"),
    )


def bound(folder: Folder) -> str:
    """Return what the two accounts mean for an attacker on one unit, in words."""
    unit, (one, *_) = folder.charter.privacy.unit, guarantee.for_a_person(folder) or (None,)
    if one is None or math.isinf(one.epsilon):
        return attack_sentence(math.inf, folder.charter.privacy.delta, unit=unit)
    return found_sentence(*one.found, unit=unit)


# More rows than these do not fit a first screen.
_MOST_SITES = 8


def by_site(folder: Folder) -> Table:
    """Return each site's two epsilons against what the charter allows; of many, the largest."""
    found, privacy = genuine_receipts(folder), folder.charter.privacy
    sites = sorted(folder.charter.site_names, key=lambda site: _most(found.get(site)), reverse=True)
    shown = folder.charter.site_names if len(sites) <= _MOST_SITES else tuple(sites[:_MOST_SITES])
    rows = [_site_row(site, found.get(site)) for site in shown]
    if left := len(sites) - len(shown):
        rows.append((f"{left} more sites", "no more than these", "no more than these"))
    return Table(
        head=(
            "Site",
            f"ε of a trained record (allowed {privacy.training.epsilon:g})",
            f"ε of a held-out record (allowed {privacy.evaluation.epsilon:g})",
        ),
        rows=tuple(rows),
    )


def _site_row(site: str, receipt: Receipt | None) -> tuple[str, str, str]:
    if receipt is None:
        return site, "no valid receipt", NOTHING
    return site, _epsilon(receipt.training_epsilon), _epsilon(receipt.evaluation_epsilon)


def _most(receipt: Receipt | None) -> float:
    if receipt is None:
        return math.inf
    spent = (receipt.training_epsilon, receipt.evaluation_epsilon)
    return max(math.inf if one is None else one for one in spent)


def facts(folder: Folder) -> Table:
    """Return the mechanisms' numbers."""
    plan, privacy = folder.evidence.plan, folder.charter.privacy
    local, distributed = privacy.training, privacy.evaluation
    rows = (
        ("Unit of privacy", plan.unit),
        ("Neighbouring relation", plan.neighbouring),
        ("Delta", f"{plan.delta:g}"),
        ("Training mechanism", f"{local.mechanism}, {_trust(folder, plan.training_trust_mode)}"),
        ("Noise multiplier", number(plan.noise_multiplier)),
        ("Clipping norm", f"{local.clipping_norm:g}"),
        ("Sampling rate", f"{plan.sampling_rate:g} (Poisson)"),
        ("Noisy steps at each site", f"{plan.steps}"),
        (
            "Evaluation mechanism",
            f"{distributed.mechanism}, {_trust(folder, plan.evaluation_trust_mode)}",
        ),
        ("Noise on each summed count (std)", number(plan.counts_std, 2)),
        ("Noise on each summed histogram bin (std)", number(plan.histogram_std, 2)),
        ("Noise on each summed progress count (std)", number(plan.progress_std, 2)),
        *_explained(folder),
    )
    return Table(head=("Term", "Value"), rows=rows)


def _explained(folder: Folder) -> tuple[tuple[str, str], ...]:
    plan, terms = folder.evidence.plan, folder.charter.ethics.explanation
    if not terms.asked:
        return ()
    change = plan.effects_std * terms.largest_change / STEPS
    return (
        ("Noise on each summed change of scores (std)", number(change, 2)),
        ("Noise on each summed count of flips (std)", number(plan.flips_std, 2)),
    )


def _trust(folder: Folder, mode: str) -> str:
    colluders = folder.charter.secagg.colluders
    return {
        "local": "trust mode local: each site's own noise gives the whole guarantee",
        "distributed": "trust mode distributed: the sites' noise adds up to the guarantee in the "
        f"sum, as long as at most {colluders} of them collude with the coordinator",
    }.get(mode, mode)
