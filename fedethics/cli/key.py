"""`fedethics key`: a signing key for a person, for policies, charters and approvals alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics.cli.output import AsJson, answer
from fedethics.errors import PolicyError
from fedethics.identity import Identity, fingerprint

app = typer.Typer(help="Make and show a person's signing key.", no_args_is_help=True)


@app.command()
def new(
    out: Annotated[Path, typer.Option("--out", "-o", help="The key file to write (mode 0600).")],
    name: Annotated[str, typer.Option(help="Name of the key's owner, as reports print it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a signing key and print its public half and fingerprint. Never overwrites a file."""
    identity = Identity.generate()
    try:
        identity.save(out)
    except FileExistsError as error:
        raise PolicyError(f"{out} exists; it was not changed") from error
    except OSError as error:
        raise PolicyError(f"{out} cannot be written: {error.strerror}") from error
    _answer(identity.public_key, name=name, written=out, as_json=as_json)


@app.command()
def show(
    key: Annotated[Path, typer.Argument(metavar="KEY", help="A key file.")],
    as_json: AsJson = False,
) -> None:
    """Show the public half of a key and its fingerprint."""
    _answer(Identity.load(key).public_key, name="", written=None, as_json=as_json)


def _answer(public_key: str, *, name: str, written: Path | None, as_json: bool) -> None:
    document = {
        "public-key": public_key,
        "fingerprint": fingerprint(public_key),
        **({"name": name} if name else {}),
        **({"written": str(written)} if written else {}),
    }

    def render(console: Console) -> None:
        if written:
            console.print(
                Text(f"wrote {written}: keep it where only {name or 'its owner'} can read it")
            )
        console.print(Text(f"public key   {public_key}"), soft_wrap=True)
        console.print(Text(f"fingerprint  {fingerprint(public_key)}"))
        console.print(
            Text(
                "Compare the fingerprint by telephone or in person, not by the mail that brings "
                "the key."
            ),
            soft_wrap=True,
        )

    answer(document, render, as_json=as_json)
