"""Task "preference": a model learns to prefer the answers that people chose (DPO).

Direct preference optimisation, Rafailov et al. 2023 (arXiv 2305.18290), equation 7. The reference
is the adapter that training starts from: none, or a released one. One pair is one record: what its
two answers give is one loss and one gradient, which is clipped as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from fedethics.learning_tasks.task import (
    Architecture,
    Bounded,
    Labels,
    Rate,
    Unlabelled,
    Words,
    answering_usage,
    rendering_problems,
)

if TYPE_CHECKING:
    from fedethics.fairness.measured import Measured


class PreferenceTask(Unlabelled):
    """A prompt with two answers in; the one that somebody chose becomes the likelier one."""

    name: ClassVar[str] = "preference"
    architecture: ClassVar[Architecture] = "causal-lm"
    forms: ClassVar[tuple[str, ...]] = ("preference",)
    keys: ClassVar[frozenset[str]] = frozenset({"chat_template", "beta"})
    rates: ClassVar[Mapping[str, Rate]] = {
        "preference_accuracy": Rate(
            meaning="share of pairs whose chosen answer gained more than the rejected one"
        ),
        "mean_preference_probability": Rate(
            meaning="mean probability that the chosen answer is preferred (DPO's sigmoid)",
            binned=True,
        ),
    }

    values: ClassVar[Mapping[str, Bounded]] = {
        "preference_margin": Bounded(
            meaning="reward of the chosen answer less that of the rejected one (beta times nats)",
            low=-1.0,
            high=1.0,
            unit="nats",
            cut=True,
        ),
    }

    def problems(self, words: Words) -> list[str]:
        """Require beta, and both plain templates or none."""
        missing = ["beta: task preference needs it; 0.1 is usual"] if words.beta is None else []
        return [*missing, *rendering_problems(self.name, words)]

    def measured(self, _labels: Labels) -> Measured:
        """Return the table of preferred or not, and the histogram of the sigmoid."""
        from fedethics.learning_tasks.preference.measured import PAIRS  # here: it needs scipy

        return PAIRS

    def reader(
        self,
        network: Any,  # noqa: ANN401
        tokenizer: Any,  # noqa: ANN401
        words: Words,
        _labels: Labels,
    ) -> Any:  # noqa: ANN401
        """Return what compares the two answers of each record."""
        module = import_module("fedethics.learning_tasks.preference.reader")
        return module.PairReader(network, tokenizer, words)

    def usage(self, words: Words, _labels: Labels) -> str:
        """Return the lines that print the model's answer."""
        return answering_usage(words)
