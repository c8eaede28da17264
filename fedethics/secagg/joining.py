"""Joining an epoch: from the relayed key bundles to pairwise roots, if every bundle is genuine."""

from __future__ import annotations

from collections.abc import Mapping

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import derivation, framing
from fedethics.secagg.framing import Frame, Kind
from fedethics.secagg.messages import receive
from fedethics.secagg.sharing import PairRoots
from fedethics.secagg.terms import SecaggTerms


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
    keys = [
        bundle.header[use] for bundle in bundles.values() for use in ("mask_key", "channel_key")
    ]
    if len(set(keys)) != len(keys):
        raise SecaggAbort(f"ROSTER of {epoch}: a key occurs twice")
    if len(bundles) < terms.minimum_cohort:
        raise SecaggAbort(
            f"ROSTER of {epoch} has {len(bundles)} sites, minimum {terms.minimum_cohort}"
        )


def agree_roots(
    bundles: Mapping[str, Frame], *, site: str, private_keys: tuple[bytes, bytes], epoch_hash: bytes
) -> dict[str, PairRoots]:
    """Agree with every other site on the roots of the epoch.

    Raises:
        SecaggAbort: a peer's key is of low order, so the agreed secret would be known to all.
    """
    mask_private, channel_private = private_keys
    roots: dict[str, PairRoots] = {}
    for peer, bundle in bundles.items():
        if peer == site:
            continue
        try:
            mask, channel = (
                derivation.pair_root(
                    private,
                    bundle.header[f"{use}_key"],
                    epoch_hash=epoch_hash,
                    use=use,
                    pair={site, peer},
                )
                for private, use in ((mask_private, "mask"), (channel_private, "channel"))
            )
        except ValueError as error:
            raise SecaggAbort(f"ROSTER: {peer} announced a key of low order") from error
        roots[peer] = PairRoots(mask=mask, channel=channel)
    return roots
