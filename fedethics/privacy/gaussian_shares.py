"""How much integer noise each party adds so that the sum is as private as one Gaussian mechanism.

Guarantee: let an integer vector X, whose value one unit moves by L2 distance at most D, be opened
with the sum of h independent discrete Gaussian draws of parameter `share_std(sigma D, shares=h)`
on every coordinate. Then what is seen is, within total variation 2^-100 a coordinate, a random
function of X + N(0, (sigma D)^2): it costs what the Gaussian mechanism of noise multiplier sigma
costs, with Poisson sampling and composition alike.

Why. (1) A sum of h discrete Gaussians of parameter s is that of parameter sqrt(h) s, up to a factor
1 +- 10 h exp(-pi^2 s^2). (2) Drawing an integer from the discrete Gaussian of variance v around a
real y, where y is X + N(0, w), gives X plus the discrete Gaussian of variance v + w, up to a factor
1 +- 4 exp(-2 pi^2 v): convolve the densities; the normaliser hardly depends on y. With
v = SMOOTHING = 4 that is 1 +- 2^-111. So the integer release is made from the Gaussian one by step
(2), which looks at no record.

Sources: Kairouz, Liu and Steinke 2021 (arXiv 2102.06387), theorem 13, for (1); Peikert 2010,
theorem 3.1, for (2).
"""

from __future__ import annotations

import math

from fedethics.errors import AccountingError

# Grid steps in one clipping norm, where gradients are integers. A step is far below the noise.
NORM_STEPS = 1 << 16
# Variance that step (2) uses up.
SMOOTHING = 4.0
# Below this, a share is too coarse for (1).
_SMALLEST_SHARE = 4.0


def share_std(std: float, *, shares: int) -> float:
    """Return the parameter of each party's discrete Gaussian, in grid steps.

    Args:
        std: standard deviation of the Gaussian mechanism to match, in grid steps.
        shares: parties whose noise together must carry the guarantee.

    Raises:
        AccountingError: fewer than one party, or shares below 4 grid steps, where sums of discrete
            Gaussians are no longer discrete Gaussian.
    """
    if shares < 1:
        raise AccountingError(f"noise cannot be shared among {shares} parties; nothing was drawn")
    share = math.sqrt((std * std + SMOOTHING) / shares)
    if not share >= _SMALLEST_SHARE:
        raise AccountingError(
            f"a noise share of {share:.3g} grid steps is too coarse for an exact sum; at least "
            f"{_SMALLEST_SHARE:g} are needed. Nothing was drawn"
        )
    return share
