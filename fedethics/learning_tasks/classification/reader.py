"""How a text is read with a head over classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy

from fedethics.training.activations import Batch
from fedethics.training.network import Network


class ClassReader:
    """Reads a record as its text; the loss of a record is its cross-entropy."""

    def __init__(self, network: Network, tokenizer: Any, *, max_tokens: int) -> None:  # noqa: ANN401
        self._network, self.tokenizer, self._max_tokens = network, tokenizer, max_tokens

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return token ids of each text, longer texts cut at the end."""
        encoded: list[list[int]] = self.tokenizer(
            list(texts), truncation=True, max_length=self._max_tokens
        )["input_ids"]
        # No network reads nothing: an empty text is one padding token.
        return [ids or [self.tokenizer.pad_token_id] for ids in encoded]

    def views(self, entry: Tensor) -> tuple[Tensor, ...]:
        """Return the sequences that are read of a record: its text."""
        return (entry,)

    @property
    def longest(self) -> int:
        """Tokens of the longest entry."""
        return self._max_tokens

    def join(self, views: Sequence[Tensor]) -> Tensor:
        """Return the entry of a record from its views."""
        return views[0]

    def outputs(self, batch: Batch) -> Tensor:
        """Return the head's logits, shape (b, classes)."""
        return self._network.class_logits(
            self._network.pad(list(batch.hidden), length=batch.length)
        )

    def losses(self, batch: Batch, targets: Tensor) -> Tensor:
        """Return the loss of each record, shape (b,)."""
        return cross_entropy(self.outputs(batch), targets, reduction="none")

    def scores(self, outputs: Tensor) -> Tensor:
        """Return the second class's probability, float64, shape (b,)."""
        return outputs.double().softmax(dim=1)[:, 1]


class ManyClassReader(ClassReader):
    """The same for classes of which none is "positive"."""

    def scores(self, outputs: Tensor) -> Tensor:
        """Return each class's probability, float64, shape (b, classes)."""
        return outputs.double().softmax(dim=1)
