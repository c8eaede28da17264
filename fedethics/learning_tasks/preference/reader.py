"""How pairs are put into tokens, and DPO's loss of each.

An entry holds two sequences of one length, the prompt with the chosen answer and with the rejected
one; the shorter one is filled up at its end, where a causal model's tokens cannot see it. Both are
read by the same trained layers, so that a record's gradient is the sum over both before it is
clipped.

Source: arXiv 2305.18290, equation 7, with log-probabilities summed over the answer's tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from fedethics.data.content import Completion, Content, Preference
from fedethics.errors import DataError, ModelError
from fedethics.learning_tasks.free_text.reader import FreeTextReader
from fedethics.learning_tasks.task import Words
from fedethics.training.activations import NOTHING, Batch, Shape
from fedethics.training.network import Network
from fedethics.training.reader import Entry


class PairReader:
    """Compares the two answers of each record with what the start of training makes of them."""

    def __init__(self, network: Network, tokenizer: Any, words: Words) -> None:  # noqa: ANN401
        """Prepare the charter's way of rendering.

        Raises:
            ModelError: no beta, or no template.
        """
        if words.beta is None:
            raise ModelError("model.beta: task preference needs it")
        self._answers = FreeTextReader(network, tokenizer, words, chats=True)
        self.tokenizer, self.rendering = tokenizer, self._answers.rendering
        self._beta = words.beta

    def ids(self, texts: Sequence[Content]) -> list[list[int]]:
        """Return token ids of each entry; an empty text stands for a pair that does not fit.

        Not for a pair of empty answers: there are templates that refuse one.
        """
        entries = iter(self.entries([text for text in texts if text != ""]))
        return [self._nothing().ids if text == "" else next(entries).ids for text in texts]

    def entries(self, texts: Sequence[Content], *, derived: bool = False) -> list[Entry]:
        """Return both sequences of each pair, one after the other, and what is predicted.

        A pair of which one answer does not fit has nothing to predict.

        Args:
            texts: pairs.
            derived: whether they were made from records: then one that cannot be put into tokens
                has nothing to predict either.

        Raises:
            DataError: a record is no pair, or its answers' tokens are unknown.
        """
        pairs = [text for text in texts if isinstance(text, Preference)]
        if len(pairs) < len(texts):
            raise DataError(
                f"{len(texts) - len(pairs)} of {len(texts)} records are no pairs of answers; "
                "nothing was trained or measured"
            )
        chosen, rejected = (
            self._answers.entries(
                [Completion(one.prompt, answer(one)) for one in pairs], derived=derived
            )
            for answer in (attrgetter("chosen"), attrgetter("rejected"))
        )
        return [self._joined(first, second) for first, second in zip(chosen, rejected, strict=True)]

    def views(self, entry: Tensor) -> tuple[Tensor, ...]:
        """Return the sequences that are read of a record: with either answer."""
        half = (len(entry) + 1) // 2
        return entry[:half], entry[half:] if len(entry) > 1 else entry

    @property
    def longest(self) -> int:
        """Tokens of the longest entry: both sequences."""
        return 2 * self._answers.longest

    def join(self, views: Sequence[Tensor]) -> Tensor:
        """Return the entry of a record from its views."""
        return torch.cat(list(views))

    def reference(self, batch: Batch) -> Tensor:
        """Return the log-probability of the chosen and of the rejected answer, shape (b, 2)."""
        return torch.stack([self._answers.log_probability(one) for one in self._halves(batch)], 1)

    def outputs(self, batch: Batch) -> Tensor:
        """Return how much likelier than at the start each answer became, in nats, shape (b, 2)."""
        found = self.reference(batch)
        return found - batch.references(found.shape[1]).to(found.device)

    def scores(self, outputs: Tensor) -> Tensor:
        """Return the probability that the chosen answer is preferred, float64, shape (b,)."""
        return torch.sigmoid(self._margin(outputs.double()))

    def losses(self, batch: Batch, _targets: Tensor) -> Tensor:
        """Return DPO's loss of each pair, shape (b,)."""
        return -logsigmoid(self._margin(self.outputs(batch)))

    def _margin(self, gains: Tensor) -> Tensor:
        return self._beta * (gains[:, 0] - gains[:, 1])

    def _halves(self, batch: Batch) -> tuple[Batch, Batch]:
        """Return the batch's first and second sequences, each padded by the shape alone."""
        hidden = [self.views(entry) for entry in batch.hidden]
        wanted = [self.views(entry) for entry in batch.wanted]
        first, second = (
            dataclasses.replace(
                batch,
                hidden=tuple(views[half] for views in hidden),
                wanted=tuple(views[half] for views in wanted),
                shape=_half(batch.shape),
            )
            for half in (0, 1)
        )
        return first, second

    def _joined(self, first: Entry, second: Entry) -> Entry:
        if not (_predicts(first) and _predicts(second)):
            return self._nothing()
        length = max(len(first.ids), len(second.ids))
        pairs = [self._filled(one, length) for one in (first, second)]
        return Entry(
            [token for one in pairs for token in one.ids],
            [token for one in pairs for token in one.wanted],
        )

    def _nothing(self) -> Entry:
        pad = self.tokenizer.pad_token_id
        return Entry([pad, pad], [NOTHING, NOTHING])

    def _filled(self, entry: Entry, length: int) -> Entry:
        missing = length - len(entry.ids)
        return Entry(
            entry.ids + [self.tokenizer.pad_token_id] * missing,
            entry.wanted + [NOTHING] * missing,
        )


def _predicts(entry: Entry) -> bool:
    return any(token != NOTHING for token in entry.wanted)


def _half(shape: Shape | None) -> Shape | None:
    """Return the shape of one sequence of a pair; it follows from the pair's shape alone."""
    if shape is None or not shape.length:
        return shape
    # Where the pair is longer than the model's positions, one sequence may be as long as they.
    length = shape.length if shape.used < shape.rows else (shape.length + 1) // 2
    return dataclasses.replace(shape, length=length)
