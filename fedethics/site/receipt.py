"""The signed receipt of one run, at any time after it and under whichever charter it ran; no torch.

What a receipt says is told in `fedethics.privacy.ledger.receipt`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fedethics.errors import LedgerError
from fedethics.privacy.events import Event, NonPrivate
from fedethics.privacy.ledger import Ledger, read_book
from fedethics.privacy.ledger.receipt import SumSeen
from fedethics.secagg import OpenedRound, SiteStore
from fedethics.secagg.rules import sites_hash
from fedethics.site.archive import charter_of
from fedethics.site.home import SiteHome
from fedethics.site.journal import Journal, ToldSum


def runs_charged(home: SiteHome) -> tuple[str, ...]:
    """Return every run that this site's ledger charged, oldest first."""
    return read_book(home.ledger_path, home.identity().public_key).runs()


def receipt_of(home: SiteHome, run: str) -> bytes:
    """Return the signed receipt of what `run` spent here, as canonical bytes.

    Raises:
        LedgerError: the run was never charged here, or under two charters.
        CharterError: the charter of that run is no longer kept here.
    """
    identity = home.identity()
    charges = list(read_book(home.ledger_path, identity.public_key).counted(run=run))
    hashes = {charge.charter_hash for charge in charges}
    if len(hashes) != 1:
        known = ", ".join(runs_charged(home)) or "none"
        raise LedgerError(
            f"run {run!r} was charged here under {len(hashes)} charters; a receipt is of one. "
            f"Runs in this ledger: {known}"
        )
    (charter_hash,) = hashes
    journal = Journal(home.path / "journal.db")
    return Ledger.open(home.ledger_path, identity=identity).receipt(
        site=home.settings.site,
        run=run,
        charter=charter_of(home, charter_hash),
        self_test_passed=journal.self_test_passed(charter_hash=charter_hash, run=run),
        fixed_noise=any(_fixed(event) for charge in charges for event in charge.events),
        sums=sums_seen(
            SiteStore(home.opened_sums).opened(charter_hash=charter_hash, run=run),
            journal.sums(charter_hash=charter_hash, run=run),
        ),
    )


def sums_seen(
    opened: Iterable[OpenedRound], told: Mapping[tuple[str, int], ToldSum]
) -> tuple[SumSeen, ...]:
    """Return what a receipt says of the sums of a run, by round.

    Args:
        opened: every sum that this site agreed to open: it stands in the receipt from then on.
        told: those that it was told since.
    """
    found = []
    for one in sorted(opened, key=lambda each: (each.round_number, each.task)):
        here = told.get((one.task, one.round_number))
        found.append(
            SumSeen(
                kind=one.task,
                round=one.round_number,
                session=one.session or None,
                cohort=sites_hash(one.cohort),
                survivors=sites_hash(one.survivors),
                sha256=here.sha256 if here else None,
                slices=here.slices if here else "unchecked",
                adapter=here.adapter if here else None,
            )
        )
    return tuple(found)


def _fixed(event: Event) -> bool:
    # As the site books it: what site.toml says today may not be what it said then.
    return isinstance(event, NonPrivate) and event.reason.startswith("noise fixed")
