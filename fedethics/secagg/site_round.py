"""A site's steps of a session, from SHARE to the end; each runs inside one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import framing, masking, rules
from fedethics.secagg.framing import Frame, Kind
from fedethics.secagg.graph import graph_of
from fedethics.secagg.messages import Party
from fedethics.secagg.outcomes import Result
from fedethics.secagg.recovery import public_key
from fedethics.secagg.sharing import SessionSecrets, make_share, open_forward
from fedethics.secagg.site_checks import (
    Contradiction,
    accept_survivors,
    check_present,
    check_proof,
    check_round,
    verify_open,
)
from fedethics.secagg.site_state import CLOSED, EpochState, SessionStage, SessionState
from fedethics.secagg.store_transaction import StoreTransaction
from fedethics.secagg.terms import SumSpec

_T = TypeVar("_T")


def share(
    member: Party,
    step: StoreTransaction,
    message: Frame,
    vector: NDArray[np.int64],
    spec: SumSpec,
) -> bytes:
    """Commit a vector to a session; return its SHARE."""
    if message.header["task"] != spec.name:
        raise SecaggReject(f"OPEN is for sum {message.header['task']!r}, not {spec.name!r}")
    opening, epoch = verify_open(member, step, message, spec)
    if step.session(opening.session_id) is not None:
        return _first_share(step, opening.session_id)
    words = masking.to_words(vector, spec)
    epoch = epoch.at_counter(message.header["counter"])
    graph = graph_of(opening.cohort, ring=epoch.ring, terms=member.terms)
    session = SessionState(
        opening=opening,
        spec=spec,
        stage="shared",
        neighbours=graph.peers(member.name) if graph.neighbourhoods is not None else None,
        ring=epoch.ring,
    )
    parts, secrets = make_share(
        site=member.name,
        holders=graph.holders(member.name),
        threshold=opening.threshold,
        session=session.session,
        roots=epoch.roots,
        random_bytes=member.random_bytes,
        recovery=member.terms.mask_recovery,
    )
    classic: dict[str, Any] = {"mask_key": public_key(secrets.key).hex()} if secrets.key else {}
    reply = member.message(
        Kind.SHARE,
        parts.body,
        session=opening.session_id,
        seed_commitment=parts.seed_commitment,
        key_commitment=parts.key_commitment,
        **classic,
    )
    _remember(member, step, session, secrets=secrets, epoch=epoch, words=words)
    step.save_reply(opening.session_id, Kind.SHARE, request=message.raw, reply=reply)
    return reply


def _remember(
    member: Party,
    step: StoreTransaction,
    session: SessionState,
    *,
    secrets: SessionSecrets,
    epoch: EpochState,
    words: NDArray[np.unsignedinteger[Any]],
) -> None:
    opening, charter = session.opening, member.terms.charter_hash
    # One pending session for each aggregate: who answers a second one can no longer open the first,
    # so two sums over slightly different cohorts are never opened behind each other's back.
    step.abandon_aggregate(charter, opening.run, opening.aggregate)
    # Forward secrecy: what this session needs was derived; the roots behind it go now.
    after = replace(epoch.at_counter(epoch.counter + 1), round_number=opening.round_number)
    step.save_epoch(charter, after)
    step.save_session(charter, session)
    step.save_secrets(opening.session_id, secrets)
    # From here on the vector is nowhere without its masks, not on this site's disk either.
    masking.mask_in_place(
        words,
        site=member.name,
        session=session.session,
        seed=secrets.seed,
        pair_seeds=secrets.pair_seeds,
    )
    step.save_vector(opening.session_id, words.data)


def mask(member: Party, step: StoreTransaction, message: Frame) -> bytes:
    """Take the peers' shares and leave in the vector the masks of peers in U1; return MASKED."""
    header = message.header
    if header["recipient"] != member.name:
        raise SecaggReject(f"FORWARD is for {header['recipient']}, this is {member.name}")
    session, answered = _resume(step, message, reply=Kind.MASKED, stage="shared")
    sid, shared = session.opening.session_id, tuple(header["shared"])
    if answered is not None:
        return framing.with_body(answered, _held(step.vector(sid)))
    check_present(member, session, shared, of=session.opening.cohort, stage="FORWARD")
    secrets, peers = _held(step.secrets(sid)), session.among_peers(shared)
    shares, pair_seeds = open_forward(
        message.body,
        site=member.name,
        shared=peers,
        session=session.session,
        secrets=secrets,
        recovery=member.terms.mask_recovery,
    )
    body = _masked_with(member, step, session, was=secrets.pair_seeds, now=pair_seeds)
    root = framing.tree_hash(body)
    reply = member.message(
        Kind.MASKED, body, root=root, session=sid, shared_hash=rules.shared_hash(sid, shared)
    )
    step.save_session(
        member.terms.charter_hash,
        replace(session, stage="masked", shared=shared, root=root.hex()),
    )
    # From here only shares are needed: the seeds go, and with them the way back to the vector.
    step.save_secrets(sid, SessionSecrets(seed=b"", pair_seeds={}, channel_keys={}, shares=shares))
    detached = framing.without_body(reply, body_bytes=len(body), root=root)
    step.save_reply(sid, Kind.MASKED, request=message.raw, reply=detached)
    return reply


def _masked_with(
    member: Party,
    step: StoreTransaction,
    session: SessionState,
    *,
    was: Mapping[str, bytes],
    now: Mapping[str, bytes],
) -> bytes | memoryview:
    """Return the stored vector with the masks of the pairs in `now` instead of those in `was`."""
    sid = session.opening.session_id
    stored = _held(step.vector(sid))
    if was.keys() == now.keys():
        return stored
    words = np.frombuffer(stored, dtype=session.spec.dtype).copy()
    masking.change_pairs(
        words,
        site=member.name,
        add={peer: seed for peer, seed in now.items() if peer not in was},
        remove={peer: seed for peer, seed in was.items() if peer not in now},
    )
    step.save_vector(sid, words.data)
    return words.data.cast("B")


