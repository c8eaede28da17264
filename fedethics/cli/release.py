"""`fedethics release`: judge a run, approve it, write its reports again, verify it. All offline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from fedethics.charter.signing import ROLES
from fedethics.cli.export import export_model
from fedethics.cli.output import AsJson, Terminal, answer, say, say_json
from fedethics.cli.score import score_records
from fedethics.errors import EXIT_INTEGRITY, EXIT_NOT_CHECKED, EXIT_WITHDRAWN
from fedethics.identity import Identity
from fedethics.release import folder, gate
from fedethics.release.decision import EXIT_CODES, Decision, decided
from fedethics.release.gate import GateReport
from fedethics.release.rules.rule import Measurement, Outcome

app = typer.Typer(
    help="Judge a run, approve it, write its reports again, verify a release.",
    no_args_is_help=True,
)
RunDir = Annotated[
    Path, typer.Argument(metavar="RUN", help="The run's directory, such as runs/<id>.")
]
_STYLES: dict[Outcome, str] = {
    "pass": "green",
    "fail": "bold red",
    "cannot conclude": "yellow",
    "not informative": "yellow",
}
_SIGNS: dict[Outcome, str] = {
    "pass": "✓",
    "fail": "✗",
    "cannot conclude": "?",
    "not informative": "–",
}


@app.command("gate")
def judge_run(run: RunDir, as_json: AsJson = False) -> None:
    """Judge a run again from its evidence.

    Exit code: 0 pass and approved, 3 fail, 4 cannot conclude and withheld, 8 pass but not approved
    yet, 9 cannot conclude but approved despite that, 11 withdrawn.
    """
    opened = folder.load(run)
    report = gate.judge(opened)
    decision, void = decided(opened, report.verdict)
    if as_json:
        document = json.loads(gate.encode(report))
        say_json(document | {"state": decision.state})
    else:
        console = Terminal()
        show(report, console)
        console.print(Text(decision.sentence), soft_wrap=True)
        for sentence in void:
            console.print(Text(sentence), soft_wrap=True)
    raise typer.Exit(EXIT_CODES[report.verdict, decision.state])


@app.command("approve")
def approve_run(
    run: RunDir,
    key: Annotated[Path, typer.Option(help="The approver's signing key (mode 0600).")],
    role: Annotated[str, typer.Option(help=f"As the charter names it: {', '.join(ROLES)}.")],
    reason: Annotated[str, typer.Option(help="The reason; printed in every report.")],
    despite_uncertainty: Annotated[
        bool,
        typer.Option("--despite-uncertainty", help="Approve although the gate cannot conclude."),
    ] = False,
    not_checked: Annotated[
        list[str] | None,
        typer.Option(
            "--not-checked",
            metavar="WHAT",
            help="Accept that `verify` could not check this here, such as `pages`.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Approve a release with a signature over its manifest. A failed gate can never be approved."""
    # Drawing needs matplotlib, which most other commands can do without.
    from fedethics.release.approve import approve

    decision = approve(
        run,
        Identity.load(key),
        role=role,
        reason=reason,
        despite_uncertainty=despite_uncertainty,
        not_checked=not_checked or (),
    )
    _answer_decision(decision, as_json=as_json)


@app.command("withdraw")
def withdraw_run(
    run: RunDir,
    key: Annotated[
        Path, typer.Option(help="The signing key of a person who may approve (mode 0600).")
    ],
    role: Annotated[str, typer.Option(help=f"As the charter names it: {', '.join(ROLES)}.")],
    reason: Annotated[str, typer.Option(help="Why; printed in every report.")],
    as_json: AsJson = False,
) -> None:
    """Withdraw a release permanently, signed over its manifest. The adapter moves to withheld/.

    Copy withdrawal.json into every other copy of the release: it is not scored there any more.
    """
    # Drawing needs matplotlib, which most other commands can do without.
    from fedethics.release.withdraw import withdraw

    decision = withdraw(run, Identity.load(key), role=role, reason=reason)
    _answer_decision(decision, as_json=as_json)


