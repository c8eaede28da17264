"""Each mode of gradient noise draws what its variance says, on the numbers that it says."""

import numpy as np
import pytest

from fedethics.privacy.noise import NoiseSource
from fedethics.training.gradient_noise import GRADIENT_NOISES


@pytest.mark.parametrize("name", GRADIENT_NOISES)
def test_a_draw_has_the_variance_of_its_mode(terms, name):
    asked = terms(noise=name, noise_multiplier=1.3, clipping_norm=0.4)
    mode = asked.mode
    draws = mode.draw(NoiseSource.fixed(b"mode"), size=200_000, terms=asked)
    assert (draws.dtype == np.int64) == mode.exact
    assert np.var(draws) == pytest.approx(mode.variance(asked), rel=0.02)
    # In units of gradient it is the promised noise, whichever numbers it is drawn on.
    assert np.std(draws) / mode.unit(asked) == pytest.approx(asked.noise_std, rel=0.01)


@pytest.mark.parametrize("name", GRADIENT_NOISES)
def test_no_noise_is_zeros_and_has_no_variance(terms, name):
    silent = terms(noise=name, noise_multiplier=0.0)
    draws = silent.mode.draw(NoiseSource.fixed(b"none"), size=10, terms=silent)
    assert not draws.any()
    assert silent.mode.variance(silent) == 0.0
