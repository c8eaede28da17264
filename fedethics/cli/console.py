"""`fedethics console`: one page for each role, in a browser; only reads."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from fedethics.cli.output import say


def console(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="A coordinator's home, a site's home, or a run; several as well.",
        ),
    ],
    host: Annotated[str, typer.Option(help="127.0.0.1 is this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = 8100,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file", help="Holds the token that is asked for; otherwise a new one is shown."
        ),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Ask for no token; on this machine only.")
    ] = False,
    certificate: Annotated[
        Path | None, typer.Option("--tls-cert", help="Certificate for TLS, PEM.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--tls-key", help="Its key, PEM.")] = None,
    without_tls: Annotated[
        bool, typer.Option("--without-tls", help="Other machines reach it through a proxy.")
    ] = False,
) -> None:
    """Show how federations, sites and budgets stand, as web pages, until Ctrl-C. Only reads.

    A page each for the coordinator, the site's operator and its privacy officer. They need neither
    internet nor JavaScript; with JavaScript they follow what happens.
    """
    if token_file and no_token:
        raise typer.BadParameter(
            "give --token-file or --no-token, not both", param_hint="--no-token"
        )
    # By name at run time: other commands start without a web server.
    engine: Any = importlib.import_module("fedethics.console.run")
    where = importlib.import_module("fedethics.listening").Listening(
        host=host, port=port, token_file=token_file, certificate=certificate, key=key,
        plain=without_tls, new_token=not no_token,
    )  # fmt: skip

    def ready(address: str, token: str) -> None:
        known = f"the token is in {token_file}" if token_file else f"token: {token}"
        say(f"Open {address} in a browser; {known if token else 'no token is asked for'}.")
        say("Nothing is written. Ctrl-C ends it.")

    engine.show(paths, where, ready=ready)
