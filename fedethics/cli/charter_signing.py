"""`fedethics charter sign | collect | verify`: who stands behind a charter, who not yet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics import terms
from fedethics.charter.document import hash_of, load
from fedethics.charter.model import Charter
from fedethics.charter.signing import (
    ROLES,
    CharterSignature,
    Standing,
    add_signatures,
    load_signatures,
    sign,
    signatures_path,
    standing,
)
from fedethics.cli.output import AsJson, answer
from fedethics.errors import EXIT_AWAITING_PEOPLE, EXIT_INTEGRITY, CharterError
from fedethics.identity import Identity

CharterPath = Annotated[
    Path, typer.Argument(metavar="CHARTER", help="charter.toml or charter.json.")
]
SignaturesPath = Annotated[
    Path | None,
    typer.Option("--signatures", help="The signatures, if not in charter.signatures.json beside."),
]


def sign_charter(
    charter: CharterPath,
    key: Annotated[Path | None, typer.Option(help="The signing key (mode 0600).")] = None,
    role: Annotated[str, typer.Option(help=f"One of: {', '.join(ROLES)}.")] = "",
    site_home: Annotated[
        Path | None, typer.Option(help="Sign as a site, with the identity.key in its home.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign the charter as it stands, as the one whom it names by this key."""
    read = load(charter)
    identity, role = _signer(key, role, site_home)
    made = sign(read, identity, role=role)
    path = signatures_path(charter)
    count = add_signatures(path, read, [made])
    found = standing(read, load_signatures(path))
    document = {
        "charter": hash_of(read),
        "signatures": str(path),
        "signed-by": made.name,
        "role": made.role,
        "listed": count,
        "missing": [signer.label for signer in found.missing],
    }

    def render(console: Console) -> None:
        console.print(Text(f"signed as {made.role} {made.name}; {path} lists {count}"))
        console.print(Text(_waiting(found)), soft_wrap=True)

    answer(document, render, as_json=as_json)


def collect(
    charter: CharterPath,
    others: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Signatures that others made.")
    ],
    as_json: AsJson = False,
) -> None:
    """Bring signatures that were made on other machines into one file; void ones are refused."""
    read = load(charter)
    more = [one for path in others for one in _given(path)]
    void = standing(read, more).void
    if void:
        raise CharterError(" ".join((*void, "Nothing was written.")))
    path = signatures_path(charter)
    count = add_signatures(path, read, more)
    found = standing(read, load_signatures(path))
    document = {"signatures": str(path), "listed": count}

    def render(console: Console) -> None:
        console.print(Text(f"{path} lists {count}"))
        console.print(Text(_waiting(found)), soft_wrap=True)

    answer(document, render, as_json=as_json)


def verify_signatures(
    charter: CharterPath, signatures: SignaturesPath = None, as_json: AsJson = False
) -> None:
    """Say who signed and who is missing. Exit code: 0 all signed, 8 some missing, 6 any void."""
    read = load(charter)
    found = standing(read, load_signatures(signatures or signatures_path(charter)))
    document = {
        "charter": hash_of(read),
        "complete": found.complete,
        "signed": [terms.document(one) for one in found.valid],
        "missing": [signer.label for signer in found.missing],
        "void": list(found.void),
    }
    answer(document, lambda console: _show(console, read, found), as_json=as_json)
    if not found.complete:
        raise typer.Exit(EXIT_INTEGRITY if found.void else EXIT_AWAITING_PEOPLE)


def _signer(key: Path | None, role: str, site_home: Path | None) -> tuple[Identity, str]:
    if site_home is not None and key is None and role in {"", "site"}:
        return Identity.load(site_home / "identity.key"), "site"
    if key is None or site_home is not None:
        raise CharterError(
            "give either --key KEY --role ROLE, or --site-home HOME. Nothing was signed"
        )
    if role not in ROLES:
        raise CharterError(f"--role {role!r} is not one of {', '.join(ROLES)}. Nothing was signed")
    return Identity.load(key), role


def _given(path: Path) -> tuple[CharterSignature, ...]:
    if not path.is_file():
        raise CharterError(f"signatures {path}: there is no such file. Nothing was written")
    return load_signatures(path)


def _show(console: Console, charter: Charter, found: Standing) -> None:
    console.print(Text(f"charter {hash_of(charter)}"), soft_wrap=True)
    for one in found.valid:
        note = ", simulated: nobody's consent" if one.simulated else ""
        console.print(Text.assemble(("✓", "green"), f" {one.role} {one.name}, {one.signed}{note}"))
    for signer in found.missing:
        console.print(Text.assemble(("?", "yellow"), f" {signer.label} has not signed"))
    for sentence in found.void:
        console.print(Text.assemble(("✗", "bold red"), f" {sentence}"))
    if not charter.ethics.stakeholders:
        console.print(
            Text(
                "The charter names no stakeholder: nobody besides the sites and the coordinator "
                "is asked to stand behind it."
            ),
            soft_wrap=True,
        )


def _waiting(found: Standing) -> str:
    if found.missing:
        return f"still to sign: {', '.join(signer.label for signer in found.missing)}"
    return "all that the charter names have signed"
