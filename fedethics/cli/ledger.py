"""`fedethics ledger`: what was spent, whether the record of it is sound, and a copy to take away.

Every command except `clock` only reads the ledger's files; no private key is needed.

Receipts in files: one receipt by itself, or a run's evidence that holds every site's.
"""

from __future__ import annotations

import json
import re
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from fedethics import canonical, plain_file
from fedethics.canonical import Json
from fedethics.cli.output import AsJson, LedgerPath, answer, ledger_file, readable, say, table
from fedethics.identity import Identity, key_fault
from fedethics.privacy.ledger import Ledger, statement
from fedethics.privacy.ledger.verify import read_book, verify_files
from fedethics.release.durable import FILE_LIMIT
from fedethics.terms import KEY

if TYPE_CHECKING:
    from fedethics.policy.model import Caps

_RECEIPT = {"body", "public-key", "signature"}


def receipts_in(path: Path, public_key: str) -> list[bytes]:
    """Return the receipts of the holder of `public_key` in a file, as a ledger wrote them.

    Signatures are not checked here.

    Raises:
        typer.BadParameter: unreadable, neither a receipt nor evidence, or none by this key in it.
    """
    table = _table(path)
    given = table["receipts"] if isinstance(table.get("receipts"), list) else [table]
    receipts = [each for each in given if isinstance(each, dict) and set(each) == _RECEIPT]
    if not receipts:
        raise _refused(f"{path} is neither a receipt nor the evidence of a run")
    own = [each for each in receipts if each["public-key"] == public_key]
    if not own:
        raise _refused(f"{path} holds no receipt by the key {public_key[:16]}...")
    return [canonical.encode(each) for each in own]


