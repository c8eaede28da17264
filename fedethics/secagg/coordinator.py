"""The coordinator's half of an epoch: gather bundles, relay them, open sessions."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from fedethics.errors import CharterError, SecaggAbort, SecaggReject
from fedethics.identity import Identity
from fedethics.secagg import framing, joining, rules
from fedethics.secagg.coordinator_round import CoordinatorRound
from fedethics.secagg.framing import Frame, Kind
from fedethics.secagg.member import Member
from fedethics.secagg.messages import receive
from fedethics.secagg.terms import COORDINATOR, SecaggTerms, TaskSpec


class CoordinatorSecagg:
    """One epoch at the coordinator; a resumed run is a new epoch and a new object.

    It keeps no secret: everything it holds could be published but for the shares revealed to it.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        terms: SecaggTerms,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Coordinate under `terms`, whose coordinator key must be this identity's.

        Raises:
            CharterError: it is another key.
        """
        if terms.coordinator_key != identity.public_key:
            raise CharterError("the charter names another coordinator key than this identity's")
        self._terms = terms
        self._member = Member(
            name=COORDINATOR, identity=identity, terms=terms, random_bytes=random_bytes
        )
        self._bundles: dict[str, Frame] = {}
        self._acknowledgements: dict[str, bytes] = {}
        self._roster: bytes | None = None
        self._epoch_hash = ""

    def add_announcement(self, message: bytes) -> str:
        """Take a site's EPOCH message; return the site's name.

        Raises:
            SecaggReject: not genuine, for another epoch, a second and different one, or late.
        """
        bundle = receive(message, kind=Kind.EPOCH, terms=self._terms)
        site: str = bundle.header["sender"]
        if site in self._bundles:
            if self._bundles[site].raw != message:
                raise SecaggReject(f"{site} announced two different bundles for one epoch")
            return site
        if self._roster is not None:
            raise SecaggReject(f"EPOCH of {site} came after the roster; it can join the next epoch")
        epochs = {held.header["epoch"] for held in self._bundles.values()}
        if epochs and bundle.header["epoch"] not in epochs:
            raise SecaggReject(f"EPOCH of {site} is for {bundle.header['epoch']}, not {epochs}")
        if bundle.header["suite"] != self._terms.suite:
            raise SecaggReject(f"EPOCH of {site} is for suite {bundle.header['suite']}")
        self._bundles[site] = bundle
        return site

    def roster_message(self) -> bytes:
        """Close the epoch's membership and return the ROSTER, the same one each time.

        Raises:
            SecaggAbort: too few sites, or a key that occurs twice.
        """
        if self._roster is None:
            if not self._bundles:
                raise SecaggAbort("no site announced keys; there is no epoch to close")
            bundles = dict(sorted(self._bundles.items()))
            epoch: str = next(iter(bundles.values())).header["epoch"]
            joining.check_bundles(bundles, epoch=epoch, terms=self._terms)
            body = framing.pack(bundle.raw for bundle in bundles.values())
            self._epoch_hash = framing.tree_hash(body).hex()
            self._roster = self._member.message(Kind.ROSTER, body, epoch=epoch)
        return self._roster

    def add_acknowledgement(self, message: bytes) -> str:
        """Take a site's EPOCH_ACK; return the site's name.

        Raises:
            SecaggReject: not genuine, or for another roster than this epoch's.
        """
        acknowledgement = receive(message, kind=Kind.EPOCH_ACK, terms=self._terms)
        site: str = acknowledgement.header["sender"]
        if site not in self._bundles or acknowledgement.header["epoch_hash"] != self._epoch_hash:
            raise SecaggReject(f"EPOCH_ACK of {site} is for another roster than this epoch's")
        self._acknowledgements[site] = message
        return site

    def open(
        self, *, spec: TaskSpec, round_number: int, model_hash: str, cohort: Sequence[str]
    ) -> CoordinatorRound:
        """Open a session: one sum of one task in one round, over `cohort`.

        Raises:
            SecaggReject: a site of the cohort has not joined the epoch.
            SecaggAbort: the charter forbids such a sum, and honest sites would refuse it.
        """
        missing = sorted(set(cohort) - self._acknowledgements.keys())
        if missing:
            raise SecaggReject(f"not in this epoch: {', '.join(missing)}; no session was opened")
        epoch: str = next(iter(self._bundles.values())).header["epoch"]
        header: dict[str, Any] = {
            "suite": self._terms.suite,
            "graph": rules.GRAPH,
            "mode": self._terms.mode,
            "epoch": epoch,
            "epoch_hash": self._epoch_hash,
            "run": epoch.rpartition("/")[0],
            "task": spec.name,
            "round": round_number,
            "cohort": sorted(set(cohort)),
            "threshold": self._terms.threshold(len(set(cohort))),
            "spec_hash": spec.hash,
            "model_hash": model_hash,
            "nonce": self._member.random_bytes(32).hex(),
        }
        rules.check_open(header, terms=self._terms, spec=spec, members=self._acknowledgements)
        message = self._member.message(Kind.OPEN, **header)
        opened = receive(message, kind=Kind.OPEN, terms=self._terms)
        return CoordinatorRound(member=self._member, opened=opened, spec=spec)
