"""Joining an epoch: from the relayed key bundles to pairwise roots, if every bundle is genuine."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import derivation, framing, graph
from fedethics.secagg.framing import Frame, Kind
from fedethics.secagg.messages import Party, receive
from fedethics.secagg.sharing import PairRoots
from fedethics.secagg.suites import Suite
from fedethics.secagg.terms import SecaggTerms

PublicKeys: TypeAlias = tuple[str, str]
_USES: Final = ("mask", "channel")
_PUBLIC: Final = ("mask_key", "channel_key")


def read_bundles(roster: Frame, *, terms: SecaggTerms) -> dict[str, Frame]:
    """Return site -> its EPOCH message, in the order of names.

    Raises:
        SecaggAbort: the coordinator relayed a bundle that its site did not sign for this epoch,
            two bundles of one site, a key that occurs twice, or too few sites.
    """
    bundles: dict[str, Frame] = {}
    try:
        for part in framing.unpack(roster.body):
            bundle = receive(part, kind=Kind.EPOCH, terms=terms)
            if bundle.header["sender"] in bundles:
                raise SecaggAbort(f"ROSTER lists {bundle.header['sender']} twice")
            bundles[bundle.header["sender"]] = bundle
    except SecaggReject as fault:
        raise SecaggAbort(f"ROSTER relays a bundle that is not genuine: {fault}") from fault
    check_bundles(bundles, epoch=roster.header["epoch"], terms=terms)
    return bundles


def check_bundles(bundles: Mapping[str, Frame], *, epoch: str, terms: SecaggTerms) -> None:
    """Check that genuine bundles make an epoch together.

    Raises:
        SecaggAbort: another epoch or suite, unsorted, a repeated key, or too few sites.
    """
    for site, bundle in bundles.items():
        if bundle.header["epoch"] != epoch or bundle.header["suite"] != terms.suite:
            raise SecaggAbort(f"the bundle of {site} is for another epoch or suite")
    if list(bundles) != sorted(bundles):
        raise SecaggAbort("ROSTER is not in the order of names")
    keys = [bundle.header[use] for bundle in bundles.values() for use in _PUBLIC]
    if len(set(keys)) != len(keys):
        raise SecaggAbort(f"ROSTER of {epoch}: a key occurs twice")
    if len(bundles) < terms.minimum_cohort:
        raise SecaggAbort(
            f"ROSTER of {epoch} has {len(bundles)} sites, minimum {terms.minimum_cohort}"
        )


def check_announcement(bundle: Frame, held: Mapping[str, Frame], *, member: Party) -> None:
    """Check one genuine bundle before it is relayed, so that no site takes it for a lie of others.

    Every other site would end its epoch over a key that nobody can agree with, or that will have
    expired before the round, and would hold the coordinator to account that relayed it.

    Args:
        bundle: a site's EPOCH message.
        held: the bundles of other sites.
        member: the coordinator, for its terms and its clock.

    Raises:
        SecaggReject: a key that is malformed, of low order or there already, or that ends too soon.
    """
    site, terms = bundle.header["sender"], member.terms
    suite = terms.key_agreement
    keys = [bundle.header[use] for use in _PUBLIC]
    taken = {each.header[use] for each in held.values() for use in _PUBLIC}
    if len({*keys}) < len(keys) or taken & {*keys}:
        raise SecaggReject(f"EPOCH of {site} holds a key that occurs twice")
    trial = suite.generate(os.urandom).private
    for key in keys:
        try:
            suite.initiate(trial, bytes.fromhex(key), bound_to=b"")
        except ValueError as fault:
            raise SecaggReject(f"EPOCH of {site} holds a key that cannot be used") from fault
    # An honest site gives its keys the whole lifetime, and others once half of it is over; what is
    # missing is how long the leg took and how far clocks differ.
    left_s = bundle.header["expires_s"] - member.now_s()
    if left_s < terms.epoch_lifetime_s / 10:
        raise SecaggReject(
            f"EPOCH of {site} holds keys that end in {left_s:.0f} s, though the charter gives them "
            f"{terms.epoch_lifetime_s} s; its clock is wrong"
        )


def check_joined(
    joined: Collection[str], *, site: str, members: Collection[str], terms: SecaggTerms
) -> None:
    """Check the list of sites that acknowledged a roster.

    Raises:
        SecaggAbort: a stranger in it, `site` not in it, or too few sites.
    """
    strangers = sorted(set(joined) - set(members))
    if strangers:
        raise SecaggAbort(f"JOINED lists sites that the ROSTER did not: {', '.join(strangers)}")
    if site not in joined:
        raise SecaggAbort(f"JOINED was sent to {site} and does not list it")
    if terms.draws_ring and len(joined) < len(members):
        raise SecaggAbort(
            "JOINED leaves out sites of the ROSTER; a coordinator that may choose whose nonces "
            "count could choose the ring"
        )
    if len(joined) < terms.minimum_cohort:
        raise SecaggAbort(f"JOINED has {len(joined)} sites, minimum {terms.minimum_cohort}")


def ring_commitments(bundles: Mapping[str, Frame], *, terms: SecaggTerms) -> dict[str, str]:
    """Return site -> its commitment to a ring nonce; empty if the epoch draws none."""
    if not terms.draws_ring:
        return {}
    return {site: bundle.header["ring_commitment"] for site, bundle in bundles.items()}


def ring_order(
    nonces: Mapping[str, bytes], commitments: Mapping[str, str], *, joined: Frame
) -> tuple[str, ...]:
    """Return the ring order that JOINED's nonces give; `joined` is that message.

    Raises:
        SecaggAbort: a nonce is not what its site committed to.
    """
    for site, nonce in nonces.items():
        committed = graph.nonce_commitment(nonce, epoch=joined.header["epoch"], site=site)
        if committed != commitments[site]:
            raise SecaggAbort(f"JOINED: the ring nonce of {site} is not what it committed to")
    return graph.drawn_order(nonces, epoch_hash=bytes.fromhex(joined.header["epoch_hash"]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """What a site agreed on from public keys alone.

    Attributes:
        roots: Sensitive: peer -> the roots of the epoch.
        ciphertexts: what the peers after this site need, in the order of names.
        awaiting: peer -> its public keys (mask, channel), for each peer before this site whose
            ciphertext must come first.
    """

    roots: Mapping[str, PairRoots]
    ciphertexts: bytes
    awaiting: Mapping[str, PublicKeys]


def agree(
    bundles: Mapping[str, Frame],
    *,
    site: str,
    private_keys: tuple[bytes, bytes],
    epoch_hash: bytes,
    suite: Suite,
) -> Agreement:
    """Agree with every other site on the roots of the epoch, as far as `suite` can by now.

    Raises:
        SecaggAbort: a peer's key is malformed or of low order: the secret would be known to all.
    """
    roots: dict[str, PairRoots] = {}
    awaiting: dict[str, PublicKeys] = {}
    ciphertexts: list[bytes] = []
    for peer, bundle in bundles.items():
        keys = (bundle.header["mask_key"], bundle.header["channel_key"])
        if peer == site:
            continue
        if peer < site and suite.ciphertext_bytes:
            awaiting[peer] = keys
            continue
        pair = _Pair(site=site, peer=peer, keys=keys, epoch_hash=epoch_hash, suite=suite)
        try:
            if peer < site:
                roots[peer] = pair.respond(private_keys, b"")
            else:
                roots[peer], ciphertext = pair.initiate(private_keys)
                ciphertexts.append(ciphertext)
        except ValueError as error:
            raise SecaggAbort(
                f"ROSTER: {peer} announced a key that is malformed or of low order"
            ) from error
    return Agreement(roots=roots, ciphertexts=b"".join(ciphertexts), awaiting=awaiting)


def agree_with_initiator(
    ciphertext: bytes,
    *,
    site: str,
    peer: str,
    keys: PublicKeys,
    private_keys: tuple[bytes, bytes],
    epoch_hash: bytes,
    suite: Suite,
) -> PairRoots:
    """Agree with a peer before `site` from the ciphertext that it sent.

    Raises:
        SecaggAbort: the ciphertext is not the peer's own, or its key is malformed.
    """
    pair = _Pair(site=site, peer=peer, keys=keys, epoch_hash=epoch_hash, suite=suite)
    try:
        return pair.respond(private_keys, ciphertext)
    except ValueError as error:
        raise SecaggAbort(
            f"JOINED: the ciphertext from {peer} to {site} is not {peer}'s own, or its key is "
            "malformed"
        ) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pair:
    site: str
    peer: str
    keys: PublicKeys
    epoch_hash: bytes
    suite: Suite

    def initiate(self, private_keys: tuple[bytes, bytes]) -> tuple[PairRoots, bytes]:
        agreed = {
            use: self.suite.initiate(private, bytes.fromhex(key), bound_to=self._bound_to(use))
            for use, private, key in zip(_USES, private_keys, self.keys, strict=True)
        }
        roots = {use: self._root(agreement.secret, use) for use, agreement in agreed.items()}
        return PairRoots(**roots), b"".join(agreed[use].ciphertext for use in _USES)

    def respond(self, private_keys: tuple[bytes, bytes], ciphertext: bytes) -> PairRoots:
        size = self.suite.ciphertext_bytes
        parts = (ciphertext[:size], ciphertext[size:])
        roots = {
            use: self._root(
                self.suite.respond(private, bytes.fromhex(key), part, bound_to=self._bound_to(use)),
                use,
            )
            for use, private, key, part in zip(_USES, private_keys, self.keys, parts, strict=True)
        }
        return PairRoots(**roots)

    def _bound_to(self, use: str) -> bytes:
        return self.epoch_hash + derivation.label(use, *sorted((self.site, self.peer)))

    def _root(self, secret: bytes, use: str) -> bytes:
        pair = {self.site, self.peer}
        return derivation.pair_root(secret, epoch_hash=self.epoch_hash, use=use, pair=pair)