def _table(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(plain_file.read(path, _refused, limit=FILE_LIMIT, typed=True))
    except (ValueError, RecursionError) as error:
        raise _refused(f"{path} is neither a receipt nor the evidence of a run") from error
    return table if isinstance(table, dict) else {}


def _refused(why: str) -> typer.BadParameter:
    return typer.BadParameter(why, param_hint="--receipt")


app = typer.Typer(
    help="Show what was spent and what is left; verify and export a ledger.", no_args_is_help=True
)
PublicKey = Annotated[
    str, typer.Option("--public-key", help="The site's key from the charter's roster, in hex.")
]


@app.command()
def show(
    ledger: LedgerPath,
    policy: Annotated[Path | None, typer.Option(help="Compare with this policy's caps.")] = None,
    delta: Annotated[float, typer.Option(help="State epsilon at this delta.")] = 0.0,
    public_key: PublicKey = "",
    as_json: AsJson = False,
) -> None:
    """Show the composed epsilon of each data set, by run and by kind of release."""
    book = read_book(ledger_file(ledger), public_key or None)
    caps = _caps(policy) if policy else None
    at = delta or (caps.delta if caps else 0.0)
    cap = caps.epsilon_per_data_set if caps else None
    accounts = [
        statement.account_document(book, each, delta=at, cap=cap) for each in book.data_sets()
    ]
    document: dict[str, Json] = {
        "ledger": str(ledger),
        "entries": book.length,
        "head": {"index": book.head.index, "sha256": book.head.sha256},
        "public-key": book.head.public_key,
        "neighbouring": "add-or-remove-one",
        "data-sets": list(accounts),
    }

    def render(console: Console) -> None:
        if not accounts:
            console.print(Text(f"{ledger}: nothing was ever charged"))
        for account in accounts:
            _render_account(console, account)
        console.print(
            Text(
                f"{book.length} entries, chain and signatures verify; head "
                f"{book.head.index}:{book.head.sha256[:16]}"
            )
        )

    answer(document, render, as_json=as_json)


@app.command()
def verify(
    ledger: LedgerPath,
    public_key: PublicKey,
    receipt: Annotated[
        list[Path] | None,
        typer.Option(
            help="A receipt that the site gave, or a run's evidence.json that holds it; "
            "repeat for more."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify a ledger offline from its files and the public key. Exit code 6 if that fails."""
    if not re.fullmatch(KEY, public_key):
        raise typer.BadParameter(
            f"{public_key!r} is not a public key: give all 64 hex digits, as the charter's roster "
            "lists them",
            param_hint="--public-key",
        )
    if fault := key_fault(public_key):
        raise typer.BadParameter(f"the key {fault}", param_hint="--public-key")
    receipts = [each for path in receipt or () for each in receipts_in(path, public_key)]
    report = verify_files(ledger_file(ledger), public_key, receipts=receipts)
    rollback = _rollback_sentence(report.receipts)
    document: dict[str, Json] = {
        "verified": True,
        "entries": report.entries,
        "head": {"index": report.head.index, "sha256": report.head.sha256},
        "head-checked": report.head_checked,
        "pending": report.pending,
        "receipts": report.receipts,
        "rollback": rollback,
    }

    def render(console: Console) -> None:
        console.print(
            Text(
                f"verified: {report.entries} entries, signed by {public_key[:16]}, head "
                f"{report.head.index}:{report.head.sha256[:16]}"
            )
        )
        console.print(Text(rollback))
        if not report.head_checked:
            console.print(Text("caution: the .head file was not next to the ledger"))
        if report.pending:
            console.print(Text("the newest entry is only in the .head file; it counts"))

    answer(document, render, as_json=as_json)


@app.command()
def export(
    ledger: LedgerPath,
    form: Annotated[Literal["csv", "json"], typer.Option("--format")] = "csv",
    output: Annotated[Path | None, typer.Option(help="A new file; default: the screen.")] = None,
    public_key: PublicKey = "",
    as_json: AsJson = False,
) -> None:
    """Write every charge with its state and mechanism. It names data sets: keep it at the site."""
    book = read_book(ledger_file(ledger), public_key or None)
    text = statement.as_json(book) if as_json or form == "json" else statement.as_csv(book)
    if output is None:
        say(text.removesuffix("\n"))
        return
    try:
        with output.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        why = f"{output} cannot be written: {error.strerror}"
        raise typer.BadParameter(why, param_hint="--output") from error
    say(f"wrote {output}", err=True)


@app.command()
def clock(
    ledger: LedgerPath,
    site_key: Annotated[Path, typer.Option(help="The site's signing key (mode 0600).")],
    key: Annotated[Path, typer.Option(help="The officer's signing key (mode 0600).")],
    as_json: AsJson = False,
) -> None:
    """Confirm as an officer that this computer's clock is right, after a pause of 92 days or more.

    Until then, charges older than a year keep counting towards the yearly cap, because a clock that
    was set forward would look the same.
    """
    officer = Identity.load(key)
    stated = Ledger.open(ledger_file(ledger), identity=Identity.load(site_key)).state_clock(officer)
    said = stated.astimezone(UTC).isoformat(timespec="seconds")
    answer(
        {"stated": said, "officer": officer.public_key},
        lambda console: console.print(
            Text(f"stated by {officer.public_key[:16]}: it is {said}; the ledger now records this")
        ),
        as_json=as_json,
    )


def _rollback_sentence(receipts: int) -> str:
    """Say what was checked against an older copy of both files having been put back."""
    if receipts:
        held = "the receipt given is" if receipts == 1 else f"all {receipts} receipts given are"
        return f"rollback: {held} in this ledger, so it was not rolled back to an earlier state"
    return (
        "rollback: not checked, because no receipt was given. These files verify, but an older "
        "copy of both would look the same. Give receipts that others hold, with --receipt"
    )


def _caps(policy: Path) -> Caps:
    from fedethics.policy.model import load_policy  # most look at a ledger without a policy

    return load_policy(policy, at_site=False).caps


def _render_account(console: Console, account: dict[str, Any]) -> None:
    spent = f"epsilon {_shown(account['epsilon'])} of {_shown(account['cap'])}"
    console.print(
        Text.assemble(
            (f"{account['label']}", "bold"),
            f" ({account['fingerprint'][:12]}): {spent} at delta={account['delta']:g}, one "
            f"{account['unit']}, add-or-remove-one; cap from {account['cap-from']}",
        )
    )
    if account["linked-charges"]:
        console.print(
            Text(
                f"  {account['linked-charges']} of these charges were made to earlier or later "
                "versions of the file: the same people may be in them, so they count here"
            )
        )
    rows = [
        (what, entry[what], entry["charges"], _shown(entry["epsilon"]))
        for what, entries in (("run", account["runs"]), ("kind", account["kinds"]))
        for entry in entries
    ]
    console.print(table("", ("by", "name", "charges", "composed epsilon"), rows))


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else readable(value)
