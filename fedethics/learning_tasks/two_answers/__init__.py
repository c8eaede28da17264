"""Task "causal-lm": a language model is asked, and trained to give one of two answers."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, ClassVar

from fedethics.learning_tasks.task import Architecture, Labelled, Labels, Words


class TwoAnswers(Labelled):
    """A prompt in, one of two answers out; the loss is over the answer's tokens."""

    name: ClassVar[str] = "causal-lm"
    architecture: ClassVar[Architecture] = "causal-lm"

    def problems(self, words: Words) -> list[str]:
        """Require a prompt with the text's place, and an answer with the label's."""
        return list(_problems(words))

    def label_problems(self, labels: Labels) -> list[str]:
        """Refuse more than two answers: that is task "choice"."""
        if labels.classes is None:
            return []
        return ["classes: task causal-lm has two answers, positive and negative"]

    def reader(
        self,
        network: Any,  # noqa: ANN401
        tokenizer: Any,  # noqa: ANN401
        words: Words,
        labels: Labels,
    ) -> Any:  # noqa: ANN401
        """Return what asks the model and compares its two answers."""
        module = import_module("fedethics.learning_tasks.two_answers.reader")
        return module.AnswerReader(network, tokenizer, words, self.classes(labels))


def _problems(words: Words) -> Iterator[str]:
    for name, text, mark in (
        ("prompt", words.prompt, "{text}"), ("answer", words.answer, "{label}")
    ):  # fmt: skip
        if text.count(mark) != 1:
            yield f"{name}: task causal-lm needs it, with exactly one {mark}"
    if words.prompt.strip() == "{text}":
        yield "prompt: holds nothing besides {text}, which may be empty"
