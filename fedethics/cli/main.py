"""The `fedethics` command. Starts without torch; every refusal is one message and an exit code."""

from __future__ import annotations

import errno
import importlib
from pathlib import Path
from typing import Final, NamedTuple

import click
import typer
from typer.core import TyperGroup

from fedethics import memory, texts
from fedethics.cli import output
from fedethics.cli.output import say
from fedethics.errors import EXIT_OK, EXIT_UNEXPECTED, FedethicsError, RunError
from fedethics.ownership import cannot_read


class Command(NamedTuple):
    """A command, or a group of commands, that is imported when it is run.

    Attributes:
        module: under `fedethics.cli`.
        name: of the Typer or the function in that module.
        summary: what `fedethics --help` says of it; a test holds it to the command's own help.
    """

    module: str
    name: str
    summary: str


COMMANDS: Final[dict[str, Command]] = {
    "budget": Command("budget", "app", "Plan a privacy budget, and see what a charter would cost."),
    "policy": Command("policy", "app", "Write, check and sign a site's policy."),
    "ledger": Command(
        "ledger", "app", "Show what was spent and what is left; verify and export a ledger."
    ),
    "charter": Command("charter", "app", "Write, read, compare and sign a charter."),
    "data": Command("data", "app", "Check this site's own records."),
    "key": Command("key", "app", "Make and show a person's signing key."),
    "release": Command(
        "release", "app", "Judge a run, approve it, write its reports again, verify a release."
    ),
    "serve": Command(
        "serve", "serve", "Verify a release, then answer requests with its model until Ctrl-C."
    ),
    "console": Command(
        "console",
        "console",
        "Show how federations, sites and budgets stand, as web pages, until Ctrl-C. Only reads.",
    ),
    "audit": Command(
        "checks", "audit_app", "Test the promised privacy by attack; uses no data and no budget."
    ),
    "site": Command("site", "app", "Run one site: enrol, check, rehearse, run, leave."),
    "federation": Command(
        "federation", "app", "Coordinate a federation: enrol, start, watch, stop."
    ),
    "monitor": Command(
        "monitor", "app", "Watch a release: draft its terms, simulate windows, read the history."
    ),
    "model": Command("model", "app", "Check whether a base model fits this machine."),
    "benchmark": Command(
        "benchmark",
        "benchmark",
        "Ask a language model public bias benchmarks, before and after fine-tuning; no record is "
        "read.",
    ),
    "doctor": Command("checks", "doctor", "Check versions and offline flags."),
    "dp-check": Command(
        "checks",
        "dp_check",
        "Test with made-up records that ten known errors of DP training are caught; run the "
        "self-test.",
    ),
    "explain": Command(
        "explain",
        "explain",
        "Explain predictions for a few of this site's own records; nothing leaves the machine.",
    ),
    "new": Command(
        "new",
        "new",
        "Draft a charter, a scenario and a policy from your file, ready for `fedethics simulate`.",
    ),
    "simulate": Command(
        "simulate",
        "simulate",
        "Run the real coordinator and sites on this machine and show the results.",
    ),
    "tune": Command(
        "tune",
        "tune",
        "Choose settings on public records, where trials cost no privacy, and write the charter.",
    ),
    "track": Command(
        "track", "track", "Write a run's numbers by round as CSV, for TensorBoard or for MLflow."
    ),
}


def load(name: str) -> click.Command:
    """Import a command and return it as click runs it."""
    command = COMMANDS[name]
    found = getattr(importlib.import_module(f"fedethics.cli.{command.module}"), command.name)
    if not isinstance(found, typer.Typer):
        alone = typer.Typer(add_completion=False)
        alone.command(name)(found)
        found = alone
    loaded: click.Command = typer.main.get_command(found)
    loaded.name = name
    return loaded


class Commands(TyperGroup):
    """The commands by name: only the one that is run is imported, so that each starts fast."""

    @property
    def commands(self) -> dict[str, click.Command]:
        """All of them, imported: for the suggestion after a typing error, and for tests."""
        return {name: load(name) for name in COMMANDS}

    @commands.setter
    def commands(self, _given: object) -> None:
        """Take no command but the table's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return what the list of commands shows of one."""
        known = COMMANDS.get(cmd_name)
        return known and click.Command(cmd_name, help=known.summary)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Import the command that `args` begin with."""
        if args and args[0] in COMMANDS:
            return args[0], load(args[0]), args[1:]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    help="Federated, private and fair fine-tuning across institutions.",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    pass


def main() -> None:
    """Run the command line; errors raised on purpose end with their own exit code."""
    memory.keep_private()
    output.prepare()
    try:
        code = _run()
    except BrokenPipeError:
        # The reader of our output went away, as `head` does.
        code = EXIT_UNEXPECTED
    if not output.let_go():
        code = code or EXIT_UNEXPECTED  # not all was said: no success
    raise SystemExit(code)


def _run() -> int:
    """Run what the command line names; return the exit code."""
    try:
        app()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except FedethicsError as error:
        say(texts.message(f"fedethics: [{error.code}] {error}"), err=True)
        return error.exit_code
    except PermissionError as error:
        # A home of another account, met before any file of it was opened.
        path = Path(str(error.filename or "."))
        say(texts.message(f"fedethics: [{RunError.code}] {cannot_read(path, error)}"), err=True)
        return RunError.exit_code
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        say(
            f"fedethics: [{RunError.code}] the disk is full ({error.filename or error.strerror}). "
            "What was committed or reserved stands; make room and run the command again",
            err=True,
        )
        return RunError.exit_code
    return EXIT_OK


if __name__ == "__main__":
    main()
