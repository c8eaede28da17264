"""One whole session of three sites from fixed keys and fixed randomness, byte for byte.

`python -m tests.secagg.golden_transcript > tests/secagg/golden_transcript.json` writes it anew;
a change of that file is a change of the protocol and needs a new version of it.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.secagg.federation import Federation, spec_of

VECTORS = {
    "site-00": np.array([1, -2, 3, 1000]),
    "site-01": np.array([10, 20, -30, 1000]),
    "site-02": np.array([100, 200, 300, -1000]),
}


def transcript(folder: Path) -> list[list[str]]:
    """Every message in order, as [sender, receiver, base64]."""
    federation = Federation(folder, 3, colluders=0)
    coordinator, sites, names = federation.coordinator, federation.sites, federation.names
    lines: list[list[str]] = []

    def sent(sender: str, receiver: str, message: bytes) -> bytes:
        lines.append([sender, receiver, base64.b64encode(message).decode()])
        return message

    for name in names:
        announced = sent(name, "coordinator", sites[name].announce(epoch="golden/0"))
        coordinator.add_announcement(announced)
    roster = sent("coordinator", "all", coordinator.roster_message())
    for name in names:
        coordinator.add_acknowledgement(sent(name, "coordinator", sites[name].join(roster)))
    spec = spec_of(4)
    session = federation.open(spec, 2)
    sent("coordinator", "all", session.open_message)
    for name in names:
        share = sites[name].share(session.open_message, VECTORS[name], spec=spec)
        session.add_share(sent(name, "coordinator", share))
    stages = [
        (session.forward, "mask", session.add_masked),
        (session.survivors, "confirm", session.add_confirm),
        (session.proof, "reveal", session.add_reveal),
    ]
    for relay, action, add in stages:
        for name, message in relay().items():
            sent("coordinator", name, message)
            add(sent(name, "coordinator", getattr(sites[name], action)(message)))
    result = sent("coordinator", "all", session.result().message)
    for name in names:
        sites[name].finish(result)
        session.add_checked(sent(name, "coordinator", sites[name].checked(session.session_id)))
    return lines


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        json.dump(transcript(Path(scratch) / "golden"), sys.stdout, indent=0)
        sys.stdout.write("\n")