app.command("score")(score_records)
app.command("export")(export_model)


@app.command("report")
def rewrite(
    run: RunDir,
    key: Annotated[
        Path | None,
        typer.Option(help="The coordinator's key, to sign a new manifest if the pages differ."),
    ] = None,
) -> None:
    """Write the reports and cards again from the run's evidence."""
    from fedethics.release.publish import rewrite_reports

    for path in rewrite_reports(run, Identity.load(key) if key else None):
        say(f"wrote {path}")


@app.command("verify")
def verify_release(run: RunDir, as_json: AsJson = False) -> None:
    """Check hashes, signatures, ledger heads, sums, pages and verdict.

    Exit code: 0; 6 if anything is wrong; 11 if nothing is wrong but the release was withdrawn; 10
    if nothing is wrong but something was not checked here.
    """
    # It draws the pages again, to compare them.
    from fedethics.release.verification import verify

    checks = verify(run)
    wrong = any(check.problems for check in checks)
    undecided = any(check.undecided for check in checks)
    ended = any(check.ended for check in checks)
    document = {
        "holds": not wrong and not undecided,
        "withdrawn": ended,
        "not-checked": [thing for check in checks for thing in check.not_checked],
        "checks": [
            {
                "name": check.name,
                "problems": list(check.problems),
                "note": check.note,
                "undecided": check.undecided,
            }
            for check in checks
        ],
    }

    def render(console: Console) -> None:
        for check in checks:
            outcome: Outcome = "cannot conclude" if check.undecided else "pass"
            outcome = "fail" if check.problems or check.ended else outcome
            sign, style = _SIGNS[outcome], _STYLES[outcome]
            console.print(Text.assemble((sign, style), f" {check.name}"))
            for line in (*check.problems, *filter(None, (check.note,))):
                console.print(Padding(Text(line), (0, 0, 0, 4)))

    answer(document, render, as_json=as_json)
    if wrong:
        raise typer.Exit(EXIT_INTEGRITY)
    if ended:
        raise typer.Exit(EXIT_WITHDRAWN)
    if undecided:
        raise typer.Exit(EXIT_NOT_CHECKED)


def _answer_decision(decision: Decision, *, as_json: bool) -> None:
    document = {
        "state": decision.state,
        "missing": list(decision.missing),
        "sentence": decision.sentence,
    }
    answer(
        document,
        lambda console: console.print(Text(decision.sentence), soft_wrap=True),
        as_json=as_json,
    )


def show(report: GateReport, console: Console) -> None:
    """Print the verdict rule by rule: the screen of `release gate`, and of a finished run."""
    width = max(len(rule.name) for rule in report.rules)
    for rule in report.rules:
        sign = Text(f"{_SIGNS[rule.verdict]} {rule.verdict:<15} ", style=_STYLES[rule.verdict])
        numbers = f"{_value(rule.figure)}  {_bar(rule.figure)}".rstrip()
        console.print(sign, Text(f"{rule.name:<{width}}  {numbers}".rstrip()))
        if rule.verdict != "pass":
            console.print(Padding(Text(rule.sentence, style="dim"), (0, 0, 0, 4)))
    console.print()
    headline = Text(f"Gate: {report.verdict}", style=_STYLES[report.verdict])
    console.print(headline, Text(f"(run {report.run_id}, charter {report.charter_hash[:12]})"))


def _value(figure: Measurement | None) -> str:
    if figure is None or (figure.value is None and figure.low is None):
        return ""
    if figure.value is not None and figure.confidence is None:
        return f"{figure.value:.3g}"
    low, high = ("?" if end is None else f"{end:.3f}" for end in (figure.low, figure.high))
    return f"{'no estimate' if figure.value is None else f'{figure.value:.3f}'} [{low}, {high}]"


def _bar(figure: Measurement | None) -> str:
    if figure is None or figure.bar is None:
        return ""
    side = {"at-most": "≤", "at-least": "≥", "": ""}[figure.direction]
    return f"{side} {figure.bar:g}".strip()
