"""How a language model is asked, and trained on its answer's tokens.

The prompt is masked from the loss: only the answer's tokens are predicted, and logits are computed
only where they are. The loss of a record is the mean over its own answer's tokens. (The mean over
the tokens of a batch, which Hugging Face computes, makes each record's gradient depend on the
others' lengths, and clipping would not bound what one record changes.) Or it is the cross-entropy
of the answers' shares: then every answer is scored in training as it is in measuring.

A record's entry holds the prompt, then what each answer adds to the input: all of its tokens but
the last, which is only predicted. Under causal attention the prompt's states are the same for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from fedethics.errors import ModelError
from fedethics.learning_tasks.task import Words
from fedethics.training.activations import Batch
from fedethics.training.network import Network


class AnswerReader:
    """Asks for one of K answers; an answer's score is its share of the probability of all K."""

    def __init__(
        self,
        network: Network,
        tokenizer: Any,  # noqa: ANN401
        terms: Words,
        names: tuple[str, ...],
        *,
        two: bool,
    ) -> None:
        """Take the prompt and the answers apart into tokens.

        Args:
            network: whose next-token logits are read.
            tokenizer: of the same model.
            terms: the charter's model, with prompt and answer.
            names: of the classes; of a yes or no, the negative one first.
            two: whether the label is a yes or no: then the score of a record is the second
                answer's share alone.

        Raises:
            ModelError: one answer begins with another, or max-tokens leaves no room for texts.
        """
        self._network, self.tokenizer, self._two = network, tokenizer, two
        self._over_answers = terms.loss == "answers"
        head, _, tail = terms.prompt.partition("{text}")
        self._head, self._tail = self._tokens(head), self._tokens(tail)
        answers = [self._tokens(terms.answer.replace("{label}", name)) for name in names]
        _refuse_alike(answers, names)
        most = max(map(len, answers))
        self._answers = [torch.tensor(answer, device=network.device) for answer in answers]
        self._counts = torch.tensor([len(one) for one in answers], device=network.device)
        self._padded_answers = pad_sequence(self._answers, batch_first=True)
        # What each answer adds to the input, and those that add something.
        self._added = [len(one) - 1 for one in answers]
        self._longer = [k for k, added in enumerate(self._added) if added]
        if not self._head + self._tail:
            raise ModelError("model.prompt: holds nothing besides {text}, which may be empty")
        self._room = terms.max_tokens - len(self._head) - len(self._tail) - most + 1
        if self._room < 1:
            raise ModelError(
                f"model.max-tokens {terms.max_tokens} leaves no room for a text beside the prompt "
                f"and the answer; they take {terms.max_tokens - self._room}"
            )

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return token ids of each entry, longer texts cut at their end, prompts never.

        A control token that a text holds stays text: it can end no turn, and forge no answer.
        """
        return [
            self._head + ids[: self._room] + self._tail
            + [int(token) for answer in self._answers for token in answer[:-1]]
            for ids in map(self.tokenizer.plain, texts)
        ]  # fmt: skip

    def views(self, entry: Tensor) -> tuple[Tensor, ...]:
        """Return the sequences that are read of a record: the prompt with each longer answer.

        The prompt with the longest of them holds what is read for an answer of one token: it cannot
        see what follows.
        """
        if len(self._longer) < 2:
            return (entry,)
        return tuple(self._view(entry, answer) for answer in self._longer)

    @property
    def longest(self) -> int:
        """Tokens of the longest entry: prompt, text and what all answers add."""
        return len(self._head) + self._room + len(self._tail) + sum(self._added)

    def join(self, views: Sequence[Tensor]) -> Tensor:
        """Return the entry of a record from its views."""
        first, *others = views
        added = [self._added[answer] for answer in self._longer[1:]]
        if not others:
            return first
        return torch.cat(
            [first, *(view[len(view) - more :] for view, more in zip(others, added, strict=True))]
        )

    def outputs(self, batch: Batch) -> Tensor:
        """Return the log-probability of each answer, shape (b, K); softmax shares it out."""
        if not self._longer:
            # Nothing but the prompt is read, and all answers are scored at its last token.
            padded = self._network.pad(list(batch.hidden), length=batch.length)
            rows = torch.arange(len(batch.hidden), device=padded.lengths.device)
            every = self._network.token_logits(padded, rows, padded.lengths - 1)
            return every.log_softmax(dim=1)[:, torch.cat(self._answers)]
        each = [
            self._log_probabilities(batch, [answer] * len(batch.hidden))
            for answer in range(len(self._answers))
        ]
        return torch.stack(each, dim=1)

    def scores(self, outputs: Tensor) -> Tensor:
        """Return each answer's share, float64, shape (b, K); of two, the second's, shape (b,)."""
        shares = outputs.double().softmax(dim=1)
        return shares[:, 1] if self._two else shares

    def losses(self, batch: Batch, targets: Tensor) -> Tensor:
        """Return the loss of each record's own answer, shape (b,)."""
        if self._over_answers:
            return cross_entropy(self.outputs(batch), targets, reduction="none")
        chosen = [int(target) for target in targets]
        return -self._log_probabilities(batch, chosen) / self._counts[targets]

    def _log_probabilities(self, batch: Batch, chosen: Sequence[int]) -> Tensor:
        """Return the log-probability of the chosen answer of each record, shape (b,)."""
        pairs = zip(batch.hidden, chosen, strict=True)
        views = [self._view(entry, answer) for entry, answer in pairs]
        padded = self._network.pad(views, length=batch.length)
        own = torch.tensor(chosen, device=padded.lengths.device)
        counts, answers = self._counts[own], self._padded_answers[own]
        # As many places for each record as the longest answer has: a product of as many rows as
        # the mates' answers happen to have would change the last bits of all of them.
        within = torch.arange(answers.shape[1], device=own.device)
        real = within < counts[:, None]
        # The answer's first token is predicted by the prompt's last one, which stands here:
        places = (padded.lengths - counts)[:, None] + within
        places = torch.where(real, places, (padded.lengths - 1)[:, None])
        rows = torch.arange(len(own), device=own.device).repeat_interleave(len(within))
        every = self._network.token_logits(padded, rows, places.flatten()).log_softmax(dim=1)
        found = every.gather(1, answers.flatten()[:, None]).view(answers.shape)
        return torch.where(real, found, 0.0).sum(dim=1)

    def _view(self, entry: Tensor, answer: int) -> Tensor:
        prompt = len(entry) - sum(self._added)
        start = prompt + sum(self._added[:answer])
        return torch.cat([entry[:prompt], entry[start : start + self._added[answer]]])

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def _refuse_alike(answers: Sequence[list[int]], names: Sequence[str]) -> None:
    """Refuse answers of which one begins with another: their probabilities overlap."""
    ordered = sorted(range(len(answers)), key=lambda k: answers[k])
    for shorter, longer in pairwise(ordered):
        if answers[longer][: len(answers[shorter])] == answers[shorter]:
            first, second = (names[k] for k in sorted((shorter, longer)))
            raise ModelError(
                f"model.answer: the answers for {first!r} and {second!r} begin alike in this "
                "model's tokens; their probabilities could not be distinguished. End each with a "
                "different mark"
            )
