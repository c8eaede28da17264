"""`fedethics budget`: what a run would cost and buy, before anyone agrees to it.

The answer of `fedethics budget what-if`: what one more run would leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics.aggregates.noise import Account
from fedethics.aggregates.registry import charged_to
from fedethics.canonical import Json
from fedethics.charter.document import load
from fedethics.charter.model import Charter
from fedethics.cli import budget_verdicts
from fedethics.cli.budget_plan import Plan, plan_of_charter, plan_of_terms
from fedethics.cli.budget_verdicts import Accuracy, BaseRate, Census, Classes, Groups, HeldOut
from fedethics.cli.model import ModelDir, WithModel, trained_parameters
from fedethics.cli.output import AsJson, answer, ledger_file, readable, say, table
from fedethics.errors import EXIT_REFUSED, AccountingError
from fedethics.policy.model import Caps, load_policy
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import Event
from fedethics.privacy.ledger.book import Book
from fedethics.privacy.ledger.entries import epsilon_document
from fedethics.privacy.ledger.verify import read_book
from fedethics.privacy.outlook import TrainingQuestion
from fedethics.privacy.plan import PrivacyPlan, make_plan

MOST_RUNS = 64
_OF_TRAINING = charged_to(Account.TRAINING)


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
                readable(account.before),
                readable(account.after),
                f"{readable(account.cap)} (delta={account.delta:g}, from {account.cap_from})",
                f"{account.fits}{'+' if account.fits == MOST_RUNS else ''}",
            )
            for account in self.accounts
        ]
        title = f"One more run of charter {self.charter_hash[:16]}"
        console.print(table(title, heads, rows))
        if not rows:
            console.print(
                Text("nothing was charged yet; `fedethics budget plan` shows what a charter costs")
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
    return plan.training.events if training else plan.evaluation.events


def _runs_that_fit(past: list[Event], run: tuple[Event, ...], *, cap: float, delta: float) -> int:
    fitting, failing = 0, MOST_RUNS + 1
    while failing - fitting > 1:
        middle = (fitting + failing) // 2
        if epsilon([*past, *(run * middle)], delta=delta) <= cap:
            fitting = middle
        else:
            failing = middle
    return fitting


# From here on the accountant takes a second or more each time it is asked.
_MANY_STEPS = 500_000

SamplingRate = Annotated[float, typer.Option(help="Probability that a record is in a step.")]
Parameters = Annotated[
    int | None, typer.Option(min=1, help="Number of trained parameters, if known.")
]
SiteRecords = Annotated[
    list[str] | None, typer.Option(help="NAME=RECORDS of one site; repeat for more.")
]
app = typer.Typer(
    help="Plan a privacy budget, and see what a charter would cost.", no_args_is_help=True
)


@app.command("plan")
def plan(
    charter: Annotated[Path | None, typer.Argument(metavar="[CHARTER]")] = None,
    records: Annotated[int, typer.Option(help="Training records of one site.")] = 0,
    rounds: Annotated[int, typer.Option(help="Rounds of the run.")] = 20,
    epsilon: Annotated[float, typer.Option(help="Budget of the whole run.")] = 3.0,
    delta: Annotated[float, typer.Option(help="Below 1/records.")] = 1e-5,
    sampling_rate: SamplingRate = 0.1,
    local_steps: Annotated[int, typer.Option(help="DP-SGD steps in a round.")] = 1,
    site: SiteRecords = None,
    parameters: Parameters = None,
    held_out: HeldOut = None,
    groups: Groups = None,
    base_rate: BaseRate = None,
    accuracy: Accuracy = None,
    census: Census = None,
    classes: Classes = None,
    with_model: WithModel = False,
    model_dir: ModelDir = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a self-contained HTML page with plots.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the noise that a budget needs, what it means, and which sites can take part.

    Give a charter, or the terms of a run without one. Exit code 5 if the run could not
    take place.
    """
    sites = _sites(site or [])
    declared = budget_verdicts.declared(
        held_out, groups or [], base_rate or [], accuracy, census=census, classes=classes
    )
    if charter is not None:
        agreed = load(charter)
        if agreed.monitoring is not None:
            _answer_windows(agreed, as_json=as_json)
            return
        declared = declared or budget_verdicts.by_census(agreed, census, held_out, accuracy)
        if with_model or model_dir:
            parameters = trained_parameters(agreed, model_dir)
        _say_if_long(agreed.training.rounds * agreed.training.local_steps)
        answered = plan_of_charter(agreed, sites=sites, parameters=parameters, declared=declared)
    else:
        _refuse_without_charter(model=with_model or model_dir, verdicts=declared or census)
        if records:
            sites = {**sites, "this site": records}
        question = TrainingQuestion(
            rounds=_at_least_one("rounds", rounds),
            local_steps=_at_least_one("local-steps", local_steps),
            sampling_rate=sampling_rate,
            epsilon=epsilon,
            delta=delta,
        )
        _say_if_long(question.steps)
        answered = plan_of_terms(question, sites=sites, parameters=parameters)
    if report is not None:
        _write_report(answered, report)
    answer(answered.document(), answered.render, as_json=as_json)
    if answered.refusal:
        raise typer.Exit(EXIT_REFUSED)


def _answer_windows(charter: Charter, *, as_json: bool) -> None:
    """Say what windows cost and show; `fedethics monitor plan` takes their size and a cap."""
    # Here: it takes scipy, which a plan of a training run may do without.
    from fedethics.monitoring import planning

    found = planning.plan(charter)

    def render(console: Console) -> None:
        for sentence in planning.sentences(found):
            console.print(Text(sentence), soft_wrap=True)

    answer(planning.document(found), render, as_json=as_json)


def _refuse_without_charter(*, model: object, verdicts: object) -> None:
    if model:
        raise AccountingError("--with-model and --model-dir need a charter, which names the model")
    if verdicts:
        raise AccountingError("--held-out needs a charter, which has the objectives")


@app.command("what-if")
def what_if(
    charter: Annotated[Path, typer.Argument(metavar="CHARTER")],
    ledger: Annotated[Path, typer.Option(help="The ledger file, or the site's directory.")],
    policy: Annotated[Path | None, typer.Option(help="Compare with this policy's caps.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show how much of each data set's budget another run of a charter would leave."""
    book = read_book(ledger_file(ledger))
    caps = load_policy(policy, at_site=False).caps if policy else None
    forecast: Forecast = what_if_forecast(load(charter), book=book, caps=caps)
    answer(forecast.document(), forecast.render, as_json=as_json)


def _say_if_long(steps: int) -> None:
    if steps >= _MANY_STEPS:
        say(f"composing {steps:,} steps about twenty times; this takes a while", err=True)


def _sites(given: list[str]) -> dict[str, int]:
    sites: dict[str, int] = {}
    for entry in given:
        name, _, count = entry.partition("=")
        if not name or not count.isdigit() or int(count) < 1:
            raise AccountingError(f"--site {entry!r}: expected NAME=RECORDS, as alpha=261")
        if name in sites:
            raise AccountingError(f"--site {name!r} is given twice")
        sites[name] = int(count)
    return sites


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise AccountingError(f"--{name} must be at least 1, got {value}")
    return value


def _write_report(answered: Plan, path: Path) -> None:
    # Drawing needs matplotlib, which the tables can do without.
    from fedethics.cli.budget_report import page

    try:
        path.write_text(page(answered), encoding="utf-8")
    except OSError as error:
        raise AccountingError(f"report {path} cannot be written: {error.strerror}") from error
    say(f"wrote {path}", err=True)
