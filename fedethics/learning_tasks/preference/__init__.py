"""Task "preference": a model learns to prefer the answers that people chose (DPO).

Direct preference optimisation, Rafailov et al. 2023 (arXiv 2305.18290), equation 7. The reference
is the adapter that training starts from: none, or a released one. One pair is one record: what its
two answers give is one loss and one gradient, which is clipped as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from fedethics.learning_tasks.task import Architecture, Labels, LearningTask, Rate, Words

if TYPE_CHECKING:
    from fedethics.fairness.measured import Measured


class PreferenceTask(LearningTask):
    """A prompt with two answers in; the one that somebody chose becomes the likelier one."""

    name: ClassVar[str] = "preference"
    architecture: ClassVar[Architecture] = "causal-lm"
    forms: ClassVar[tuple[str, ...]] = ("preference",)
    labelled: ClassVar[bool] = False
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

    def problems(self, words: Words) -> list[str]:
        """Require beta, and refuse what would cut the two answers' prompts differently."""
        return list(_problems(words))

    def classes(self, _labels: Labels) -> tuple[str, ...]:
        """Return one name: all targets are 0."""
        return ("pairs",)

    def target(self, _cell: str, _labels: Labels) -> int | None:
        """Return None: no cell means a target."""
        return None

    def cells(self, _labels: Labels) -> tuple[str, ...]:
        """Return nothing."""
        return ()

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


def _problems(words: Words) -> Iterator[str]:
    if words.beta is None:
        yield "beta: task preference needs it; 0.1 is usual"
    plain = words.prompt or words.answer
    for name, text, mark in (
        ("prompt", words.prompt, "{prompt}"), ("answer", words.answer, "{completion}")
    ):  # fmt: skip
        if plain and text.count(mark) != 1:
            yield (
                f"{name}: task preference needs exactly one {mark} in it, or neither prompt nor "
                "answer where a chat template renders the record"
            )
    if plain and words.chat_template is not None:
        yield "chat-template: prompt and answer say already how a record is rendered"
