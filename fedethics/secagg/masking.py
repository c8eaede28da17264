"""A site's vector as words of the ring, its mask, and the way back to signed integers.

Y_i = x_i + PRG(b_i) + sum_{j > i} PRG(s_ij) - sum_{j < i} PRG(s_ij)  (mod 2**w), j in U1.
Source: Bonawitz et al. (2017), equation of section 4.0.2, with names ordered as strings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import SecaggReject
from fedethics.secagg import derivation
from fedethics.secagg.keystream import apply_masks
from fedethics.secagg.terms import TaskSpec


def to_words(vector: NDArray[np.int64], spec: TaskSpec) -> NDArray[np.unsignedinteger[Any]]:
    """Return `vector`, shape (length,), as words modulo 2**w.

    Raises:
        SecaggReject: not integers, another shape, or a coordinate beyond the bound. The value is
            not named: it is the site's own.
    """
    if not np.issubdtype(vector.dtype, np.signedinteger):
        raise SecaggReject(f"task {spec.name}: vector of {vector.dtype}, expected int64")
    if vector.shape != (spec.length,):
        raise SecaggReject(
            f"task {spec.name}: vector of shape {vector.shape}, expected ({spec.length},)"
        )
    if int(vector.max()) > spec.bound or int(vector.min()) < -spec.bound:
        raise SecaggReject(
            f"task {spec.name}: a coordinate exceeds the bound {spec.bound}; nothing was sent. "
            "Clip the vector, noise included, before sharing it"
        )
    return vector.astype(np.int64, copy=False).astype(spec.dtype)


def mask_in_place(
    words: NDArray[np.unsignedinteger[Any]],
    *,
    site: str,
    session: bytes,
    seed: bytes,
    pair_seeds: Mapping[str, bytes],
) -> None:
    """Add a site's own mask and those it shares with each peer in `pair_seeds`."""
    own = derivation.self_mask_key(seed, session=session, site=site)
    ahead, behind = _ordered(site, pair_seeds)
    apply_masks(words, add=[own, *ahead], subtract=behind)


def change_pairs(
    words: NDArray[np.unsignedinteger[Any]],
    *,
    site: str,
    add: Mapping[str, bytes],
    remove: Mapping[str, bytes],
) -> None:
    """Add the masks shared with the peers in `add`, and take out those of the peers in `remove`."""
    (ahead, behind), (gone_ahead, gone_behind) = _ordered(site, add), _ordered(site, remove)
    apply_masks(words, add=ahead + gone_behind, subtract=behind + gone_ahead)


def to_integers(body: bytes | memoryview, spec: TaskSpec) -> NDArray[np.int64]:
    """Return words as signed integers, shape (length,)."""
    signed = np.frombuffer(body, dtype=f"<i{spec.word_bits // 8}")
    return signed.astype(np.int64)


def exceeds(total: NDArray[np.int64], *, spec: TaskSpec, sites: int) -> bool:
    """Say whether a sum over `sites` sites holds what honest, bounded vectors cannot give."""
    most = sites * spec.bound
    return int(total.max()) > most or int(total.min()) < -most


def _ordered(site: str, pair_seeds: Mapping[str, bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return the seeds shared with sites after `site`, which it adds, and with those before."""
    ahead = [seed for peer, seed in pair_seeds.items() if peer > site]
    return ahead, [seed for peer, seed in pair_seeds.items() if peer < site]
