"""How records that say something are put into tokens, and the loss of those that are learnt.

Logits are computed only at the places whose next token is learnt, and at as many places of every
record in a batch, by the batch's shape: a product of as many rows as the mates' completions happen
to have would change the last bits of all of them. The loss of a record is the mean over its own
learnt tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from fedethics import canonical
from fedethics.data.content import Completion, Content, Conversation, Turn
from fedethics.errors import DataError, ModelError
from fedethics.learning_tasks.task import Words
from fedethics.training.activations import NEXT_VIEW, NOTHING, Batch
from fedethics.training.chat import (
    ChatSettings,
    ChatTemplate,
    Rendered,
    Tokenised,
    conversation,
    guard,
    tokenise,
)
from fedethics.training.network import Network
from fedethics.training.reader import Entry, Prompt
from fedethics.training.template_process import TemplateOverrun, paced

# Rendered once, so that a library which renders otherwise gives another basis.
_PROBE = (
    Turn("system", "s 1"), Turn("user", "u  2\n"), Turn("assistant", "a 3"), Turn("user", "u 4"),
    Turn("assistant", "a \u00e9 5"),
)  # fmt: skip


class FreeTextReader:
    """Learns the assistant's turns, the completion, or the whole text of a record."""

    def __init__(
        self,
        network: Network,
        tokenizer: Any,  # noqa: ANN401
        words: Words,
        *,
        chats: bool,
    ) -> None:
        """Prepare the charter's way of rendering.

        Args:
            network: whose next-token logits are read.
            tokenizer: of the same model.
            words: the charter's model.
            chats: whether records are conversations, or prompts with completions.

        Raises:
            ModelError: neither the tokenizer nor the charter has a template, it is none, or it
                runs over its limits.
        """
        self._network, self.tokenizer, self._words = network, tokenizer, words
        self._template: ChatTemplate | None = None
        self.rendering = canonical.sha256_hex(b"")
        if chats and not words.prompt:
            own: ChatSettings = tokenizer.chat
            settings = ChatSettings(words.chat_template or own.template, own.tokens)
            if not settings.template:
                raise ModelError(
                    "this model's tokenizer has no chat template; give one in the charter's "
                    "model.chat-template, or model.prompt and model.answer for records with a "
                    "prompt and a completion"
                )
            self._template = ChatTemplate(settings)
            self.rendering = _digest(self._template, settings)

    def ids(self, texts: Sequence[Content]) -> list[list[int]]:
        """Return token ids of each entry."""
        return [one.ids for one in self.entries(texts)]

    def entries(self, texts: Sequence[Content], *, derived: bool = False) -> list[Entry]:
        """Return each record's tokens but the last, and what each is to be followed by.

        A record that does not fit has one token and nothing to learn.

        Args:
            texts: one a record.
            derived: whether these are not the records themselves, but texts made from them, with
                words swapped for example. An error would say that some record holds such a word,
                so one that cannot be put into tokens counts as one that does not fit.

        Raises:
            DataError: what is learnt of a record is unknown; says of how many, and why.
            TemplateOverrun: a record, or all together, run over the template's limits; of derived
                texts, all together.
        """
        found: list[Entry] = []
        faults: list[str] = []
        with paced(len(texts)) as keep_time:
            for number, text in enumerate(texts, start=1):
                try:
                    found.append(self._entry(text))
                except DataError as fault:
                    if derived:
                        found.append(self._nothing())
                    elif isinstance(fault, TemplateOverrun):
                        raise
                    else:
                        faults.append(f"record {number} of {len(texts)} in this part: {fault}")
                keep_time()
        if faults:
            raise DataError(
                f"{len(faults)} of {len(texts)} records cannot be put into tokens; nothing was "
                f"trained or measured. The first: {faults[0]}"
            )
        return found

    def prompts(self, texts: Sequence[Content]) -> list[Prompt]:
        """Return each record up to its last answer, with the words that ask for it, and the answer.

        A prompt that leaves no token for an answer within `max-tokens` has no ids.

        Raises:
            DataError: a record has no prompt, or the template refuses it.
        """
        found = []
        with paced(len(texts)) as keep_time:
            for text in texts:
                found.append(self._prompt(text))
                keep_time()
        return found

    def _prompt(self, text: Content) -> Prompt:
        match text:
            case Completion(prompt, reference) if self._words.prompt:
                (asked,), hidden = guard([prompt], self.tokenizer)
                rendered = self._words.prompt.replace("{prompt}", asked)
            case Completion(prompt, reference):
                rendered, hidden = self._asked([Turn("user", prompt)])
            case Conversation(turns):
                place = max(at for at, turn in enumerate(turns) if turn.role == "assistant")
                rendered, hidden = self._asked(turns[:place])
                reference = turns[place].text
            case _:
                raise DataError("a record without a prompt cannot be answered")
        ids = tokenise(Rendered(rendered, ()), self.tokenizer, hidden).ids
        return Prompt(ids if len(ids) < self._words.max_tokens else [], reference)

    def _asked(self, turns: Sequence[Turn]) -> tuple[str, Any]:
        """Return a conversation with the words that ask the assistant for an answer."""
        guarded, hidden = self._guarded(turns)
        return self._chat_template().render(guarded, answering=True), hidden

    def views(self, entry: Tensor) -> tuple[Tensor, ...]:
        """Return the sequences that are read of a record: one."""
        return (entry,)

    @property
    def longest(self) -> int:
        """Tokens of the longest entry."""
        return self._words.max_tokens

    def join(self, views: Sequence[Tensor]) -> Tensor:
        """Return the entry of a record from its views."""
        return views[0]

    def outputs(self, batch: Batch) -> Tensor:
        """Return mean loss, share of right first guesses, and 1 where all are right, (b, 3).

        A record of which nothing can be read has an infinite loss and no right guess.
        """
        nats, hits, counts = self._read(batch)
        read = counts > 0
        return torch.stack(
            [
                torch.where(read, nats / counts.clamp(min=1), torch.inf),
                hits / counts.clamp(min=1),
                (read & (hits == counts)).float(),
            ],
            dim=1,
        )

    def scores(self, outputs: Tensor) -> Tensor:
        """Return token probability, token accuracy and exactness, float64, shape (b, 3)."""
        losses, accuracy, exact = outputs.double().unbind(dim=1)
        return torch.stack([(-losses).exp(), accuracy, exact], dim=1)

    def losses(self, batch: Batch, _targets: Tensor) -> Tensor:
        """Return the mean loss of each record's own learnt tokens, shape (b,); 0 without any."""
        nats, _, counts = self._read(batch)
        return nats / counts.clamp(min=1)

    def log_probability(self, batch: Batch) -> Tensor:
        """Return the summed log-probability of each record's learnt tokens, shape (b,)."""
        return -self._read(batch)[0]

    def _read(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return summed loss, right first guesses and number of each record's learnt tokens.

        Over all views of a record together: one mean, and so one gradient, of one record.
        """
        found = []
        for view in batch.views():
            logits, tokens, own, counts = self._predicted(view)
            nats = torch.where(own, -_log_probabilities(logits, tokens), 0.0).sum(dim=1)
            right = (logits.argmax(dim=1).view(tokens.shape) == tokens) & own
            found.append((nats, right.sum(dim=1), counts))
        if len(found) == 1:
            return found[0]
        nats, hits, counts = (torch.stack(each).sum(dim=0) for each in zip(*found, strict=True))
        return nats, hits, counts

    def _predicted(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        padded = self._network.pad(list(batch.hidden), length=batch.length)
        device = padded.lengths.device
        found = batch.predictions()
        places, tokens, own, counts = (
            each.to(device) for each in (found.places, found.tokens, found.own, found.counts)
        )
        rows = torch.arange(len(places), device=device).repeat_interleave(places.shape[1])
        logits = self._network.token_logits(padded, rows, places.flatten())
        return logits, tokens, own, counts

    def _entry(self, text: Content) -> Entry:
        entries = [entry for read in self._fitting(text) if (entry := _predicting(read)).ids]
        if not entries:
            return self._nothing()
        pad = self.tokenizer.pad_token_id
        ids, wanted = list(entries[0].ids), list(entries[0].wanted)
        for more in entries[1:]:
            # One token more ends a view, where a causal model's tokens before it cannot see it.
            ids += [pad, *more.ids]
            wanted += [NEXT_VIEW, *more.wanted]
        return Entry(ids, wanted)

    def _nothing(self) -> Entry:
        return Entry([self.tokenizer.pad_token_id], [NOTHING])

    def _fitting(self, text: Content) -> tuple[Tokenised, ...]:
        """Return the record's views, cut as the charter says; none where it does not fit."""
        read = self._tokens(text)
        if self._fits(read):
            return read
        match self._words.truncation:
            case "text-end":
                most = self._words.max_tokens
                return tuple(Tokenised(one.ids[:most], one.learnt[:most]) for one in read)
            case "oldest-turns" if isinstance(text, Conversation):
                return self._first_fitting(_without_oldest(text))
            case "prompt-start" if not isinstance(text, str):
                return self._longest_prompt(text)
        return ()

    def _first_fitting(self, shorter: Iterator[Content]) -> tuple[Tokenised, ...]:
        for text in shorter:
            read = self._tokens(text)
            if self._fits(read):
                return read
        return ()

    def _longest_prompt(self, text: Content) -> tuple[Tokenised, ...]:
        """Return the tokens with as much of the prompt's end as fits, at least a character."""
        best: tuple[Tokenised, ...] = ()
        fewest, most = 1, len(_prompt(text))
        while fewest <= most:
            kept = (fewest + most) // 2
            read = self._tokens(_with_end(text, kept))
            if self._fits(read):
                best, fewest = read, kept + 1
            else:
                most = kept - 1
        return best

    def _fits(self, read: Sequence[Tokenised]) -> bool:
        """Say whether all views fit; several, together: an entry is never longer than one."""
        learnt = [[place for place, own in enumerate(one.learnt) if own] for one in read]
        last = sum(places[-1] + 1 for places in learnt if places)
        return last - 1 < self._words.max_tokens

    def _tokens(self, text: Content) -> tuple[Tokenised, ...]:
        match text:
            case str():
                rendered, hidden = self._text(text)
            case Completion(prompt, completion) if self._words.prompt:
                rendered, hidden = self._plain(prompt, completion)
            case Completion(prompt, completion):
                turns = (Turn("user", prompt), Turn("assistant", completion))
                rendered, hidden = self._chat(turns)
            case Conversation(turns):
                rendered, hidden = self._chat(turns)
            case _:
                raise DataError("a preference is of another task")
        return tuple(tokenise(view, self.tokenizer, hidden) for view in rendered)

    def _text(self, text: str) -> tuple[tuple[Rendered, ...], Any]:
        (said,), hidden = guard([text], self.tokenizer)
        whole = (self._words.answer or "{text}").replace("{text}", said)
        head = self._words.prompt
        return (Rendered(head + whole, ((len(head), len(head) + len(whole)),)),), hidden

    def _plain(self, prompt: str, completion: str) -> tuple[tuple[Rendered, ...], Any]:
        (asked, answered), hidden = guard([prompt, completion], self.tokenizer)
        before = self._words.prompt.replace("{prompt}", asked)
        after = self._words.answer.replace("{completion}", answered)
        return (Rendered(before + after, ((len(before), len(before) + len(after)),)),), hidden

    def _chat(self, turns: Sequence[Turn]) -> tuple[tuple[Rendered, ...], Any]:
        guarded, hidden = self._guarded(turns)
        return conversation(self._chat_template(), guarded), hidden

    def _guarded(self, turns: Sequence[Turn]) -> tuple[list[Turn], Any]:
        said, hidden = guard([turn.text for turn in turns], self.tokenizer)
        return [Turn(turn.role, text) for turn, text in zip(turns, said, strict=True)], hidden

    def _chat_template(self) -> ChatTemplate:
        if self._template is None:
            raise DataError(
                "a conversation needs a chat template, and model.prompt says how a prompt and a "
                "completion are rendered; remove model.prompt and model.answer"
            )
        return self._template


def _digest(template: ChatTemplate, settings: ChatSettings) -> str:
    """Return the SHA-256 of a template and of what it makes of a probe.

    Raises:
        ModelError: the template runs over its limits.
    """
    told: list[canonical.Json] = [settings.template, dict(settings.tokens)]
    for count in range(1, len(_PROBE) + 1):
        try:
            told.append(template.render(_PROBE[:count], answering=True))
        except TemplateOverrun as overrun:
            raise ModelError(f"{overrun}. Nothing was read, trained or charged") from overrun
        except DataError:
            told.append(None)
    return canonical.sha256_hex(canonical.encode(told))


def _log_probabilities(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return the log-probability of each token, shape (b, p)."""
    return -cross_entropy(logits, tokens.flatten(), reduction="none").view(tokens.shape)


def _predicting(read: Tokenised) -> Entry:
    """Return a view's tokens up to the last that is learnt; none where nothing is."""
    last = max((place for place, own in enumerate(read.learnt) if own), default=0)
    following = zip(read.ids[1 : last + 1], read.learnt[1 : last + 1], strict=True)
    return Entry(read.ids[:last], [token if own else NOTHING for token, own in following])


def _without_oldest(text: Conversation) -> Iterator[Content]:
    """Yield the conversation without its first exchange, then without two, and so on."""
    system = text.turns[:1] if text.turns[0].role == "system" else ()
    spoken = text.turns[len(system) :]
    for place, turn in enumerate(spoken):
        rest = spoken[place:]
        if place and turn.role == "user" and any(one.role == "assistant" for one in rest):
            yield Conversation((*system, *rest))


def _prompt(text: Content) -> str:
    match text:
        case Conversation(turns):
            return next(turn.text for turn in turns if turn.role == "user")
        case Completion(prompt, _):
            return prompt
        case _:
            return ""


def _with_end(text: Content, characters: int) -> Content:
    """Return the content with the last `characters` of what the user says first."""
    kept = _prompt(text)[-characters:]
    match text:
        case Conversation(turns):
            place = next(place for place, turn in enumerate(turns) if turn.role == "user")
            return Conversation((*turns[:place], Turn("user", kept), *turns[place + 1 :]))
        case Completion(_, completion):
            return Completion(kept, completion)
        case _:
            return text
