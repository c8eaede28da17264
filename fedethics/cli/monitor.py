"""`fedethics monitor`: watch a release; `fedethics federation monitor start` reads a window."""

from __future__ import annotations

import importlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from fedethics import terms
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.cli.output import AsJson, answer, table, write_new
from fedethics.commands import suggested
from fedethics.errors import (
    EXIT_CANNOT_CONCLUDE,
    EXIT_DRIFTED,
    EXIT_INTEGRITY,
    EXIT_OK,
    CharterError,
    RunError,
)
from fedethics.monitoring import baseline, history, planning
from fedethics.monitoring.drafting import draft_text, read_terms, watch_charter
from fedethics.monitoring.verdict import WindowVerdict, worded

EXIT_CODES = {"holds": EXIT_OK, "drifted": EXIT_DRIFTED, "cannot conclude": EXIT_CANNOT_CONCLUDE}
_SIGNS = {"holds": "✓", "drifted": "✗", "cannot conclude": "?"}

app = typer.Typer(
    help="Watch a release: draft its terms, simulate windows, read the history.",
    no_args_is_help=True,
)
Windows = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        help="Where the windows' folders lie: HOME/jobs, or RUN-monitoring/windows.",
    ),
]
WatchTerms = Annotated[
    Path, typer.Option("--terms", help="A TOML file with the table [monitoring].")
]


@app.command("draft")
def draft(
    release: Annotated[Path, typer.Argument(metavar="RELEASE", help="The release to watch.")],
    watch: WatchTerms,
    out: Annotated[Path, typer.Option("--out", "-o", help="The charter's draft to write (TOML).")],
    as_json: AsJson = False,
) -> None:
    """Verify a release and write the draft of the charter that watches it.

    It is the release's own charter with [monitoring], without its roster. It trains nothing.
    """
    charter = watch_charter(release, read_terms(watch))
    write_new(out, draft_text(charter), CharterError)
    found = planning.plan(charter)
    answer(
        {"draft": str(out), "plan": planning.document(found)},
        lambda console: _say(console, [f"wrote {out}", *planning.sentences(found)]),
        as_json=as_json,
    )


