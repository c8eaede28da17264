"""Gaussian noise for gradient sums, from the site's cryptographic stream.

torch's CPU generator keeps 32 bits of its seed: anyone who knows a release could try all 2^32
noises. So normal draws are made from AES output directly. They are floating-point numbers: this
does not defend against an attacker who reads the low bits of a single site's unmasked release
(Mironov 2012); here releases are rounded to a fixed grid and masked first.
Source: Box and Muller 1958.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedethics.privacy.noise import NoiseSource


def gaussian(noise: NoiseSource, *, size: int, std: float) -> NDArray[np.float64]:
    """Return `size` independent draws of N(0, std^2), float64; the tails end at 8.5 std."""
    half = (size + 1) // 2
    # 1 - u lies in (0, 1], so its logarithm is finite.
    radius = np.sqrt(-2.0 * np.log(1.0 - noise.uniform(half)))
    angle = 2.0 * np.pi * noise.uniform(half)
    draws = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    return std * draws[:size]
