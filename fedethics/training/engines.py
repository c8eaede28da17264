"""Which of the two engines computes gradients: as the site's policy says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from fedethics.training.learner import Learner
from fedethics.training.opacus_hooks import OpacusGradients
from fedethics.training.per_sample import PerSampleGradients
from fedethics.training.tapped import TappedGradients

Engine = Literal["opacus", "tapped"]
ENGINES: Mapping[Engine, Callable[[Learner], PerSampleGradients]] = {
    "opacus": OpacusGradients,
    "tapped": TappedGradients,
}
# Below this many tokens in a batch, hooks were measured to cost more than 1.05 plain steps.
_SHORT_TOKENS = 2048


def engine_for(learner: Learner, *, batch: int) -> Engine:
    """Return the engine that the site chose; for "auto", the likely faster one.

    Guarantee: it follows from public numbers alone. Were it the lengths of the site's texts, one
    record could change the last bits of all others' gradients.

    Args:
        learner: whose compute settings and longest text are read.
        batch: records computed at once.
    """
    if learner.compute.gradients != "auto":
        return learner.compute.gradients
    return "tapped" if learner.max_tokens * batch < _SHORT_TOKENS else "opacus"


def gradients_of(learner: Learner, *, batch: int) -> PerSampleGradients:
    """Return the chosen engine on the learner's model, to be used as a context; hold its lock."""
    return ENGINES[engine_for(learner, batch=batch)](learner)
