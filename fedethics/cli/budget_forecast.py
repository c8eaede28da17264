"""The answer of `fedethics budget what-if`: what one more run would leave."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from fedethics.canonical import Json
from fedethics.charter.model import Charter
from fedethics.cli.output import figure, table
from fedethics.policy.model import Caps
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import Event
from fedethics.privacy.ledger.book import Book
from fedethics.privacy.ledger.model import epsilon_document
from fedethics.privacy.plan import PrivacyPlan, make_plan

MOST_RUNS = 64
_OF_TRAINING = frozenset({"update", "steering"})


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountForecast:
    """One data set before and after.

    Attributes:
        fits: how many such runs, one after another, stay within the cap; at most 64 are tried.
    """

    label: str
    fingerprint: str
    before: float
    after: float
    cap: float
    cap_from: str
    delta: float
    fits: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """All data sets of a ledger, and a new one."""

    charter_hash: str
    unit: str
    accounts: tuple[AccountForecast, ...]

    def document(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "charter-hash": self.charter_hash,
            "unit": self.unit,
            "neighbouring": "add-or-remove-one",
            "data-sets": [
                {
                    "label": account.label,
                    "fingerprint": account.fingerprint,
                    "epsilon-before": epsilon_document(account.before),
                    "epsilon-after": epsilon_document(account.after),
                    "cap": epsilon_document(account.cap),
                    "cap-from": account.cap_from,
                    "delta": account.delta,
                    "within-cap": account.fits > 0,
                    "runs-that-fit": account.fits,
                }
                for account in self.accounts
            ],
        }

    def render(self, console: Console) -> None:
        """Show the table."""
        heads = ("data set", "epsilon now", "after this run", "cap", "such runs that fit")
        rows = [
            (
                f"{account.label} ({account.fingerprint[:12]})",
                figure(account.before),
                figure(account.after),
                f"{figure(account.cap)} (delta={account.delta:g}, from {account.cap_from})",
                f"{account.fits}{'+' if account.fits == MOST_RUNS else ''}",
            )
            for account in self.accounts
        ]
        title = f"One more run of charter {self.charter_hash[:16]}"
        console.print(table(title, heads, rows))
        if not rows:
            console.print(
                Text("nothing was charged yet; `fedethics budget plan` tells what a charter costs")
            )
        console.print(Text(f"All figures are composed, for one {self.unit}, add-or-remove-one."))


def what_if_forecast(charter: Charter, *, book: Book, caps: Caps | None) -> Forecast:
    """Forecast one more run on every data set that the ledger knows.

    A data set that was ever charged for updates, or for counts of training records by group, is
    taken to be the training partition, any other the held-out one: both pay for an audit.
    """
    plan = make_plan(charter)
    accounts: list[AccountForecast] = []
    for data_set in book.data_sets():
        charges = list(book.counted(data_set))
        newest = book.newest_charge(data_set)
        delta = caps.delta if caps else newest.cap_delta
        cap = caps.epsilon_per_data_set if caps else newest.cap_epsilon
        past = [event for charge in charges for event in charge.events]
        run = _run_events(plan, training=bool(_OF_TRAINING & book.kinds_of(data_set)))
        accounts.append(
            AccountForecast(
                label=data_set.label,
                fingerprint=data_set.fingerprint,
                before=epsilon(past, delta=delta),
                after=epsilon([*past, *run], delta=delta),
                cap=cap,
                cap_from="policy" if caps else "last charge",
                delta=delta,
                fits=_runs_that_fit(past, run, cap=cap, delta=delta),
            )
        )
    units = {charter.privacy.unit, *map(book.unit_of, book.data_sets())}
    unit = charter.privacy.unit if len(units) == 1 else "unit"
    return Forecast(charter_hash=plan.charter_hash, unit=unit, accounts=tuple(accounts))


def _run_events(plan: PrivacyPlan, *, training: bool) -> tuple[Event, ...]:
    return plan.training_events if training else plan.evaluation_events


def _runs_that_fit(past: list[Event], run: tuple[Event, ...], *, cap: float, delta: float) -> int:
    fitting, failing = 0, MOST_RUNS + 1
    while failing - fitting > 1:
        middle = (fitting + failing) // 2
        if epsilon([*past, *(run * middle)], delta=delta) <= cap:
            fitting = middle
        else:
            failing = middle
    return fitting
