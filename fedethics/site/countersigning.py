"""A site keeps the other members' receipts of a run and countersigns the list of them.

Guarantee: what is countersigned names this site's own ledger as it is, and no member's ledger that
does not continue the one this site has seen before.
"""

from __future__ import annotations

from pathlib import Path

from fedethics import canonical, plain_file, terms
from fedethics.canonical import sha256_hex
from fedethics.errors import LedgerTampered
from fedethics.privacy.ledger import Receipt
from fedethics.release import durable
from fedethics.release.receipts import Heads, countersign, parse_heads, read_receipts
from fedethics.site.request_context import RequestContext
from fedethics.site.runs import KEPT_HEADS


def countersign_heads(context: RequestContext, run: str, data: bytes) -> bytes:
    """Keep a run's receipts under `witnessed/` and return this site's countersignature.

    Args:
        context: the site.
        run: the run that is being closed.
        data: the list of receipts, canonical.

    Raises:
        LedgerTampered: a receipt is not genuine, this site's own is not of its ledger, or a
            member's ledger does not continue what it was: rolled back. Nothing was countersigned.
    """
    heads = parse_heads(data)
    roster = {member.site: member.public_key for member in context.charter.roster}
    receipts = read_receipts(heads, roster)
    if (heads.run, heads.charter_hash) != (run, context.charter_hash):
        raise LedgerTampered(
            f"the list of ledger heads is of run {heads.run!r}, not of {run!r}; it was not "
            "countersigned"
        )
    own = receipts.get(context.site)
    if own is not None and not context.ledger.holds(
        index=own.ledger_entries - 1, sha256=own.ledger_head
    ):
        raise LedgerTampered(
            "the list of ledger heads names a receipt of this site that its ledger does not hold; "
            "it was not countersigned"
        )
    folder = context.home.path / KEPT_HEADS
    _require_forward(folder, heads, receipts, roster)
    folder.mkdir(mode=0o700, exist_ok=True)
    # Named by content, never by what a message says: nothing kept is ever replaced.
    durable.write(folder / f"{sha256_hex(data)}.json", data, mode=0o600)
    signed = countersign(data, site=context.site, identity=context.identity)
    return canonical.encode(terms.document(signed))


def _require_forward(
    folder: Path, heads: Heads, receipts: dict[str, Receipt], roster: dict[str, str]
) -> None:
    for earlier in _kept(folder):
        for signed in earlier.receipts:
            before = read_receipts(
                Heads(run=earlier.run, charter_hash=earlier.charter_hash, receipts=(signed,)),
                {**roster, **_named(signed.body, signed.public_key)},
            )
            for site, receipt in before.items():
                now = receipts.get(site)
                if now is None and earlier.run == heads.run:
                    raise LedgerTampered(
                        f"the list of ledger heads of run {heads.run!r} held a receipt of {site} "
                        "before and lacks it now. Nothing was countersigned"
                    )
                if now is not None:
                    _require_later(now, receipt, run=earlier.run)


def _require_later(now: Receipt, before: Receipt, *, run: str) -> None:
    if now.ledger_entries < before.ledger_entries:
        raise LedgerTampered(
            f"the ledger of {now.site} has {now.ledger_entries} entries now and had "
            f"{before.ledger_entries} after run {run!r}: it was rolled back. Nothing was "
            "countersigned"
        )
    grown = now.ledger_entries > before.ledger_entries
    if grown and before.ledger_head not in now.earlier:
        raise LedgerTampered(
            f"the ledger of {now.site} does not hold the receipt that it gave after run {run!r}: "
            "an older copy was restored and has grown since. Nothing was countersigned"
        )
    same_length = now.ledger_entries == before.ledger_entries
    if same_length and now.ledger_head != before.ledger_head:
        raise LedgerTampered(
            f"the ledger of {now.site} has {now.ledger_entries} entries as it had after run "
            f"{run!r}, but another head: its history was changed. Nothing was countersigned"
        )


def _kept(folder: Path) -> list[Heads]:
    # Under a name of our own making; a link or pipe there is another's doing.
    return [
        parse_heads(plain_file.read(path, LedgerTampered, limit=durable.FILE_LIMIT))
        for path in sorted(folder.glob("*.json"))
    ]


def _named(body: str, public_key: str) -> dict[str, str]:
    """Return who an earlier receipt is of; that member may have left the roster since."""
    table = canonical.parse(body.encode("utf-8"))
    site = table.get("site") if isinstance(table, dict) else None
    return {str(site): public_key}
