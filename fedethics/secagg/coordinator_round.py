"""The coordinator's half of one session: gather each stage's answers, relay, and open the sum."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import SecaggReject
from fedethics.secagg import framing, rules, shamir
from fedethics.secagg.checked import check_statement
from fedethics.secagg.coordinator_log import SliceArchive
from fedethics.secagg.framing import Frame, Kind
from fedethics.secagg.graph import Graph
from fedethics.secagg.messages import Party, receive
from fedethics.secagg.opening import (
    GraphGathered,
    Reveal,
    Secrets,
    forward_body,
    open_exactly,
    read_reveal,
    recover_secrets,
    require,
)
from fedethics.secagg.outcomes import Opened, Stage, first_silence
from fedethics.secagg.sharing import ReadShare, check_pairs, read_share, share_body_bytes
from fedethics.secagg.site_checks import read_opening
from fedethics.secagg.terms import SumSpec


class CoordinatorRound:
    """One session, made by `CoordinatorSecagg.open`.

    Each `add_*` takes a site's message and returns the name of its signer. An identical
    repetition is accepted again; whatever does not verify, contradicts or comes late raises
    `SecaggReject`. The relay methods (`forward`, `survivors`, `proof`, `result`) close a stage and
    return the same bytes each time; while too few sites have answered they raise `SecaggAbort`,
    and the stage stays open.

    With an archive, what was taken is on disk before a stage is closed, and the closing is on disk
    before a message of it is sent: `CoordinatorSecagg.reopen` takes the session up from there.

    Attributes:
        open_message: the signed OPEN, for every site of the cohort.
        cohort, aggregate, round_number: who was asked, and for which sum.
    """

    def __init__(
        self,
        *,
        member: Party,
        opened: Frame,
        spec: SumSpec,
        graph: Graph,
        archive: SliceArchive | None = None,
    ) -> None:
        """Wait for shares in the session of `opened`."""
        self.open_message = opened.raw
        self._member = member
        self._spec = spec
        self._graph = graph
        self._archive = archive
        self._keep(opened.raw)
        self._recovery = member.terms.mask_recovery
        self._strict = opened.header["mode"] == "strict"
        self._opening = read_opening(opened)
        self.cohort = self._opening.cohort
        self.aggregate, self.round_number = self._opening.aggregate, self._opening.round_number
        self._stage: Stage = "share"
        self._signatures: dict[tuple[Kind, str], bytes] = {}
        self._shares: dict[str, ReadShare] = {}
        self._sum: NDArray[np.unsignedinteger[Any]] = np.zeros(spec.length, dtype=spec.dtype)
        self._roots: dict[str, str] = {}
        self._confirms: dict[str, bytes] = {}
        self._reveals: dict[str, Reveal] = {}
        self._shared: tuple[str, ...] = ()
        self._survivors: tuple[str, ...] = ()
        self._view = ""
        self._relayed: dict[Kind, dict[str, bytes]] = {}
        self._opened: Opened | None = None
        self._secrets: Secrets | None = None
        self._told: Frame | None = None

    def add_share(self, message: bytes) -> str:
        """Take a SHARE."""
        limit = share_body_bytes(len(self._opening.cohort), recovery=self._recovery)
        frame = self._receive(message, Kind.SHARE, limit)
        site: str = frame.header["sender"]
        if self._is_new(frame, stage="share", expected=self._opening.cohort):
            peers = self._graph.peers(site)
            share = read_share(frame, peers=peers, recovery=self._recovery)
            self._take(frame)
            self._shares[site] = share
        return site

    def forward(self) -> dict[str, bytes]:
        """Close the sharing stage; return FORWARD for each site that shared."""
        if Kind.FORWARD not in self._relayed:
            shared = tuple(sorted(self._shares))
            self._check_subset(shared, of=self._opening.cohort, stage="FORWARD")
            check_pairs(shared, shares=self._shares, graph=self._graph, recovery=self._recovery)
            self._shared = shared
            self._close(Kind.FORWARD, {site: self._forward_to(site) for site in shared}, "masked")
        return dict(self._relayed[Kind.FORWARD])

    def add_masked(self, message: bytes) -> str:
        """Take a MASKED vector and add it to the sum."""
        frame = self._receive(message, Kind.MASKED, self._spec.body_bytes)
        site: str = frame.header["sender"]
        if self._is_new(frame, stage="masked", expected=self._shared):
            if frame.header["shared_hash"] != rules.shared_hash(self._sid, self._shared):
                raise SecaggReject(f"MASKED of {site} is for other sharing sites")
            if len(frame.body) != self._spec.body_bytes:
                raise SecaggReject(f"MASKED of {site} has {len(frame.body)} bytes, not its sum's")
            self._take(frame)
            words = np.frombuffer(frame.body, dtype=self._spec.dtype)
            np.add(self._sum, words, out=self._sum)
            self._roots[site] = frame.root.hex()
        return site

    def survivors(self) -> dict[str, bytes]:
        """Close the masking stage; return SURVIVORS for each site whose vector is in the sum."""
        if Kind.SURVIVORS not in self._relayed:
            survivors = tuple(sorted(self._roots))
            self._check_subset(survivors, of=self._shared, stage="SURVIVORS")
            self._survivors = survivors
            roots = [self._roots[site] for site in survivors]
            self._view = rules.view_hash(
                self._sid, shared=self._shared, survivors=survivors, roots=roots
            )
            message = self._member.message(
                Kind.SURVIVORS,
                session=self._sid,
                shared_hash=rules.shared_hash(self._sid, self._shared),
                survivors=list(survivors),
                roots=roots,
            )
            following: Stage = "confirm" if self._strict else "reveal"
            self._close(Kind.SURVIVORS, dict.fromkeys(survivors, message), following)
        return dict(self._relayed[Kind.SURVIVORS])

    def add_confirm(self, message: bytes) -> str:
        """Take a CONFIRM (strict mode)."""
        frame = self._receive(message, Kind.CONFIRM)
        site: str = frame.header["sender"]
        if self._is_new(frame, stage="confirm", expected=self._survivors):
            self._check_view(frame)
            self._take(frame)
            self._confirms[site] = message
        return site

    def proof(self) -> dict[str, bytes]:
        """Close the confirmation stage; return PROOF for each site that confirmed."""
        if not self._strict:
            raise SecaggReject("there is no PROOF in fast mode; SURVIVORS goes to reveal")
        if Kind.PROOF not in self._relayed:
            quorum = self._member.terms.threshold(len(self._opening.cohort))
            require(self._confirms, "confirmed", needed=quorum)
            # As many as a site asks for, and no more: each costs every site a verification.
            confirms = [self._confirms[site] for site in sorted(self._confirms)[:quorum]]
            message = self._member.message(
                Kind.PROOF, framing.pack(confirms), session=self._sid, view=self._view
            )
            self._close(Kind.PROOF, dict.fromkeys(sorted(self._confirms), message), "reveal")
        return dict(self._relayed[Kind.PROOF])

    def add_reveal(self, message: bytes) -> str:
        """Take a REVEAL."""
        frame = self._receive(message, Kind.REVEAL, shamir.SHARE_BYTES * len(self._shared))
        site: str = frame.header["sender"]
        expected = self._confirms if self._strict else self._survivors
        if self._is_new(frame, stage="reveal", expected=expected):
            self._check_view(frame)
            alive, graph = self._survivors, self._graph
            reveal = read_reveal(frame, shared=self._shared, survivors=alive, graph=graph)
            self._take(frame)
            self._reveals[site] = reveal
        return site

    def result(self) -> Opened:
        """Open the sum.

        Guarantee: `total` is the exact sum of the survivors' integer vectors, or this raises.

        Raises:
            SecaggAbort: too few answers, or a site's secrets or vector are not what it signed for.
        """
        if self._opened is None:
            require(self._reveals, "revealed shares", needed=self._graph.threshold)
            body, total, suspects = open_exactly(self._sum, self._gathered(), spec=self._spec)
            alive = list(self._survivors)
            message = self._member.message(Kind.RESULT, body, session=self._sid, survivors=alive)
            self._keep(message)
            self._opened = Opened(
                total=total,
                survivors=self._survivors,
                dropped=self._dropped(),
                message=message,
                suspects=suspects,
            )
        return self._opened

    def slice(self, request: bytes) -> bytes:
        """Answer a SLICE_REQUEST with the SLICE for its sender (sessions opened with `keep`)."""
        frame = self._receive(request, Kind.SLICE_REQUEST)
        site: str = frame.header["sender"]
        if self._opened is None or self._archive is None or site not in self._survivors:
            raise SecaggReject(f"SLICE_REQUEST of {site}: no opened sum with it was kept")
        if self._secrets is None:
            self._secrets, _ = recover_secrets(self._gathered())
        leaves, alive, told = frame.header["leaves"], self._survivors, self._told_result()
        body = self._archive.answer(leaves, result=told, survivors=alive, secrets=self._secrets)
        return self._member.message(
            Kind.SLICE, body, session=self._sid, recipient=site, leaves=leaves
        )

    def add_checked(self, message: bytes) -> str:
        """Take a CHECKED of the opened sum; return the name of its signer. Nothing is kept here.

        Raises:
            SecaggReject: not genuine, or of another sum.
        """
        frame = self._receive(message, Kind.CHECKED)
        check_statement(
            frame, opening=self._opening, survivors=self._survivors, total=self._told_result().root
        )
        site: str = frame.header["sender"]
        return site

    @property
    def session_id(self) -> str:
        """SHA-256 of the OPEN."""
        return self._sid

    @property
    def may_be_open(self) -> bool:
        """Whether sites were, or may have been, asked to reveal: never open such a sum again."""
        return self._stage == "reveal"

    def unrevealed(self) -> dict[str, bytes]:
        """Return what asks for a REVEAL, for each site that has sent none."""
        asked = self.proof() if self._strict else self.survivors()
        return {site: message for site, message in asked.items() if site not in self._reveals}

    @property
    def _sid(self) -> str:
        return self._opening.session_id

    def _told_result(self) -> Frame:
        """Return the RESULT that was sent, taken apart."""
        if self._opened is None:
            raise SecaggReject("the sum is not opened yet")
        message = self._opened.message
        if self._told is None or self._told.raw is not message:
            self._told = self._receive(message, Kind.RESULT, self._spec.body_bytes)
        return self._told

    def _receive(self, message: bytes, kind: Kind, max_body_bytes: int = 0) -> Frame:
        frame = receive(message, kind=kind, terms=self._member.terms, max_body_bytes=max_body_bytes)
        if frame.header["session"] != self._sid:
            raise SecaggReject(f"{kind.name} of {frame.header['sender']} is for another session")
        return frame

    def _is_new(self, frame: Frame, *, stage: Stage, expected: Collection[str]) -> bool:
        kind, site = frame.kind, frame.header["sender"]
        before = self._signatures.get((kind, site))
        if before == frame.signature:
            return False
        if before is not None:
            raise SecaggReject(f"{site} sent two different {kind.name} messages")
        if site not in expected:
            raise SecaggReject(f"{kind.name} of {site}: that site is not part of this stage")
        if self._stage != stage:
            raise SecaggReject(f"{kind.name} of {site} came at stage {self._stage!r}")
        return True

    def _keep(self, message: bytes) -> None:
        if self._archive is not None:
            self._archive.sends(message)

    def _take(self, frame: Frame) -> None:
        if self._archive is not None:
            self._archive.took(frame)
        self._signatures[frame.kind, frame.header["sender"]] = frame.signature

    def _close(self, kind: Kind, relayed: dict[str, bytes], following: Stage) -> None:
        """Go on to the next stage, on disk first, so that no second set is ever sent."""
        self._keep(relayed[min(relayed)])
        self._relayed[kind] = relayed
        self._stage = following

    def _check_subset(self, subset: tuple[str, ...], *, of: tuple[str, ...], stage: str) -> None:
        terms, cohort = self._member.terms, self._opening.cohort
        rules.check_subset(
            subset, of=of, cohort=cohort, terms=terms, spec=self._spec, site=None, stage=stage
        )

    def _check_view(self, frame: Frame) -> None:
        if frame.header["view"] != self._view:
            sender = frame.header["sender"]
            raise SecaggReject(f"{frame.kind.name} of {sender} signs another survivor set")

    def _forward_to(self, recipient: str) -> bytes:
        body = forward_body(recipient, shares=self._shares, graph=self._graph)
        return self._member.message(
            Kind.FORWARD, body, session=self._sid, recipient=recipient, shared=list(self._shared)
        )

    def _gathered(self) -> GraphGathered:
        return GraphGathered(
            session=bytes.fromhex(self._sid),
            graph=self._graph,
            recovery=self._recovery,
            shared=self._shared,
            survivors=self._survivors,
            shares=self._shares,
            reveals=self._reveals,
        )

    def _dropped(self) -> dict[str, Stage]:
        answered: dict[Stage, Collection[str]] = {"share": self._shared, "masked": self._survivors}
        if self._strict:
            answered["confirm"] = self._confirms
        answered["reveal"] = self._reveals
        return first_silence(self._opening.cohort, answered)