def confirm(member: Party, step: StoreTransaction, message: Frame) -> bytes:
    """Check and sign the survivor set (strict mode); return the CONFIRM."""
    if member.terms.mode != "strict":
        raise SecaggReject("CONFIRM belongs to strict mode; in fast mode SURVIVORS goes to reveal")
    session, answered = _resume(step, message, reply=Kind.CONFIRM, stage="masked")
    if answered is not None:
        return answered
    confirmed = accept_survivors(member, session, message)
    sid = session.opening.session_id
    reply = member.message(Kind.CONFIRM, session=sid, view=confirmed.view)
    step.save_session(member.terms.charter_hash, confirmed)
    step.save_reply(sid, Kind.CONFIRM, request=message.raw, reply=reply)
    return reply


def reveal(member: Party, step: StoreTransaction, message: Frame) -> bytes:
    """Open the round, once: write so to disk, wipe the secrets, return the REVEAL.

    `message` is the PROOF in strict mode and the SURVIVORS in fast mode.
    """
    strict = member.terms.mode == "strict"
    session, answered = _resume(
        step, message, reply=Kind.REVEAL, stage="confirmed" if strict else "masked"
    )
    if answered is not None:
        return answered
    if strict:
        check_proof(member, session, message)
    else:
        session = accept_survivors(member, session, message)
    check_round(member, step, session.opening)
    sid, charter = session.opening.session_id, member.terms.charter_hash
    shares = _held(step.secrets(sid)).shares
    # I1: for one peer, a share of its seed or of its key; a peer is in U2 or in U1 without U2.
    held, alive = session.among_peers(session.shared), set(session.survivors)
    seeds = [shares[peer].seed for peer in held if peer in alive]
    keys = [shares[peer].key for peer in held if peer not in alive]
    reply = member.message(Kind.REVEAL, b"".join(seeds + keys), session=sid, view=session.view)
    step.close_round(charter, session, "opened", survivors=session.survivors)
    step.save_session(charter, replace(session, stage="revealed"))
    step.wipe_secrets(sid)
    step.wipe_sent(sid)
    step.save_reply(sid, Kind.REVEAL, request=message.raw, reply=reply)
    return reply


def finish(member: Party, step: StoreTransaction, message: Frame) -> Result:
    """Check the RESULT against what this site agreed to, close the session, return the sum."""
    session = _pending(step, message, may_be_finished=True)
    survivors: tuple[str, ...] = tuple(message.header["survivors"])
    total = _read_total(member, session, message)
    root, charter = message.root.hex(), member.terms.charter_hash
    if session.stage != "finished":
        step.close_round(charter, session, "opened", survivors=survivors)
        finished = replace(session, stage="finished", survivors=survivors, root=root)
        step.save_session(charter, finished)
        step.close_session(session.opening.session_id, "finished")
    elif (survivors, root) != (session.survivors, session.root):
        raise SecaggAbort("two different RESULTs for one session")
    return Result(
        session_id=session.opening.session_id,
        run=session.opening.run,
        aggregate=session.opening.aggregate,
        round_number=session.opening.round_number,
        total=total,
        survivors=survivors,
    )


def _read_total(member: Party, session: SessionState, message: Frame) -> NDArray[np.int64]:
    survivors: tuple[str, ...] = tuple(message.header["survivors"])
    if session.survivors and survivors != session.survivors:
        raise SecaggAbort("RESULT names other survivors than this site agreed to")
    cohort = session.opening.cohort
    check_present(member, session, survivors, of=cohort, stage="RESULT", listed=False)
    if session.stage == "shared" and member.name in survivors:
        raise SecaggAbort("RESULT counts this site among the survivors; it sent no masked vector")
    if len(message.body) != session.spec.body_bytes:
        raise SecaggReject(f"RESULT has {len(message.body)} bytes, not those of its sum")
    total = masking.to_integers(message.body, session.spec)
    if masking.exceeds(total, spec=session.spec, sites=len(survivors)):
        raise SecaggAbort("RESULT holds a coordinate that no sum of bounded vectors can reach")
    return total


def _resume(
    step: StoreTransaction, message: Frame, *, reply: Kind, stage: SessionStage
) -> tuple[SessionState, bytes | None]:
    session = _pending(step, message)
    before = step.reply(session.opening.session_id, reply)
    if before is not None:
        request, answer = before
        if request != message.raw:
            raise Contradiction(
                f"two different {message.kind.name} messages for one session", earlier=request
            )
        return session, answer
    if session.stage != stage:
        raise SecaggReject(
            f"{message.kind.name} is out of place: the session is {session.stage}, not {stage}"
        )
    return session, None


def _pending(
    step: StoreTransaction, message: Frame, *, may_be_finished: bool = False
) -> SessionState:
    session = step.session(message.header["session"])
    if session is None:
        raise SecaggReject(f"{message.kind.name}: unknown session; this site shared nothing in it")
    if session.stage in CLOSED and not (may_be_finished and session.stage == "finished"):
        raise SecaggReject(f"{message.kind.name}: the session is {session.stage}")
    return session


def _first_share(step: StoreTransaction, session_id: str) -> bytes:
    before = step.reply(session_id, Kind.SHARE)
    if before is None:
        raise SecaggReject("OPEN: this site already shared, and its round was opened")
    return before[1]


def _held(value: _T | None) -> _T:
    if value is None:
        raise SecaggReject("the secrets of this session were wiped; restart the round")
    return value
