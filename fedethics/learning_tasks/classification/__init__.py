"""Task "classification": a head over classes on the model's reading of a text."""

from __future__ import annotations

from importlib import import_module
from typing import Any, ClassVar

from fedethics.learning_tasks.task import Architecture, Labelled, Labels, Words


class Classification(Labelled):
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

    def label_problems(self, labels: Labels) -> list[str]:
        """Refuse answers in words: a head over classes gives none."""
        if labels.answer_with is None:
            return []
        return ['answer-with: task classification has a head over classes; use task "choice"']

    def reader(
        self,
        network: Any,  # noqa: ANN401
        tokenizer: Any,  # noqa: ANN401
        words: Words,
        labels: Labels,
    ) -> Any:  # noqa: ANN401
        """Return what reads a text with the head."""
        module = import_module("fedethics.learning_tasks.classification.reader")
        kind = module.ClassReader if labels.classes is None else module.ManyClassReader
        return kind(network, tokenizer, max_tokens=words.max_tokens)

    def usage(self, words: Words, _labels: Labels) -> str:
        """Return the lines that print each class's probability."""
        return (
            "inputs = tokenizer(\n"
            f'    example, truncation=True, max_length={words.max_tokens}, return_tensors="pt"\n'
            ")\n"
            "with torch.no_grad():\n"
            "    shares = model(**inputs).logits.double().softmax(dim=1)[0]\n"
            "for number, share in enumerate(shares.tolist()):\n"
            "    print(model.config.id2label[number], share)\n"
        )
