"""The noise of count tables by mechanism: what it costs, and how a site draws its share."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedethics.privacy import wide_gaussian
from fedethics.privacy.events import DiscreteGaussianRelease, Event, SkellamRelease
from fedethics.privacy.noise import NoiseSource

CountMechanism: TypeAlias = Literal["skellam", "discrete-gaussian"]


def release_event(
    mechanism: CountMechanism, *, std: float, shares: int, releases: int = 1, sensitivity: int = 1
) -> Event:
    """Return what `releases` tables cost whose noise of this std comes in `shares` honest shares.

    A unit has up to `sensitivity` rows in each table.

    Skellam shares add up to Skellam, so their number does not matter; discrete Gaussian shares do
    not, so it does.
    """
    if mechanism == "skellam":
        return SkellamRelease(std, releases, sensitivity)
    return DiscreteGaussianRelease(std, shares, releases, sensitivity)


def draw_share(
    mechanism: CountMechanism, noise: NoiseSource, *, variance: float, size: int
) -> NDArray[np.int64]:
    """Return one site's noise for `size` entries, mean 0.

    Raises:
        AccountingError: the variance is not above 0, or out of the mechanism's range.
    """
    if mechanism == "skellam":
        return noise.skellam(variance=variance, size=size)
    return wide_gaussian.sample(noise, size=size, sigma=math.sqrt(variance))
