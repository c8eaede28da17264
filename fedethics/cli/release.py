"""`fedethics release`: judge a run, write its report again, verify it. All offline, from files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from fedethics.errors import EXIT_INTEGRITY
from fedethics.release import gate
from fedethics.release.gate import GateReport
from fedethics.release.rules.rule import Figure, Outcome
from fedethics.release.verification import verify

app = typer.Typer(
    help="Judge a run, write its report again, verify a release.", no_args_is_help=True
)
RunDir = Annotated[Path, typer.Argument(metavar="RUN", help="The run's directory, as runs/<id>.")]
_STYLES: dict[Outcome, str] = {"pass": "green", "fail": "bold red", "cannot conclude": "yellow"}
_SIGNS: dict[Outcome, str] = {"pass": "✓", "fail": "✗", "cannot conclude": "?"}


@app.command("gate")
def judge_run(
    run: RunDir,
    json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Judge a run again from its evidence. Exit code: 0 pass, 3 fail, 4 cannot conclude."""
    report = gate.examine(run)
    if json:
        typer.echo(gate.encode(report).decode("utf-8"))
    else:
        show(report, Console())
    raise typer.Exit(report.exit_code)


@app.command("report")
def rewrite(run: RunDir) -> None:
    """Write report.html again from the run's evidence."""
    # Drawing needs matplotlib, which the other commands can do without.
    from fedethics.release.publish import rewrite_report

    typer.echo(f"wrote {rewrite_report(run)}")


@app.command("verify")
def verify_release(run: RunDir) -> None:
    """Check hashes, signatures and verdict. Exit code: 0, or 6 if anything is wrong."""
    checks = verify(run)
    console = Console()
    for check in checks:
        sign, style = ("✗", "bold red") if check.problems else ("✓", "green")
        console.print(Text.assemble((sign, style), f" {check.name}"))
        for problem in check.problems:
            console.print(Text(f"    {problem}"))
    if any(check.problems for check in checks):
        raise typer.Exit(EXIT_INTEGRITY)


def show(report: GateReport, console: Console) -> None:
    """Print the verdict rule by rule: the screen of `release gate`, and of a finished run."""
    width = max(len(rule.name) for rule in report.rules)
    for rule in report.rules:
        sign = Text(f"{_SIGNS[rule.verdict]} {rule.verdict:<15}", style=_STYLES[rule.verdict])
        numbers = f"{_value(rule.figure)}  {_bar(rule.figure)}".rstrip()
        console.print(sign, Text(f"{rule.name:<{width}}  {numbers}".rstrip()))
        if rule.verdict != "pass":
            console.print(Padding(Text(rule.sentence, style="dim"), (0, 0, 0, 4)))
    console.print()
    headline = Text(f"Gate: {report.verdict}", style=_STYLES[report.verdict])
    console.print(headline, Text(f"(run {report.run_id}, charter {report.charter_hash[:12]})"))


def _value(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return ""
    if figure.confidence is None:
        return f"{figure.value:.3g}"
    low, high = ("?" if end is None else f"{end:.3f}" for end in (figure.low, figure.high))
    return f"{figure.value:.3f} [{low}, {high}]"


def _bar(figure: Figure | None) -> str:
    if figure is None or figure.bar is None:
        return ""
    side = {"at-most": "≤", "at-least": "≥", "": ""}[figure.direction]
    return f"{side} {figure.bar:g}".strip()
