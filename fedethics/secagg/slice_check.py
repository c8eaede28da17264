"""A site's check of its slices: does the sum that was announced follow from what was signed?

For each leaf of 64 KiB that the site asked for, it takes the same leaf of every survivor's masked
vector, removes the masks itself, and compares. Everything it uses was signed or committed to
before the sum was known (docs/secagg.md, "Slices").

A site's part in the check of the sum: choose leaves, ask for them, check the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

from fedethics import canonical
from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import derivation, framing, rules, sharing
from fedethics.secagg.framing import HASH_BYTES, LEAF_BYTES, Frame, Kind
from fedethics.secagg.graph import Graph, graph_of
from fedethics.secagg.messages import Party, receive, receive_detached
from fedethics.secagg.site_state import SessionState
from fedethics.secagg.store_transaction import StoreTransaction
from fedethics.secagg.terms import SecaggTerms, SumSpec

_FIXED_PARTS = 6
_BLOCK_BYTES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceCheck:
    """What a site knows of a finished session, to hold a SLICE message against it.

    Attributes:
        session: the session; `root` is that of the RESULT it accepted.
        graph: who shares masks with whom.
        terms: the charter's terms.
    """

    session: SessionState
    graph: Graph
    terms: SecaggTerms

    def check(self, message: Frame) -> None:
        """Check every leaf in a SLICE message.

        Raises:
            SecaggAbort: the coordinator's RESULT does not follow from what the sites signed, or
                it cannot show that it does; says which coordinates or whose message.
        """
        leaves: list[int] = message.header["leaves"]
        try:
            parts = framing.unpack(message.body)
            if len(parts) != _FIXED_PARTS + len(leaves):
                raise SecaggAbort("SLICE does not hold what was asked for")
            self._check_result(parts[0])
            roots = self._check_roots(framing.unpack(memoryview(parts[2])))
            heads = framing.unpack(memoryview(parts[1]))
            seeds, mask_keys = self._check_seeds(heads, parts[3])
            added, subtracted = self._masks(
                seeds, mask_keys, framing.unpack(memoryview(parts[4])), parts[5]
            )
            for leaf, part in zip(leaves, parts[_FIXED_PARTS:], strict=True):
                self._check_leaf(leaf, part, roots, added=added, subtracted=subtracted)
        except SecaggReject as fault:
            raise SecaggAbort(f"SLICE relays what is not genuine: {fault}") from fault

    @property
    def _sid(self) -> str:
        return self.session.opening.session_id

    def _check_result(self, detached: bytes) -> None:
        result = receive_detached(detached, kind=Kind.RESULT, terms=self.terms)
        if result.header["session"] != self._sid or result.root.hex() != self.session.root:
            raise SecaggAbort("SLICE belongs to another RESULT than this site was sent")

    def _check_roots(self, heads: Sequence[bytes]) -> list[bytes]:
        frames = [receive_detached(h, kind=Kind.MASKED, terms=self.terms) for h in heads]
        self._check_senders(frames)
        shared = rules.shared_hash(self._sid, self.session.shared)
        view = rules.view_hash(
            self._sid,
            shared=self.session.shared,
            survivors=self.session.survivors,
            roots=[frame.root.hex() for frame in frames],
        )
        # A site in the sum that fell silent before SURVIVORS agreed on no view. It still has each
        # survivor's own signature, and its own: the sum is held against what these signed.
        agreed = self.session.view in ("", view)
        if not agreed or any(f.header["shared_hash"] != shared for f in frames):
            raise SecaggAbort("SLICE shows other masked vectors than the survivors agreed on")
        return [frame.root for frame in frames]

    def _check_seeds(
        self, heads: Sequence[bytes], seeds: bytes
    ) -> tuple[dict[str, bytes], dict[str, str]]:
        frames = [receive_detached(h, kind=Kind.SHARE, terms=self.terms) for h in heads]
        self._check_senders(frames)
        found = framing.records(
            memoryview(seeds), record_bytes=HASH_BYTES, count=len(self.session.survivors)
        )
        for frame, seed in zip(frames, found, strict=True):
            self._check_commitment(frame, seed, "seed")
        mask_keys = {frame.header["sender"]: frame.header.get("mask_key", "") for frame in frames}
        return dict(zip(self.session.survivors, found, strict=True)), mask_keys

    def _check_senders(self, frames: Sequence[Frame]) -> None:
        senders = [frame.header["sender"] for frame in frames]
        if senders != list(self.session.survivors):
            raise SecaggAbort("SLICE names other survivors than this site agreed to")
        for frame in frames:
            self._check_session(frame)

    def _check_session(self, frame: Frame) -> None:
        if frame.header["session"] != self._sid:
            raise SecaggAbort(f"SLICE holds a {frame.kind.name} message of another session")

    def _check_commitment(self, frame: Frame, secret: bytes, use: str) -> None:
        site = frame.header["sender"]
        found = sharing.secret_commitment(secret, session=self.session.session, use=use, site=site)
        if found.hex() != frame.header[f"{use}_commitment"]:
            raise SecaggAbort(f"SLICE: the {use} of {site} is not the one that it committed to")

    def _masks(
        self,
        seeds: Mapping[str, bytes],
        mask_keys: Mapping[str, str],
        shares: Sequence[bytes],
        keys: bytes,
    ) -> tuple[list[bytes], list[bytes]]:
        """Return the keys of the masks to add to, and to subtract from, the sum of vectors."""
        session, alive = self.session.session, set(self.session.survivors)
        subtracted = [
            derivation.self_mask_key(seed, session=session, site=site)
            for site, seed in seeds.items()
        ]
        added: list[bytes] = []
        gone = [site for site in self.session.shared if site not in alive]
        masked_by = [site for site in gone if not alive.isdisjoint(self.graph.peers(site))]
        found = framing.records(memoryview(keys), record_bytes=HASH_BYTES, count=len(masked_by))
        if len(shares) != len(masked_by):
            raise SecaggAbort("SLICE does not show the SHARE of every dropped site")
        for site, raw, key in zip(masked_by, shares, found, strict=True):
            for peer, pair_seed in self._pair_seeds(site, raw, key, mask_keys).items():
                (subtracted if site > peer else added).append(pair_seed)
        return added, subtracted

    def _pair_seeds(
        self, site: str, raw: bytes, key: bytes, mask_keys: Mapping[str, str]
    ) -> dict[str, bytes]:
        peers, recovery = self.graph.peers(site), self.terms.mask_recovery
        limit = sharing.share_body_bytes(len(peers), recovery=recovery)
        frame = receive(raw, kind=Kind.SHARE, terms=self.terms, max_body_bytes=limit)
        self._check_session(frame)
        if frame.header["sender"] != site:
            raise SecaggAbort(f"SLICE shows a SHARE of {frame.header['sender']} as that of {site}")
        self._check_commitment(frame, key, "key")
        share = sharing.read_share(frame, peers=peers, recovery=recovery)
        seeds = recovery.recovered(
            key,
            share.blob,
            site=site,
            slots=share.pair_commitments,
            survivors={peer: mask_keys[peer] for peer in peers if peer in mask_keys},
            session=self.session.session,
        )
        if seeds is None:
            raise SecaggAbort(f"SLICE: the SHARE of {site} contradicts what it committed to")
        return seeds

    def _check_leaf(
        self,
        leaf: int,
        part: bytes,
        roots: Sequence[bytes],
        *,
        added: Sequence[bytes],
        subtracted: Sequence[bytes],
    ) -> None:
        spec = self.session.spec
        *masked, total = _read_records(part, spec, leaf, [*roots, bytes.fromhex(self.session.root)])
        expected = np.zeros(len(total), dtype=spec.dtype)
        for words in masked:
            np.add(expected, words, out=expected)
        for keys, combine in ((added, np.add), (subtracted, np.subtract)):
            for key in keys:
                combine(expected, _mask(key, leaf, total.nbytes, spec), out=expected)
        wrong = np.flatnonzero(expected != total)
        if wrong.size:
            first = leaf * (LEAF_BYTES // total.itemsize) + int(wrong[0])
            raise SecaggAbort(
                f"RESULT is false: {wrong.size} coordinates of leaf {leaf}, the first of them "
                f"{first}, are not the sum of the vectors that the survivors signed. The signed "
                "proof is in this site's evidence; do not use the sum"
            )


def _read_records(
    part: bytes, spec: SumSpec, leaf: int, roots: Sequence[bytes]
) -> list[NDArray[np.unsignedinteger[Any]]]:
    count = framing.leaf_count(spec.body_bytes)
    size = min(LEAF_BYTES, spec.body_bytes - leaf * LEAF_BYTES)
    record_bytes = size + framing.path_bytes(leaf, count)
    records = framing.records(memoryview(part), record_bytes=record_bytes, count=len(roots))
    for record, root in zip(records, roots, strict=True):
        if framing.root_above(record[:size], record[size:], index=leaf, count=count) != root:
            raise SecaggAbort(f"SLICE: leaf {leaf} is not of the vector that was signed")
    return [np.frombuffer(record[:size], dtype=spec.dtype) for record in records]


def _mask(key: bytes, leaf: int, size: int, spec: SumSpec) -> NDArray[np.unsignedinteger[Any]]:
    counter = leaf * LEAF_BYTES // _BLOCK_BYTES
    stream = Cipher(AES256(key), CTR(counter.to_bytes(_BLOCK_BYTES, "big"))).encryptor()
    return np.frombuffer(stream.update(bytes(size)), dtype=spec.dtype)


def request(member: Party, step: StoreTransaction, session_id: str, random_leaves: int) -> bytes:
    """Return the SLICE_REQUEST of a finished session, the same one each time.

    Raises:
        SecaggReject: the session is not finished here, or this site is not in the sum.
    """
    session = _finished(step, session_id)
    before = step.reply(session_id, Kind.SLICE_REQUEST)
    if before is not None:
        return before[1]
    if member.name not in session.survivors:
        raise SecaggReject("slices are checked by sites in the sum; this site is not")
    leaves = _assigned(session, member.name) | _drawn(member, session, random_leaves)
    message = member.message(Kind.SLICE_REQUEST, session=session_id, leaves=sorted(leaves))
    # Kept before it leaves: a server that answers late does not get other leaves to answer.
    step.save_reply(session_id, Kind.SLICE_REQUEST, request=b"", reply=message)
    return message


def verify(member: Party, step: StoreTransaction, message: Frame) -> int:
    """Check a SLICE message; return how many coordinates it proves right.

    Raises:
        SecaggReject: not what this site asked for.
        SecaggAbort: the sum is false, or the coordinator cannot show that it is not.
    """
    header = message.header
    if header["recipient"] != member.name:
        raise SecaggReject(f"SLICE is for {header['recipient']}, this is {member.name}")
    session = _finished(step, header["session"])
    asked = step.reply(header["session"], Kind.SLICE_REQUEST)
    if asked is None:
        raise SecaggReject("SLICE: this site asked for none in this session")
    own = receive(asked[1], kind=Kind.SLICE_REQUEST, terms=member.terms)
    wanted: list[int] = own.header["leaves"]
    if header["leaves"] != wanted:
        raise SecaggReject(f"SLICE brings leaves {header['leaves']}, asked for were {wanted}")
    graph = graph_of(session.opening.cohort, ring=session.ring, terms=member.terms)
    SliceCheck(session=session, graph=graph, terms=member.terms).check(message)
    size = session.spec.body_bytes
    seen = sum(min(LEAF_BYTES, size - leaf * LEAF_BYTES) for leaf in wanted)
    return seen * 8 // session.spec.word_bits


def _assigned(session: SessionState, site: str) -> set[int]:
    """Return this site's share of the leaves; the survivors' shares together are all leaves."""
    bound = f"{session.opening.session_id}|{session.root}|"
    ranked = sorted(
        session.survivors, key=lambda name: canonical.sha256_hex((bound + name).encode("utf-8"))
    )
    leaves, rank = framing.leaf_count(session.spec.body_bytes), ranked.index(site)
    if leaves <= len(ranked):
        return {rank % leaves}
    return set(range(rank, leaves, len(ranked)))


def _drawn(member: Party, session: SessionState, count: int) -> set[int]:
    # The assignment can be foreseen by whoever made the sum; these cannot.
    leaves = framing.leaf_count(session.spec.body_bytes)
    return {int.from_bytes(member.random_bytes(16), "big") % leaves for _ in range(count)}


def _finished(step: StoreTransaction, session_id: str) -> SessionState:
    session = step.session(session_id)
    if session is None or session.stage != "finished" or not session.shared:
        raise SecaggReject(
            "slices are checked by sites whose vector is in the sum and that took the RESULT; this "
            "site did not in this session"
        )
    return session
