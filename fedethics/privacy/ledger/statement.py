"""A ledger as people read it: each account with what it spent, and every charge as a table.

It names data sets by their fingerprints: keep it at the site.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

from fedethics import texts
from fedethics.canonical import Json
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.ledger.book import Book
from fedethics.privacy.ledger.entries import Charge, DataSet, epsilon_document

_COLUMNS = ("index", "time", "data-set", "label", "run", "round", "kind", "state", "charter-hash")


def account_document(
    book: Book, data_set: DataSet, *, delta: float = 0.0, cap: float | None = None
) -> dict[str, Any]:
    """Return an account: its composed epsilon, by run and by kind of sum, and its cap for life.

    Args:
        book: the ledger's entries.
        data_set: the account.
        delta: of every epsilon; 0 for that of the newest charge.
        cap: of the policy; None for the one of the newest charge.
    """
    charges = list(book.counted(data_set))
    newest = book.newest_charge(data_set)
    at = delta or newest.cap_delta

    def parts(name: str, of: Callable[[Charge], str]) -> list[Json]:
        rows: list[Json] = []
        for value in dict.fromkeys(of(charge) for charge in charges):
            own = [charge for charge in charges if of(charge) == value]
            spent = epsilon_document(composed(own, delta=at))
            rows.append({name: value, "charges": len(own), "epsilon": spent})
        return rows

    return {
        "label": data_set.label,
        "unit": book.unit_of(data_set),
        "fingerprint": data_set.fingerprint,
        "delta": at,
        "epsilon": epsilon_document(composed(charges, delta=at)),
        "cap": epsilon_document(newest.cap_epsilon if cap is None else cap),
        "cap-from": "last charge" if cap is None else "policy",
        "linked-charges": sum(c.data_set.fingerprint != data_set.fingerprint for c in charges),
        "runs": parts("run", lambda charge: charge.run),
        "kinds": parts("kind", lambda charge: charge.kind),
    }


def composed(charges: list[Charge], *, delta: float) -> float:
    """Return the epsilon of these charges together, at `delta`."""
    return epsilon([event for charge in charges for event in charge.events], delta=delta)


def as_json(book: Book) -> str:
    """Return every charge with its state and mechanism, and the ledger's head, as JSON."""
    rows = [_row(charge) for charge in book.charges.values()]
    return json.dumps({"charges": rows, "head": book.head.sha256}, indent=2) + "\n"


def as_csv(book: Book) -> str:
    """Return every charge with its state and mechanism, as CSV that a spreadsheet may open."""
    text = io.StringIO()
    columns = (*_COLUMNS, "events")
    # Quoted, since a spreadsheet may split at a semicolon too.
    writer = csv.DictWriter(text, columns, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writeheader()
    for charge in book.charges.values():
        row = {**_row(charge), "events": json.dumps(_row(charge)["events"])}
        writer.writerow({name: texts.cell(value) for name, value in row.items()})
    return text.getvalue()


def _row(charge: Charge) -> dict[str, Json]:
    return {
        "index": charge.index,
        "time": charge.time.isoformat(),
        "data-set": charge.data_set.fingerprint,
        "label": charge.data_set.label,
        "run": charge.run,
        "round": charge.round_number,
        "kind": charge.kind,
        "state": charge.state,
        "charter-hash": charge.charter_hash,
        "events": [event.document() for event in charge.events],
    }
