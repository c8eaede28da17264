"""Which of the two engines computes gradients: as the site's policy says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fedethics.data.records import Targets
from fedethics.training.activations import Activations, Batch
from fedethics.training.per_sample import OpacusGradients, PerSampleGradients, Sampled
from fedethics.training.tapped import TappedGradients

if TYPE_CHECKING:
    from fedethics.training.learner import Learner

Engine = Literal["opacus", "tapped"]
ENGINES: Mapping[Engine, Callable[[Learner], PerSampleGradients]] = {
    "opacus": OpacusGradients,
    "tapped": TappedGradients,
}
# Below this many tokens in a batch, hooks were measured to cost more than 1.05 plain steps.
_SHORT_TOKENS = 2048


def engine_for(learner: Learner) -> Engine:
    """Return the engine that the site chose; for "auto", the likely faster one.

    Guarantee: it follows from public numbers alone. Were it the lengths of the site's texts, one
    record could change the last bits of all others' gradients.
    """
    if learner.compute.gradients != "auto":
        return learner.compute.gradients
    return "tapped" if learner.max_tokens * learner.rows < _SHORT_TOKENS else "opacus"


class ChosenGradients:
    """The chosen engine on a learner and on each of its copies, while the `with` block lasts.

    Attributes:
        engines: by the identity of the learner that each is on.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        engine = ENGINES[engine_for(learner)]
        self.engines = {id(one): engine(one) for one in learner.copies}

    @property
    def size(self) -> int:
        """Number of trainable parameters, p."""
        return self._learner.size

    def __enter__(self) -> ChosenGradients:
        with ExitStack() as stack:
            for engine in self.engines.values():
                stack.enter_context(engine)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def each(
        self, activations: Activations, rows: NDArray[np.intp], labels: Targets
    ) -> Iterator[tuple[Batch, Sampled]]:
        """Yield `rows` in batches, each with what its records give, on all copies."""
        batches = self._learner.batches(activations, rows)
        return self._learner.over(batches, lambda one, batch: self.engines[id(one)](batch, labels))

    def __call__(self, batch: Batch, labels: Targets) -> Sampled:
        """Return gradients, float32, shape (m, p), and losses, shape (m,), of one batch."""
        return self.engines[id(self._learner)](batch, labels)


def gradients_of(learner: Learner) -> ChosenGradients:
    """Return the chosen engine on the learner and its copies, as a context; hold its lock."""
    return ChosenGradients(learner)
