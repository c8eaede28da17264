"""Tasks "choice" and "causal-lm": a language model is asked, and trained to give the right answer.

The answers are the charter's: `model.answer` with the name of each class. Options that each record
brings with it (multiple choice) are told in its text, and the answers are their names, such as "A".
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, ClassVar

from fedethics.learning_tasks.task import Architecture, Labelled, Labels, Words


class Choice(Labelled):
    """A prompt in, one of K answers out.

    The loss of a record is the mean over the right answer's tokens, or, with `model.loss` =
    "answers", the cross-entropy of the answers' shares.
    """

    name: ClassVar[str] = "choice"
    architecture: ClassVar[Architecture] = "causal-lm"
    losses: ClassVar[tuple[str, ...]] = ("answer", "answers")

    def problems(self, words: Words) -> list[str]:
        """Require a prompt with the text's place, and an answer with the label's."""
        return list(_problems(self.name, words))

    def reader(
        self,
        network: Any,  # noqa: ANN401
        tokenizer: Any,  # noqa: ANN401
        words: Words,
        labels: Labels,
    ) -> Any:  # noqa: ANN401
        """Return what asks the model and compares its answers."""
        module = import_module("fedethics.learning_tasks.choice.reader")
        names, two = self.classes(labels), labels.classes is None
        return module.AnswerReader(network, tokenizer, words, names, two=two)


class TwoAnswers(Choice):
    """Choice between two answers, by the name that it had before there were more."""

    name: ClassVar[str] = "causal-lm"
    losses: ClassVar[tuple[str, ...]] = ()

    def label_problems(self, labels: Labels) -> list[str]:
        """Refuse classes: that is task "choice"."""
        if labels.classes is None:
            return []
        return ['classes: task causal-lm has two answers, positive and negative; use task "choice"']


def _problems(task: str, words: Words) -> Iterator[str]:
    for name, text, mark in (
        ("prompt", words.prompt, "{text}"), ("answer", words.answer, "{label}")
    ):  # fmt: skip
        if text.count(mark) != 1:
            yield f"{name}: task {task} needs it, with exactly one {mark}"
    if words.prompt.strip() == "{text}":
        yield "prompt: holds nothing besides {text}, which may be empty"
