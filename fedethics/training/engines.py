"""Which of the two engines computes gradients: as the site's policy says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from fedethics.training.activations import Activations
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


def engine_for(learner: Learner, activations: Activations, *, batch: int) -> Engine:
    """Return the engine that the site chose; for "auto", the faster one on batches like this.

    Args:
        learner: whose compute settings are read.
        activations: what is trained on.
        batch: records computed at once.
    """
    if learner.compute.gradients != "auto":
        return learner.compute.gradients
    tokens = sum(map(len, activations.hidden)) / max(1, len(activations))
    return "tapped" if tokens * batch < _SHORT_TOKENS else "opacus"


def gradients_of(learner: Learner, activations: Activations, *, batch: int) -> PerSampleGradients:
    """Return the chosen engine on the learner's model, to be used as a context; hold its lock."""
    return ENGINES[engine_for(learner, activations, batch=batch)](learner)
