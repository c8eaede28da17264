"""`fedethics budget`: what a run would cost and buy, before anyone agrees to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedethics.charter.document import load
from fedethics.cli.budget_forecast import Forecast, what_if_forecast
from fedethics.cli.budget_plan import Plan, plan_of_charter, plan_of_terms
from fedethics.cli.output import AsJson, answer, ledger_file, say
from fedethics.errors import EXIT_REFUSED, AccountingError
from fedethics.policy.model import load_policy
from fedethics.privacy.ledger.verify import read_book
from fedethics.privacy.outlook import TrainingQuestion

# From here on the accountant takes a second or more each time it is asked.
_MANY_STEPS = 500_000

app = typer.Typer(help="Plan a privacy budget; try a charter against it.", no_args_is_help=True)


@app.command("plan")
def plan(
    charter: Annotated[Path | None, typer.Argument(metavar="[CHARTER]")] = None,
    records: Annotated[int, typer.Option(help="Training records of one site.")] = 0,
    rounds: Annotated[int, typer.Option(help="Rounds of the run.")] = 20,
    epsilon: Annotated[float, typer.Option(help="Budget of the whole run.")] = 3.0,
    delta: Annotated[float, typer.Option(help="Below 1/records.")] = 1e-5,
    sampling_rate: Annotated[float, typer.Option(help="Chance to join a step.")] = 0.1,
    local_steps: Annotated[int, typer.Option(help="DP-SGD steps in a round.")] = 1,
    site: Annotated[
        list[str] | None, typer.Option(help="NAME=RECORDS of one site; repeat for more.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a self-contained HTML page with plots.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what noise a budget needs, what it means, and which sites can take part.

    Give a charter, or the terms of a run that has none yet. Exit code 5 where the run could not
    take place.
    """
    sites = _sites(site or [])
    if charter is not None:
        agreed = load(charter)
        _say_if_long(agreed.training.rounds * agreed.training.local_steps)
        answered = plan_of_charter(agreed, sites=sites)
    else:
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
        answered = plan_of_terms(question, sites=sites)
    if report is not None:
        _write_report(answered, report)
    answer(answered.document(), answered.render, as_json=as_json)
    if answered.refusal:
        raise typer.Exit(EXIT_REFUSED)


@app.command("what-if")
def what_if(
    charter: Annotated[Path, typer.Argument(metavar="CHARTER")],
    ledger: Annotated[Path, typer.Option(help="The ledger file, or the site's directory.")],
    policy: Annotated[Path | None, typer.Option(help="Judge by this policy's caps.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what another run of a charter would leave of each data set's budget."""
    book = read_book(ledger_file(ledger))
    caps = load_policy(policy, at_site=False).caps if policy else None
    forecast: Forecast = what_if_forecast(load(charter), book=book, caps=caps)
    answer(forecast.document(), forecast.render, as_json=as_json)


def _say_if_long(steps: int) -> None:
    if steps >= _MANY_STEPS:
        say(f"composing {steps:,} steps some twenty times; this takes a while", err=True)


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
