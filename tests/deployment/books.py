"""What must hold after any trouble: no sum opened twice, and whoever is in a sum was charged."""

from __future__ import annotations

from pathlib import Path

from fedethics.flower.wire import parse_request
from fedethics.privacy.ledger.verify import read_book
from fedethics.protocol import Action
from fedethics.release import evidence
from fedethics.release.evidence import OpenedSum
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from tests.deployment.federation import Federation, stage
from tests.loopback import run_federation


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


def check_the_sums(federation: Federation, folder: Path, *, rounds: int) -> None:
    """Each sum is, bit for bit, what a simulation opens over the same survivors."""
    theirs = {
        (entry.kind, entry.round): entry
        for entry in evidence.load(federation.job / "evidence.json").rounds
    }

    def lost(site: str, message) -> bool:
        if message.metadata.message_type not in (Action.TRAIN, Action.EVALUATE):
            return False
        opened = parse_request(message).payloads["open"]
        header = framing.decode(opened, kind=Kind.OPEN, max_body_bytes=0).header
        opening = theirs.get((header["task"], header["round"]))
        return opening is None or site not in opening.survivors  # a light one may be given up

    again = run_federation(stage(folder / "again", rounds=rounds), lost=lost)
    ours = evidence.load(again / "evidence.json").rounds
    assert {(entry.kind, entry.round) for entry in ours} == set(theirs)
    for entry in ours:
        there = theirs[entry.kind, entry.round]
        assert (entry.survivors, entry.sum_sha256) == (there.survivors, there.sum_sha256)