@app.command("plan")
def show_plan(
    charter: Annotated[Path, typer.Argument(metavar="CHARTER", help="A charter that watches.")],
    records: Annotated[
        int, typer.Option(min=1, help="Records of one window, all sites together.")
    ] = 0,
    held_out: Annotated[
        int, typer.Option("--held-out", min=1, help="Records that the release was judged on.")
    ] = 0,
    cap: Annotated[
        float, typer.Option(min=0.0, help="A site's cap on one account, to count windows.")
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Say what windows cost, how many a cap buys, and how small a drift they can show."""
    read = document.load(charter)
    if read.monitoring is None:
        raise CharterError(f"{charter} has no [monitoring]; nothing was planned")
    found = planning.plan(read, records=records or None, held_out=held_out or None, cap=cap or None)
    answer(
        planning.document(found),
        lambda console: _say(console, planning.sentences(found)),
        as_json=as_json,
    )


@app.command("simulate")
def simulate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A simulated run, released.")],
    watch: WatchTerms,
    data: Annotated[
        Path, typer.Option(help="Folder with each site's new records as SITE.csv, all windows.")
    ],
    window: Annotated[
        int, typer.Option(min=0, help="This window only; 0 for all that are over.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Let the sites of a simulated run read windows of new records, on this machine.

    Everything lies beside the run, in RUN-monitoring. Exit code of the newest window: 0 holds, 12
    drifted, 4 cannot conclude.
    """
    # Before anything of Hugging Face is imported: never download.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # By name at run time: other commands start without torch, and this one needs it.
    engine: Any = importlib.import_module("fedethics.simulation.monitoring")
    run = run.resolve()
    files = {path.stem: path for path in sorted(data.glob("*.csv"))}
    engine.begin(run, read_terms(watch), files)
    numbers = (window,) if window else engine.due(run)
    if not numbers:
        raise RunError("no window is over that was not read yet; nothing was charged")
    found = [engine.read_window(run, number) for number in numbers]
    _answer(found, engine.beside(run) / engine.WINDOWS, as_json=as_json)
    raise typer.Exit(EXIT_CODES[found[-1].verdict])


@app.command("history")
def show_history(folder: Windows, as_json: AsJson = False) -> None:
    """Show every window that was read. Exit code of the newest: 0 holds, 12 drifted, 4 unclear."""
    found = history.read(folder)
    if not found:
        raise RunError(f"{folder} holds no window that was read")
    _answer(list(found), folder, as_json=as_json)
    raise typer.Exit(EXIT_CODES[found[-1].verdict])


@app.command("verify")
def verify(
    folder: Windows,
    release: Annotated[
        Path | None, typer.Option(help="The release, to compute every verdict again.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check signatures, receipts, sums and verdict of every window. Exit code 6 if any is wrong."""
    known = None
    if release is not None:
        known = baseline.known(release, _charter_of(folder))
    found = history.check(folder, known)
    if not found:
        raise RunError(f"{folder} holds no window that was read")
    wrong = [one for one in found if one.problems]
    unread = history.unread(folder, datetime.now(UTC).date())

    def render(console: Console) -> None:
        for one in found:
            console.print(Text(f"{'✗' if one.problems else '✓'} window {one.window}"))
            for problem in one.problems:
                console.print(Text(f"    {problem}"), soft_wrap=True)
        for each in unread:
            numbers = ", ".join(map(str, each.windows))
            said = f"No verdict lies here of windows that are over ({each.charter}): {numbers}"
            console.print(Text(said), soft_wrap=True)
        if release is None:
            console.print(Text("Verdicts were not computed again; give --release for that."))

    document_of = {
        "holds": not wrong,
        "verdicts-computed": release is not None,
        "windows": [{"window": one.window, "problems": list(one.problems)} for one in found],
        "without-verdict": [
            {"charter": one.charter, "windows": list(one.windows)} for one in unread
        ],
    }
    answer(document_of, render, as_json=as_json)
    if wrong:
        raise typer.Exit(EXIT_INTEGRITY)


def _charter_of(folder: Path) -> Charter:
    for one in sorted(folder.iterdir()) if folder.is_dir() else ():
        if (one / "window.json").exists():
            return document.load(one / "charter.json")
    raise RunError(f"{folder} holds no window that was read")


def _answer(found: list[WindowVerdict], folder: Path, *, as_json: bool) -> None:
    page = folder / history.PAGE

    def render(console: Console) -> None:
        rows = [
            (str(one.window), f"{one.first_day} to {one.last_day}", f"{_SIGNS[one.verdict]} "
             f"{one.verdict}", str(one.records))
            for one in found
        ]  # fmt: skip
        heads = ("window", "days", "verdict", "records, with noise")
        console.print(table("Windows", heads, rows))
        newest = found[-1]
        console.print(Text(newest.sentence), soft_wrap=True)
        for figure in newest.figures:
            console.print(Text(f"    {worded(figure)}"), soft_wrap=True)
        if page.exists():
            console.print(Text(f"page     {page}"), soft_wrap=True)
        if newest.verdict == "drifted":
            said = suggested(
                "release", "withdraw", "RELEASE",
                "--key", "KEY", "--role", "ROLE", "--reason", "REASON",
            )  # fmt: skip
            console.print(Text(f"To withdraw the release: {said}"), soft_wrap=True)

    answer(
        {"windows": [terms.document(one) for one in found], "page": str(page)},
        render,
        as_json=as_json,
    )


def _say(console: Console, lines: list[str]) -> None:
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def read_verdict(folder: Path, *, as_json: bool) -> int:
    """Say what a window that was just read found, and return the exit code."""
    from fedethics.monitoring import verdict

    found = verdict.load(folder)
    if not as_json:
        _answer([found], folder.parent, as_json=False)
    return EXIT_CODES[found.verdict]


def newest_window(charter: Charter) -> int:
    """Return the newest window that may be read today.

    Raises:
        RunError: the charter watches nothing, or no window is over.
    """
    if charter.monitoring is None:
        raise RunError("the charter has no [monitoring], so there is no window to read")
    today = datetime.now(UTC).date()
    newest = charter.monitoring.newest(today)
    if not newest:
        first = charter.monitoring.readable_from(1)
        raise RunError(
            f"the first window may be read from {first}, and this machine's clock says {today}; "
            "nothing was started or charged"
        )
    return newest
