"""What commands on a home directory share: the option that names it, and how a person is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedethics import texts
from fedethics.cli.output import say
from fedethics.errors import EXIT_REFUSED

Home = Annotated[Path, typer.Option("--home", help="The home directory of this site.")]
CoordinatorHome = Annotated[Path, typer.Option("--home", help="The coordinator's home directory.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")]


def agreed(question: str, *, yes: bool) -> None:
    """Ask, unless `yes`; end with exit code 5 unless the answer is yes.

    Raises:
        typer.Exit: the person said no, or there is nobody to ask.
    """
    if yes:
        return
    try:
        said = typer.confirm(texts.printed(question), default=False, err=True)
    except typer.Abort:
        said = False
    if not said:
        say("not agreed: nothing was changed", err=True)
        raise typer.Exit(EXIT_REFUSED)
