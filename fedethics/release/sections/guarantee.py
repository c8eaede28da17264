"""What the epsilon of this run means for one person, and for the budget of a data set for ever."""

from __future__ import annotations

import math

from fedethics.errors import AccountingError
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.plan import PrivacyPlan, make_plan
from fedethics.privacy.several_records import Guarantee, guarantees
from fedethics.release.folder import Folder
from fedethics.release.sections.block import NARROW, Table, number

# From here on an epsilon limits nothing that matters.
USELESS = 20.0
_RUNS = (1, 2, 3, 5, 10)


def for_a_person(folder: Folder) -> tuple[Guarantee, ...]:
    """Return the guarantee for one person, by how many units are theirs; none without a plan."""
    try:
        plan = make_plan(folder.charter)
    except AccountingError:
        return ()
    accounts = [plan.training.events, plan.evaluation.events]
    # A person is one unit, with however many records, where the charter says so.
    sizes = {"sizes": (1,)} if folder.charter.privacy.unit == "person" else {}
    return guarantees(accounts, delta=plan.delta, **sizes)


def several_records(folder: Folder) -> Table:
    """Return what is promised to a person with 1, 2, 5 and 10 records."""
    person = folder.charter.privacy.unit == "person"
    return Table(
        head=(
            "Records",
            "ε at most",
            "Found, if 1 in 100 is accused wrongly",
            "Found, if 10 in 100 are",
        ),
        rows=tuple(
            (
                "all, at one site" if person else str(one.records),
                readable(one.epsilon),
                *map(percent, one.found),
            )
            for one in for_a_person(folder)
        ),
    )


def lifetime(folder: Folder) -> Table:
    """Return what runs like this one cost together, to be held to a data set's cap for ever."""
    try:
        plan = make_plan(folder.charter)
    except AccountingError:
        return Table(head=("Runs like this one, in all",), rows=())
    return Table(
        head=("Runs like this one, in all", "ε of a trained record", "ε of a held-out record"),
        rows=tuple((str(count), *_after(plan, count)) for count in _RUNS),
    )


def _after(plan: PrivacyPlan, runs: int) -> tuple[str, str]:
    spent = (
        epsilon(account.events * runs, delta=plan.delta)
        for account in (plan.training, plan.evaluation)
    )
    trained, held_out = (number(one, 2) if math.isfinite(one) else "infinite" for one in spent)
    return trained, held_out


def readable(value: float) -> str:
    """Return an epsilon that is an upper bound, or that it limits nothing."""
    if value > USELESS:
        return f"above {USELESS:g}: no useful limit"
    return f"{math.ceil(100 * value) / 100:.2f}"


def percent(share: float) -> str:
    """Return a share that is an upper bound, in percent, rounded up."""
    if share > 0.995:
        return "nearly all"
    digits = 10 if share < 0.1 else 1
    return f"{math.ceil(100 * digits * share) / digits:g}{NARROW}%"
