"""Opening the sum: from revealed shares to the masks that are still in it, and out of it.

Source: Bonawitz et al. (2017), round 4; the pairwise seeds of a dropped site come from its
recovery blob instead of its Diffie-Hellman key (docs/secagg.md, "The recovery blob").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import SecaggAbort
from fedethics.secagg import derivation, sharing
from fedethics.secagg.keystream import apply_masks
from fedethics.secagg.sharing import ReadShare
from fedethics.secagg.unmasking import recover


@dataclass(frozen=True, kw_only=True, slots=True)
class Reveal:
    """One site's answer: survivor -> share of its seed, dropped site -> share of its blob key."""

    seeds: Mapping[str, bytes]
    keys: Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """All that the coordinator holds of a session once shares were revealed."""

    session: bytes
    cohort: tuple[str, ...]
    threshold: int
    shared: tuple[str, ...]
    survivors: tuple[str, ...]
    shares: Mapping[str, ReadShare]
    reveals: Mapping[str, Reveal]


def open_sum(
    masked: NDArray[np.unsignedinteger[Any]], gathered: Gathered
) -> tuple[NDArray[np.unsignedinteger[Any]], tuple[str, ...]]:
    """Remove every mask from the sum of the survivors' masked vectors.

    Returns:
        The sum modulo 2**w, and the sites whose revealed shares contradict the secrets.

    Raises:
        SecaggAbort: a secret cannot be recovered, or a blob is not what was committed to; names
            the site whose secret it is.
    """
    suspects: set[str] = set()
    added: list[bytes] = []
    subtracted: list[bytes] = []
    for site in gathered.survivors:
        seed = _recover(gathered, site, "seed", suspects)
        subtracted.append(derivation.self_mask_key(seed, session=gathered.session, site=site))
    for site in gathered.shared:
        if site in gathered.survivors:
            continue
        key = _recover(gathered, site, "key", suspects)
        for peer, pair_seed in _pair_seeds(gathered, site, key):
            (subtracted if site > peer else added).append(pair_seed)
    total = masked.copy()
    apply_masks(total, add=added, subtract=subtracted)
    return total, tuple(sorted(suspects))


def _recover(gathered: Gathered, site: str, use: str, suspects: set[str]) -> bytes:
    share = gathered.shares[site]
    expected = share.seed_commitment if use == "seed" else share.key_commitment
    points = {name: x for x, name in enumerate(gathered.cohort, start=1)}

    def is_right(secret: bytes) -> bool:
        found = sharing.secret_commitment(secret, session=gathered.session, use=use, site=site)
        return found.hex() == expected

    found = recover(
        {
            points[holder]: (reveal.seeds if use == "seed" else reveal.keys)[site]
            for holder, reveal in gathered.reveals.items()
        },
        threshold=gathered.threshold,
        is_right=is_right,
    )
    if found is None:
        raise SecaggAbort(
            f"the {use} of {site} cannot be recovered from {len(gathered.reveals)} answers: it "
            "dealt wrong shares, or more answers are wrong than there are to spare. The sum stays "
            "closed; start the next round, and without that site if it happens again"
        )
    secret, wrong = found
    suspects.update(gathered.cohort[x - 1] for x in wrong)
    return secret


def _pair_seeds(gathered: Gathered, site: str, key: bytes) -> Iterator[tuple[str, bytes]]:
    share = gathered.shares[site]
    seeds = sharing.open_blob(
        share.blob, key, site=site, cohort=gathered.cohort, session=gathered.session
    )
    for peer in gathered.survivors:
        if seeds is None or share.pair_commitments[peer] != sharing.pair_commitment(
            seeds[peer], session=gathered.session, pair={site, peer}
        ):
            raise SecaggAbort(
                f"the recovery blob of {site}, which dropped, is not what it committed to; the "
                "sum stays closed. Start the next round without that site"
            )
        yield peer, seeds[peer]
