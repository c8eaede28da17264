"""A site's steps of an epoch: announce keys, join the roster."""

from __future__ import annotations

from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import joining
from fedethics.secagg.derivation import KEY_BYTES
from fedethics.secagg.framing import Frame, Kind
from fedethics.secagg.member import Member
from fedethics.secagg.messages import parse_epoch
from fedethics.secagg.site_state import EpochState
from fedethics.secagg.store_transaction import StoreTransaction


def announce(member: Member, step: StoreTransaction, epoch: str) -> bytes:
    """Return the EPOCH message of an epoch, the same one each time.

    Raises:
        SecaggReject: malformed id, or not a later attempt than the last one joined.
    """
    run, attempt = parse_epoch(epoch)
    charter = member.terms.charter_hash
    known = step.epoch(charter, epoch)
    if known is not None:
        return known.announcement
    last = step.last_attempt(charter, run)
    if attempt <= last:
        raise SecaggReject(
            f"epoch {epoch}: attempt {last} of this run was already joined; use {last + 1}"
        )
    keys = (member.random_bytes(KEY_BYTES), member.random_bytes(KEY_BYTES))
    announcement = member.message(
        Kind.EPOCH,
        epoch=epoch,
        suite=member.terms.suite,
        mask_key=_public(keys[0]),
        channel_key=_public(keys[1]),
    )
    state = EpochState(
        epoch=epoch,
        run=run,
        attempt=attempt,
        announcement=announcement,
        private_keys=keys,
        roots={},
    )
    step.save_epoch(charter, state)
    return announcement


def join(member: Member, step: StoreTransaction, roster: Frame) -> bytes:
    """Verify every bundle, agree on roots with every peer, and return the EPOCH_ACK.

    The X25519 private keys are wiped here, and so is every earlier attempt of the run.

    Raises:
        SecaggReject: the epoch was not announced or is stale.
        SecaggAbort: the roster is a lie.
    """
    charter = member.terms.charter_hash
    epoch = step.epoch(charter, roster.header["epoch"])
    if epoch is None:
        raise SecaggReject(f"ROSTER: epoch {roster.header['epoch']} was not announced here")
    if epoch.private_keys is None:
        if epoch.epoch_hash != roster.root.hex():
            raise SecaggAbort(f"two different ROSTERs for epoch {epoch.epoch}")
        return epoch.acknowledgement
    if epoch.attempt <= step.last_attempt(charter, epoch.run):
        raise SecaggReject(f"ROSTER: a later attempt than {epoch.epoch} was joined")
    bundles = joining.read_bundles(roster, terms=member.terms)
    own = bundles.get(member.name)
    if own is None or own.raw != epoch.announcement:
        raise SecaggAbort(f"ROSTER does not hold the bundle that {member.name} announced")
    roots = joining.agree_roots(
        bundles, site=member.name, private_keys=epoch.private_keys, epoch_hash=roster.root
    )
    acknowledgement = member.message(
        Kind.EPOCH_ACK, epoch=epoch.epoch, epoch_hash=roster.root.hex()
    )
    step.use_attempt(charter, epoch.run, epoch.attempt)
    joined = replace(
        epoch,
        private_keys=None,
        epoch_hash=roster.root.hex(),
        acknowledgement=acknowledgement,
        roots=roots,
    )
    step.save_epoch(charter, joined)
    return acknowledgement


def _public(private: bytes) -> str:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw().hex()
