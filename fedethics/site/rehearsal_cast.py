"""Who plays in a rehearsal: this site's real handler, and stand-ins that put zeros into the sum.

A stand-in speaks the whole protocol and has no records: its vector is zero. So the opened sum must
be this site's own vector, bit for bit, which proves masking and opening on the way.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from fedethics import tasks
from fedethics.charter.document import hash_of
from fedethics.protocol import Action, Request
from fedethics.secagg import SecaggTerms, SiteSecagg, SiteStore, TaskSpec
from fedethics.site.handler import SiteHandler
from fedethics.site.rehearsal_home import Stage

RUN = "rehearsal"


class Player(Protocol):
    """One site of a rehearsal, asked as the coordinator asks."""

    def ask(self, action: Action, wanted: str, **payloads: bytes) -> bytes:
        """Answer one request with the payload `wanted`; empty where none is."""


@dataclass
class OwnSite:
    """This site, through the handler that answers real requests.

    Attributes:
        spent_s: seconds in which this site worked; those of the stand-ins are not counted.
    """

    handler: SiteHandler
    charter_hash: str
    spent_s: float = field(default=0.0)

    def ask(self, action: Action, wanted: str, **payloads: bytes) -> bytes:
        """Answer one request as the node would, and count the time."""
        request = Request(action=action, charter_hash=self.charter_hash, run=RUN, payloads=payloads)
        begun = time.perf_counter()
        reply = self.handler.handle(request)
        self.spent_s += time.perf_counter() - begun
        return reply.payloads.get(wanted, b"")

    def lap(self) -> float:
        """Return the seconds since the last call, and begin anew."""
        spent_s, self.spent_s = self.spent_s, 0.0
        return spent_s


@dataclass
class StandIn:
    """A site without records."""

    secagg: SiteSecagg
    specs: dict[str, TaskSpec]

    def ask(self, action: Action, wanted: str, **payloads: bytes) -> bytes:
        """Answer one request with zeros for a vector."""
        match action:
            case Action.ANNOUNCE:
                return self.secagg.announce(epoch=payloads["epoch"].decode("utf-8"))
            case Action.JOIN:
                return self.secagg.join(payloads["roster"])
            case Action.COMPLETE:
                self.secagg.complete(payloads["joined"])
            case Action.TRAIN | Action.EVALUATE:
                opening = self.secagg.check_open(payloads["open"], specs=self.specs)
                spec = self.specs[opening.task]
                zeros = np.zeros(spec.length, dtype=np.int64)
                return self.secagg.share(payloads["open"], zeros, spec=spec)
            case Action.FORWARD:
                return self.secagg.mask(payloads["forward"])
            case Action.SURVIVORS:
                return self.secagg.confirm(payloads["survivors"])
            case Action.PROOF:
                return self.secagg.reveal(payloads["proof"])
            case _:
                self.secagg.finish(payloads["result"])
        return b""


def cast(
    stage: Stage, specs: dict[str, TaskSpec], folder: Path
) -> tuple[OwnSite, dict[str, Player]]:
    """Return this site, and all players by name."""
    charter_hash = hash_of(stage.charter)
    terms: SecaggTerms = tasks.secagg_terms(stage.charter, charter_hash=charter_hash)
    own = OwnSite(SiteHandler(stage.home), charter_hash)
    players: dict[str, Player] = {
        name: StandIn(
            SiteSecagg(
                site=name,
                identity=identity,
                terms=terms,
                store=SiteStore(folder / name / "secagg.db"),
            ),
            specs,
        )
        for name, identity in stage.peers.items()
    }
    site = next(name for name in stage.charter.site_names if name not in stage.peers)
    return own, {**players, site: own}
