"""How a language model chooses among the options that each record brings, by their own words.

An entry holds one sequence for each class: the prompt with that class's option, or nothing where
the record has no such option. Each is a view of its own, so that no option sees another one unless
the prompt tells it. An option's score is the mean log-probability of its tokens, the end mark
included: a sum would choose the shortest. The shares are the softmax of the scores, and the loss of
a record is the cross-entropy of the shares, or the mean over the right option's tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from fedethics import canonical
from fedethics.data.content import Completion, Content, Question
from fedethics.errors import DataError
from fedethics.learning_tasks.free_text.reader import FreeTextReader
from fedethics.learning_tasks.task import Words
from fedethics.training.activations import NEXT_VIEW, NOTHING, Batch, split_views
from fedethics.training.network import Network
from fedethics.training.reader import Entry


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """The charter's words, as those of a prompt with a completion."""

    prompt: str
    answer: str
    max_tokens: int
    loss: str | None = None
    chat_template: str | None = None
    truncation: str | None = None
    beta: float | None = None


class OptionsReader:
    """Compares the options of each record, one a class."""

    def __init__(
        self,
        network: Network,
        tokenizer: Any,  # noqa: ANN401
        words: Words,
        *,
        classes: int,
    ) -> None:
        """Prepare the charter's way of asking.

        Args:
            network: whose next-token logits are read.
            tokenizer: of the same model.
            words: the charter's model, with prompt and answer.
            classes: how many options a record can have.
        """
        asked = _Asked(
            prompt=words.prompt.replace("{text}", "{prompt}"),
            answer=words.answer.replace("{label}", "{completion}"),
            max_tokens=words.max_tokens,
        )
        self._answers = FreeTextReader(network, tokenizer, asked, chats=False)
        self.tokenizer = tokenizer
        # Another digest than that of the classes' names as answers, whose tokens are other ones.
        self.rendering = canonical.sha256_hex(b"options")
        self._over_options = words.loss == "answers"
        self._classes, self._most = classes, words.max_tokens

    def ids(self, texts: Sequence[Content]) -> list[list[int]]:
        """Return token ids of each entry; an empty text stands for a record that does not fit."""
        return [
            self._joined([]).ids if text == "" else self.entries([text])[0].ids for text in texts
        ]

    def entries(self, texts: Sequence[Content], *, derived: bool = False) -> list[Entry]:
        """Return the prompt with each option, and the option's tokens as what is predicted.

        A prompt that does not fit is cut at its end, by the same for all options.

        Args:
            texts: questions with as many options as there are classes.
            derived: whether they were made from records: then one that cannot be put into tokens
                has nothing to predict, and all its shares are equal.

        Raises:
            DataError: a record has no options, or not even they fit into `max-tokens`.
        """
        found: list[Entry] = []
        faults = 0
        for text in texts:
            fitting = self._fitting(text, derived=derived)
            faults += not (fitting or derived)
            found.append(self._joined(fitting))
        if faults:
            raise DataError(
                f"{faults} of {len(texts)} records do not fit into model.max-tokens {self._most} "
                "even with an empty text, or have no options; nothing was trained or measured"
            )
        return found

    def views(self, entry: Tensor) -> tuple[Tensor, ...]:
        """Return the entry: its options are views by what is predicted, not by its length."""
        return (entry,)

    def join(self, views: Sequence[Tensor]) -> Tensor:
        """Return the entry of a record from its views."""
        return views[0]

    @property
    def longest(self) -> int:
        """Tokens of the longest entry: all options, each with the whole prompt."""
        return self._classes * self._most

    def outputs(self, batch: Batch) -> Tensor:
        """Return each option's mean log-probability a token, shape (b, K).

        Minus infinity where the record has no such option; 0 for all where it has none at all.
        """
        found = []
        for own in self._by_option(batch):
            counts = torch.zeros(len(batch.hidden), dtype=torch.int64)
            for row, wanted in enumerate(own.wanted):
                counts[row] = (wanted >= 0).sum()
            summed = self._answers.log_probability(own)
            counts = counts.to(summed.device)
            mean = summed / counts.clamp(min=1)
            found.append(torch.where(counts > 0, mean, -torch.inf))
        means = torch.stack(found, dim=1)
        none = torch.isinf(means).all(dim=1, keepdim=True)
        return torch.where(none, 0.0, means)

    def scores(self, outputs: Tensor) -> Tensor:
        """Return each option's share, float64, shape (b, K); 0 of one that is missing."""
        return outputs.double().softmax(dim=1)

    def losses(self, batch: Batch, targets: Tensor) -> Tensor:
        """Return the loss of each record, shape (b,)."""
        outputs = self.outputs(batch)
        if self._over_options:
            return cross_entropy(outputs, targets, reduction="none")
        chosen = outputs.gather(1, targets[:, None])[:, 0]
        # Danger: of a made-up batch row, or of a right option that is missing, nothing is learnt.
        return torch.where(torch.isinf(chosen), 0.0, -chosen)

    def _by_option(self, batch: Batch) -> list[Batch]:
        """Return the batch once for each option, with that option's sequences."""
        split = [
            (split_views(hidden, wanted), split_views(wanted, wanted))
            for hidden, wanted in zip(batch.hidden, batch.wanted, strict=True)
        ]
        return [
            dataclasses.replace(
                batch,
                hidden=tuple(hidden[option] for hidden, _ in split),
                wanted=tuple(wanted[option].clamp(min=NOTHING) for _, wanted in split),
            )
            for option in range(self._classes)
        ]

    def _fitting(self, text: Content, *, derived: bool) -> list[Entry]:
        """Return an entry for each option, with as much of the prompt's start as fits; or none."""
        if not isinstance(text, Question) or len(text.options) != self._classes:
            return []
        if whole := self._read(text, len(text.prompt), derived=derived):
            return whole
        best: list[Entry] = []
        fewest, most = 0, len(text.prompt) - 1
        while fewest <= most:
            kept = (fewest + most) // 2
            if read := self._read(text, kept, derived=derived):
                best, fewest = read, kept + 1
            else:
                most = kept - 1
        return best

    def _read(self, text: Question, kept: int, *, derived: bool) -> list[Entry]:
        """Return an entry for each option with so much of the prompt; none where one is too long.

        A missing option's entry has nothing to predict.
        """
        prompt = text.prompt[:kept]
        given = [Completion(prompt, option) for option in text.options if option]
        read = self._answers.entries(given, derived=derived)
        if not given or not all(any(token >= 0 for token in one.wanted) for one in read):
            return []
        entries = iter(read)
        return [next(entries) if option else self._nothing() for option in text.options]

    def _joined(self, views: Sequence[Entry]) -> Entry:
        """Return one entry of all views; each but the last ends with a token that none sees."""
        first, *others = views or [self._nothing()] * self._classes
        ids, wanted = list(first.ids), list(first.wanted)
        for view in others:
            ids += [self.tokenizer.pad_token_id, *view.ids]
            wanted += [NEXT_VIEW, *view.wanted]
        return Entry(ids, wanted)

    def _nothing(self) -> Entry:
        return Entry([self.tokenizer.pad_token_id], [NOTHING])
