"""The `fedethics` command. Starts without torch; every refusal is one message and an exit code."""

from __future__ import annotations

import errno
from pathlib import Path

import typer

from fedethics import memory, texts
from fedethics.cli import (
    budget,
    charter,
    checks,
    data,
    explain,
    federation,
    key,
    ledger,
    output,
    policy,
    release,
    simulate,
    site,
)
from fedethics.cli.output import say
from fedethics.errors import EXIT_OK, EXIT_UNEXPECTED, FedethicsError, RunError
from fedethics.ownership import cannot_read

app = typer.Typer(
    help="Federated, private and fair fine-tuning across institutions: the tools of its officers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(budget.app, name="budget")
app.add_typer(policy.app, name="policy")
app.add_typer(ledger.app, name="ledger")
app.add_typer(charter.app, name="charter")
app.add_typer(data.app, name="data")
app.add_typer(key.app, name="key")
app.add_typer(release.app, name="release")
app.add_typer(checks.audit_app, name="audit")
app.add_typer(site.app, name="site")
app.add_typer(federation.app, name="federation")
app.command("doctor")(checks.doctor)
app.command("dp-check")(checks.dp_check)
app.command("explain")(explain.explain)
app.command("simulate")(simulate.simulate)


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
