"""What the run cost each site's data: terms, receipts, and epsilon growing over the rounds."""

from __future__ import annotations

import math

from fedethics.charter.ethics_terms import STEPS
from fedethics.charter.model import Charter
from fedethics.errors import AccountingError
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import Event
from fedethics.privacy.ledger.receipt import Receipt
from fedethics.privacy.meaning import attack_sentence
from fedethics.privacy.plan import PrivacyPlan, make_plan
from fedethics.release.folder import Folder
from fedethics.release.plots import Line, over_rounds
from fedethics.release.rules.privacy import genuine_receipts
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
        lines = _lines(charter, plan, found, audited=bool(folder.evidence.audit))
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
            "round mean that it was done again and paid for again. Look for a line above the "
            "limit. A record is held out or trained on, never both, so it pays only one of the "
            "two kinds of line. Epsilons do not add up: the accountant composes the mechanisms, "
            "hence the bend."
        ),
        table=Table(head=("Records and sites", "After round", "Epsilon so far"), rows=rows),
    )


def _lines(
    charter: Charter, plan: PrivacyPlan, found: dict[str, Receipt], *, audited: bool
) -> list[Line]:
    def cost(kind: str, after: int) -> tuple[Event, ...]:
        if kind == TRAINED:
            return (plan.update.event,)
        return (
            plan.fairness.events
            if after == charter.training.rounds
            else (plan.progress.noise.event,)
        )

    charged: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for site, receipt in found.items():
        charged.setdefault((TRAINED, receipt.training_rounds), []).append(site)
        charged.setdefault((HELD_OUT, receipt.evaluation_rounds), []).append(site)
    lines = []
    for (kind, rounds), sites in sorted(charged.items(), reverse=True):
        who = listed(tuple(sites)) if len(sites) < len(charter.roster) else "every site"
        steps = [(after, cost(kind, after)) for after in rounds]
        if steps and plan.audit is not None and audited and rounds[-1] == charter.training.rounds:
            half = plan.audit.members if kind == TRAINED else plan.audit.non_members
            steps[-1] = (rounds[-1], (*steps[-1][1], half.event))
        if steps:
            lines.append(_cumulative(steps, f"{kind}: {who}", charter.privacy.delta))
    return lines


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
    """Return what the larger of the two epsilons means for an attacker, in words."""
    plan = folder.evidence.plan
    known = [value for value in (plan.training_epsilon, plan.evaluation_epsilon) if value]
    worst = max(known) if len(known) == 2 else math.inf
    return attack_sentence(worst, plan.delta, unit=plan.unit)


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
