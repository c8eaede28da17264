"""Tasks "sft" and "text": a language model learns the tokens of what records say.

"sft": the completion of a prompt, or the assistant's turns of a conversation, end mark included.
"text": a whole text, to make a model familiar with a domain. The loss of a record is the mean over
its own tokens, so that no record's gradient depends on another's length.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from fedethics.learning_tasks.task import (
    COLUMNS,
    Architecture,
    Bounded,
    Labels,
    Rate,
    Unlabelled,
    Words,
    answering_usage,
    rendering_problems,
)

if TYPE_CHECKING:
    from fedethics.fairness.measured import Measured

# Nats a token beyond which a record's loss is not told apart; guessing among 55 tokens gives it.
LOSS_CAP = 4.0


class TokenTask(Unlabelled, ABC):
    """A task that learns tokens of the record itself."""

    architecture: ClassVar[Architecture] = "causal-lm"
    rates: ClassVar[Mapping[str, Rate]] = {
        "exact_match": Rate(
            meaning="share of records whose every token is the model's first guess"
        ),
        "mean_token_probability": Rate(
            meaning="mean probability of a record's tokens (geometric within a record)", binned=True
        ),
        "mean_token_loss": Rate(
            meaning=f"mean loss of a record's tokens in nats, each record's cut at {LOSS_CAP:g}",
            binned=True,
            high=LOSS_CAP,
        ),
    }

    values: ClassVar[Mapping[str, Bounded]] = {
        "token_accuracy": Bounded(
            meaning="share of a record's tokens that are the model's first guess"
        ),
        "token_loss": Bounded(
            meaning="loss of a record's tokens", high=LOSS_CAP, unit="nats", cut=True
        ),
    }

    def measured(self, _labels: Labels) -> Measured:
        """Return the table of exact matches, and the histogram of token probabilities."""
        from fedethics.learning_tasks.free_text.measured import TOKENS  # here: it needs scipy

        return TOKENS

    def reader(
        self,
        network: Any,  # noqa: ANN401
        tokenizer: Any,  # noqa: ANN401
        words: Words,
        _labels: Labels,
    ) -> Any:  # noqa: ANN401
        """Return what puts records into tokens and computes their loss."""
        module = import_module("fedethics.learning_tasks.free_text.reader")
        return module.FreeTextReader(network, tokenizer, words, chats="messages" in self.forms)


class Sft(TokenTask):
    """Supervised fine-tuning: a prompt or a conversation in, the assistant's words out."""

    name: ClassVar[str] = "sft"
    forms: ClassVar[tuple[str, ...]] = ("messages", "prompt-completion", "instruction")
    answers: ClassVar[bool] = True
    keys: ClassVar[frozenset[str]] = frozenset({"chat_template", "truncation"})

    def problems(self, words: Words) -> list[str]:
        """Require both plain templates or none, and a cut that leaves completions whole."""
        return [*rendering_problems(self.name, words), *_sft_problems(words)]

    def usage(self, words: Words, _labels: Labels) -> str:
        """Return the lines that print the model's answer."""
        return answering_usage(words)


class Text(TokenTask):
    """Domain adaptation: every token of a text is learnt from those before it."""

    name: ClassVar[str] = "text"
    explained: ClassVar[bool] = False
    forms: ClassVar[tuple[str, ...]] = ("text", COLUMNS)
    keys: ClassVar[frozenset[str]] = frozenset({"truncation"})

    def problems(self, words: Words) -> list[str]:
        """Refuse what is of conversations."""
        return list(_text_problems(words))

    def usage(self, _words: Words, _labels: Labels) -> str:
        """Return the lines that print how the model goes on with a text."""
        return (
            'inputs = tokenizer(example, return_tensors="pt")\n'
            "with torch.no_grad():\n"
            "    ids = model.generate(**inputs, max_new_tokens=64, do_sample=False)\n"
            "print(tokenizer.decode(ids[0], skip_special_tokens=True))\n"
        )


def _sft_problems(words: Words) -> Iterator[str]:
    if words.truncation == "text-end":
        yield 'truncation: "text-end" would cut completions; take "oldest-turns" or "prompt-start"'
    if (words.prompt or words.answer) and words.truncation == "oldest-turns":
        yield 'truncation: a prompt and a completion have no turns; take "prompt-start"'


def _text_problems(words: Words) -> Iterator[str]:
    if words.answer and words.answer.count("{text}") != 1:
        yield "answer: task text needs exactly one {text} in it, or no answer for the text alone"
    if words.truncation not in (None, "text-end"):
        yield f'truncation: {words.truncation!r} is of conversations; task text has "text-end"'
