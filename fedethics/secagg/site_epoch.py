"""A site's steps of an epoch: announce keys, join the roster, learn which others joined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fedethics import canonical
from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import framing, graph, joining
from fedethics.secagg.framing import Frame, Kind
from fedethics.secagg.messages import Party, parse_epoch
from fedethics.secagg.sharing import PairRoots
from fedethics.secagg.site_state import EpochState
from fedethics.secagg.store_transaction import StoreTransaction

# Each attempt draws anew: 2**8 of them take at most 8 of the 40 bits.
MAX_RING_DRAWS = 256


def announce(member: Party, step: StoreTransaction, epoch: str) -> bytes:
    """Return the EPOCH message of an epoch, the same one each time while its keys are young.

    Where an epoch was announced, never joined, and is announced again when half of the lifetime is
    over, the site draws other keys: the coordinator would reject those as too short-lived.

    Raises:
        SecaggReject: malformed id, or not a later attempt than the last one joined.
    """
    run, attempt = parse_epoch(epoch)
    charter = member.terms.charter_hash
    known = step.epoch(charter, epoch)
    if known is not None and (known.acknowledgement or _is_young(known, member)):
        return known.announcement
    last = step.last_attempt(charter, run)
    if attempt <= last:
        raise SecaggReject(
            f"epoch {epoch}: attempt {last} of this run was already joined; use {last + 1}"
        )
    suite = member.terms.key_agreement
    mask, channel = suite.generate(member.random_bytes), suite.generate(member.random_bytes)
    nonce = member.random_bytes(graph.RING_NONCE_BYTES) if member.terms.draws_ring else b""
    expires_s = int(member.now_s()) + member.terms.epoch_lifetime_s
    _check_draws(member, attempt)
    fields: dict[str, Any] = {
        "epoch": epoch,
        "suite": member.terms.suite,
        "mask_key": mask.public.hex(),
        "channel_key": channel.public.hex(),
        "expires_s": expires_s,
    }
    if nonce:
        fields["ring_commitment"] = graph.nonce_commitment(nonce, epoch=epoch, site=member.name)
    announcement = member.message(Kind.EPOCH, **fields)
    state = EpochState(
        epoch=epoch,
        run=run,
        attempt=attempt,
        announcement=announcement,
        private_keys=(mask.private, channel.private),
        roots={},
        expires_s=expires_s,
        ring_nonce=nonce,
    )
    step.save_epoch(charter, state)
    return announcement


def _is_young(epoch: EpochState, member: Party) -> bool:
    return epoch.expires_s - member.now_s() >= member.terms.epoch_lifetime_s / 2


def join(member: Party, step: StoreTransaction, roster: Frame) -> bytes:
    """Verify every bundle, agree on roots with every peer, and return the EPOCH_ACK.

    Every earlier attempt of the run is wiped here, and the private keys unless JOINED must come.

    Raises:
        SecaggReject: the epoch was not announced, is stale, or holds a key that was revoked or
            has expired.
        SecaggAbort: the roster is a lie.
    """
    charter = member.terms.charter_hash
    epoch = step.epoch(charter, roster.header["epoch"])
    if epoch is None:
        raise SecaggReject(f"ROSTER: epoch {roster.header['epoch']} was not announced here")
    if epoch.private_keys is None or epoch.epoch_hash:
        if epoch.epoch_hash != roster.root.hex():
            raise SecaggAbort(f"two different ROSTERs for epoch {epoch.epoch}")
        return epoch.acknowledgement
    if epoch.attempt <= step.last_attempt(charter, epoch.run):
        raise SecaggReject(f"ROSTER: a later attempt than {epoch.epoch} was joined")
    bundles = joining.read_bundles(roster, terms=member.terms)
    own = bundles.get(member.name)
    if own is None or own.raw != epoch.announcement:
        raise SecaggAbort(f"ROSTER does not hold the bundle that {member.name} announced")
    expires_s = _first_expiry(member, step, bundles)
    agreement = joining.agree(
        bundles,
        site=member.name,
        private_keys=epoch.private_keys,
        epoch_hash=roster.root,
        suite=member.terms.key_agreement,
    )
    fields: dict[str, Any] = {"epoch": epoch.epoch, "epoch_hash": roster.root.hex()}
    if epoch.ring_nonce:
        fields["ring_nonce"] = epoch.ring_nonce.hex()
    acknowledgement = member.message(Kind.EPOCH_ACK, agreement.ciphertexts, **fields)
    waits = member.terms.relays_acknowledgements
    joined = replace(
        epoch,
        private_keys=epoch.private_keys if waits else None,
        epoch_hash=roster.root.hex(),
        acknowledgement=acknowledgement,
        roots=agreement.roots,
        expires_s=expires_s,
        awaiting=agreement.awaiting if waits else None,
        ring_commitments=joining.ring_commitments(bundles, terms=member.terms),
    )
    step.use_attempt(charter, epoch.run, epoch.attempt)
    step.save_epoch(charter, joined)
    return acknowledgement


def complete(member: Party, step: StoreTransaction, message: Frame) -> None:
    """Agree with the peers whose ciphertexts JOINED brings, and wipe the private keys.

    Raises:
        SecaggReject: for another site, or for an epoch that awaits no JOINED.
        SecaggAbort: the message is a lie.
    """
    header, charter = message.header, member.terms.charter_hash
    if header["recipient"] != member.name:
        raise SecaggReject(f"JOINED is for {header['recipient']}, this is {member.name}")
    epoch = step.epoch(charter, header["epoch"])
    if epoch is None or not epoch.acknowledgement:
        raise SecaggReject(f"JOINED: epoch {header['epoch']} was not joined here")
    digest = canonical.sha256_hex(message.raw)
    if epoch.joined_hash == digest:
        return
    if epoch.joined_hash:
        raise SecaggAbort(f"two different JOINED messages for epoch {epoch.epoch}")
    if epoch.awaiting is None or epoch.private_keys is None:
        raise SecaggReject(f"JOINED: epoch {epoch.epoch} of this suite awaits none")
    if epoch.epoch_hash != header["epoch_hash"]:
        raise SecaggAbort("JOINED: other sites were shown another ROSTER of this epoch")
    joined = set(header["joined"])
    joining.check_joined(
        joined,
        site=member.name,
        members={member.name, *epoch.roots, *epoch.awaiting},
        terms=member.terms,
    )
    roots = {peer: roots for peer, roots in epoch.roots.items() if peer in joined}
    nonces, ciphertexts = _split(member, epoch, message)
    roots |= _respond(member, epoch, epoch.private_keys, ciphertexts)
    completed = replace(
        epoch,
        private_keys=None,
        roots=roots,
        awaiting=None,
        joined_hash=digest,
        ring=joining.ring_order(nonces, epoch.ring_commitments, joined=message),
        ring_commitments={},
    )
    step.save_epoch(charter, completed)


def _first_expiry(member: Party, step: StoreTransaction, bundles: Mapping[str, Frame]) -> int:
    # Not the coordinator's lie: it may not know of a revocation, and clocks differ.
    revoked = [site for site in bundles if step.trust.is_revoked(member.terms.roster[site])]
    if revoked:
        raise SecaggReject(
            f"ROSTER holds keys signed by a revoked identity ({', '.join(revoked)}); nothing was "
            "agreed. Start the next attempt without it, or a charter version with its new key"
        )
    ends = {site: int(bundle.header["expires_s"]) for site, bundle in bundles.items()}
    expired = [site for site, end in ends.items() if end <= member.now_s()]
    if expired:
        raise SecaggReject(
            f"ROSTER holds expired keys ({', '.join(expired)}); check the clocks, then start the "
            "next attempt"
        )
    return min(ends.values())


def _split(
    member: Party, epoch: EpochState, message: Frame
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return site -> its ring nonce, and awaited peer -> its ciphertexts, from JOINED's body."""
    joined: list[str] = message.header["joined"]
    awaited = [peer for peer in joined if peer in (epoch.awaiting or {})]
    drawn = joined if member.terms.draws_ring else []
    cut = graph.RING_NONCE_BYTES * len(drawn)
    size = 2 * member.terms.key_agreement.ciphertext_bytes
    nonces = framing.records(
        message.body[:cut], record_bytes=graph.RING_NONCE_BYTES, count=len(drawn)
    )
    found = framing.records(message.body[cut:], record_bytes=size, count=len(awaited))
    return dict(zip(drawn, nonces, strict=True)), dict(zip(awaited, found, strict=True))


def _respond(
    member: Party,
    epoch: EpochState,
    private_keys: tuple[bytes, bytes],
    ciphertexts: Mapping[str, bytes],
) -> dict[str, PairRoots]:
    awaiting = epoch.awaiting or {}
    return {
        peer: joining.agree_with_initiator(
            ciphertext,
            site=member.name,
            peer=peer,
            keys=awaiting[peer],
            private_keys=private_keys,
            epoch_hash=bytes.fromhex(epoch.epoch_hash),
            suite=member.terms.key_agreement,
        )
        for peer, ciphertext in ciphertexts.items()
    }


def _check_draws(member: Party, attempt: int) -> None:
    if member.terms.draws_ring and attempt >= MAX_RING_DRAWS:
        raise SecaggReject(
            f"attempt {attempt}: a run draws at most {MAX_RING_DRAWS} ring orders, since a server "
            "that may draw often enough could wait for one that it likes. Start a new run"
        )
