"""What must hold after any trouble: no sum opened twice, and whoever is in a sum was charged."""

from __future__ import annotations

from fedethics.privacy.ledger.verify import read_book
from fedethics.release import evidence
from fedethics.release.evidence import OpenedSum
from tests.deployment.federation import Federation


def check_books(federation: Federation) -> tuple[OpenedSum, ...]:
    """Check the books of a job that has ended; return the sums that it opened."""
    sums = evidence.load(federation.job / "evidence.json").rounds
    assert len({(entry.round, entry.kind) for entry in sums}) == len(sums)
    for site, home in federation.stage.homes.items():
        charged = {
            (charge.round_number, charge.kind) for charge in read_book(home / "ledger.db").counted()
        }
        owed = {(entry.round, entry.kind) for entry in sums if site in entry.survivors}
        assert owed <= charged, site
    return sums


def seen(federation: Federation, event: str, **fields: object) -> list[dict[str, object]]:
    """Return the coordinator's events of this name and these fields."""
    return [
        entry
        for entry in federation.events()
        if entry["event"] == event and all(entry.get(key) == value for key, value in fields.items())
    ]
