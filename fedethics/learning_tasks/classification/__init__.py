"""Task "classification": a two-way head on the model's reading of a text."""

from __future__ import annotations

from importlib import import_module
from typing import Any, ClassVar

from fedethics.learning_tasks.task import Architecture, Labels, TwoLabels, Words


class Classification(TwoLabels):
    """A text in, a label out; the loss is the cross-entropy."""

    name: ClassVar[str] = "classification"
    architecture: ClassVar[Architecture] = "sequence-classification"

    def problems(self, words: Words) -> list[str]:
        """Refuse words around the text: nobody would read them."""
        return [
            f"{name}: task classification has none"
            for name, text in (("prompt", words.prompt), ("answer", words.answer))
            if text
        ]

    def reader(
        self,
        network: Any,  # noqa: ANN401
        tokenizer: Any,  # noqa: ANN401
        words: Words,
        _labels: Labels,
    ) -> Any:  # noqa: ANN401
        """Return what reads a text with the head."""
        module = import_module("fedethics.learning_tasks.classification.reader")
        return module.ClassReader(network, tokenizer, max_tokens=words.max_tokens)
