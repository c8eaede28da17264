"""Conversations as one model reads them: its chat template rendered, and the tokens to be learnt.

A template needs no marks of what is the assistant's. The start of a conversation up to an answer,
rendered with the words that ask for one, is P; up to and with the answer it is F. Where F begins
with P, and the whole conversation with F, the answer is F without P, its end mark included. Where
the whole does not begin with F, the template renders an answer otherwise once more was said (some
leave out what a model thought before): then each answer is read in a view of its own, F as it was
when the answer was given. Where F does not begin with P, or the answer's words are not in it, what
is learnt is unknown, and the record is refused.

Guarantee: a rendering follows from template and conversation alone. A template that asks for the
date is refused, since sites would train on other words than they evaluate on; so is one that draws
at random. None sees where in memory a value lies, which follows from the records before it. What
stands inside a turn is text: a control token written there does not become one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from fedethics.data.content import Turn
from fedethics.errors import DataError, ModelError
from fedethics.training.template_process import RENDERER, Part, TemplateOverrun

# Private-use characters stand for control tokens that a turn's text holds, one pair a record.
_PRIVATE = range(0xE000, 0xF8FF)


class Tokens(Protocol):
    """What is asked of a tokenizer: `tokenizer.TextReader`."""

    def __call__(self, texts: str, *, add_special_tokens: bool = ...) -> dict[str, Any]:
        """Return {"input_ids": ids}; control tokens in the text become control tokens."""

    def plain(self, text: str) -> list[int]:
        """Return ids of the text, in which nothing becomes a control token."""

    def marks(self, text: str) -> list[tuple[int, int]]:
        """Return where control tokens would be read in the text: start and end of each."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, control tokens too."""


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """What a tokenizer's files say of conversations.

    Attributes:
        template: in Jinja; empty where they have none.
        tokens: names of control tokens ("bos_token") and how they are written.
    """

    template: str = ""
    tokens: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, said: Mapping[str, Any], *, template: str = "") -> ChatSettings:
        """Return what tokenizer_config.json says.

        Args:
            said: the file's table.
            template: of a file of its own, which goes first.
        """
        listed = said.get("chat_template") or ""
        if isinstance(listed, list):
            by_name = {one.get("name"): one.get("template") for one in listed}
            listed = by_name.get("default") or ""
        written = {
            name: value.get("content", "") if isinstance(value, dict) else value
            for name, value in said.items()
            if name.endswith("_token")
        }
        tokens = {name: value for name, value in written.items() if isinstance(value, str)}
        return cls(template or str(listed), tokens)


NO_CHAT = ChatSettings()


class ChatTemplate:
    """A template ready to render, in the process that renders (`template_process`)."""

    def __init__(self, settings: ChatSettings) -> None:
        """Have the template compiled.

        Raises:
            ModelError: it is none, not one that Jinja reads, or it runs over its limits.
        """
        self._settings = settings
        RENDERER.compile(settings.template)

    def __deepcopy__(self, _memo: dict[int, Any]) -> ChatTemplate:
        """Return itself: it holds no state, and copies of a learner share it."""
        return self

    def render(self, turns: Sequence[Turn], *, answering: bool) -> str:
        """Return the text of a conversation.

        Args:
            turns: at least one.
            answering: whether the words that ask the assistant for an answer follow.

        Raises:
            DataError: the template refuses such a conversation, asks for what is not given, or
                runs over its limits.
        """
        (text,) = self.renderings(turns, [Part(len(turns), answering)])
        return text

    def renderings(self, turns: Sequence[Turn], parts: Sequence[Part]) -> tuple[str, ...]:
        """Return the text of each beginning of a conversation.

        Raises:
            DataError: as `render`.
        """
        messages = [(turn.role, turn.text) for turn in turns]
        return RENDERER.render(
            self._settings.template, self._settings.tokens, messages=messages, parts=parts
        )


def try_out(settings: ChatSettings, *, turns: int, characters: int) -> None:
    """Render a made-up conversation of the greatest size that a charter allows.

    Args:
        settings: the template. Control tokens may be missing: what it refuses is not looked at.
        turns: how many turns a record may have.
        characters: how many characters a record may have.

    Raises:
        ModelError: it is not one that Jinja reads, or it runs over its limits.
    """
    template = ChatTemplate(settings)
    each = "word " * max(1, characters // (5 * max(2, turns)))
    exchange = [Turn("user", each), Turn("assistant", each)]
    talk = exchange * max(1, turns // 2)
    try:
        conversation(template, talk)
    except TemplateOverrun as overrun:
        raise ModelError(f"{overrun}. Nothing was read, trained or charged") from overrun
    except DataError:  # of this conversation; records may be of another kind
        return


class Tokenised(NamedTuple):
    """A record in tokens: all of them, and which are learnt."""

    ids: list[int]
    learnt: list[bool]


class Rendered(NamedTuple):
    """A record as text, from which places to which others it is learnt."""

    text: str
    spans: tuple[tuple[int, int], ...]


def conversation(template: ChatTemplate, turns: Sequence[Turn]) -> tuple[Rendered, ...]:
    """Return the text of a conversation, and where the assistant speaks in it.

    One text where the whole conversation tells it; else one view for each answer.

    Raises:
        DataError: the template changes an answer, or what was said before it.
    """
    answers = [place for place, turn in enumerate(turns) if turn.role == "assistant"]
    parts = [Part(len(turns), answering=False)]
    for place in answers:
        parts += [Part(place, answering=True), Part(place + 1, answering=False)]
    whole, *ends = template.renderings(turns, parts)
    views = []
    for place, before, after in zip(answers, ends[::2], ends[1::2], strict=True):
        if not after.startswith(before):
            raise DataError(
                f"turn {place + 1}: the chat template renders what comes before an answer "
                "differently once the answer is there, so that what is learnt is unknown. Give "
                "a template in the charter's model.chat-template"
            )
        if turns[place].text.strip() not in after[len(before) :]:
            raise DataError(
                f"turn {place + 1}: the chat template changes the assistant's words; the model "
                "would learn other words than those in the file"
            )
        views.append(Rendered(after, ((len(before), len(after)),)))
    if all(whole.startswith(view.text) for view in views):
        return (Rendered(whole, tuple(span for view in views for span in view.spans)),)
    return tuple(views)


class Guarded(NamedTuple):
    """Texts in which control tokens are hidden, and what stands for each of them."""

    texts: tuple[str, ...]
    hidden: Mapping[str, str]


def guard(texts: Sequence[str], tokens: Tokens) -> Guarded:
    """Return the texts with a stand-in for each control token that they hold.

    Raises:
        DataError: a text uses up all characters that could stand in.
    """
    found = {
        text[start:end] for text in texts for start, end in tokens.marks(text)
    }  # fmt: skip
    if not found:
        return Guarded(tuple(texts), {})
    used = {character for text in texts for character in text}
    free: Iterator[str] = (chr(code) for code in _PRIVATE if chr(code) not in used)
    try:
        stand_ins = {
            mark: next(free) for mark in sorted(found, key=lambda mark: (-len(mark), mark))
        }
    except StopIteration as error:
        raise DataError("a text holds every private-use character; nothing was rendered") from error
    return Guarded(
        tuple(_replaced(text, stand_ins) for text in texts),
        {stand_in: mark for mark, stand_in in stand_ins.items()},
    )


def _replaced(text: str, stand_ins: Mapping[str, str]) -> str:
    for mark, stand_in in stand_ins.items():
        text = text.replace(mark, stand_in)
    return text


def tokenise(rendered: Rendered, tokens: Tokens, hidden: Mapping[str, str]) -> Tokenised:
    """Return the tokens of a rendering, cut at the edges of what is learnt.

    The text is read as a whole where its tokens end at each edge, as the same text read up to the
    edge does: that is what a model sees that is asked. Where a token lies across an edge (a prompt
    that ends in a space), the parts are read by themselves, as they are when a model answers.

    Raises:
        DataError: neither gives the text back.
    """
    encode = _encoder(tokens, hidden)
    whole, places = encode(rendered.text), []
    edges = sorted({edge for span in rendered.spans for edge in span})
    for edge in edges:
        start = encode(rendered.text[:edge])
        if whole[: len(start)] != start:
            return _apart(rendered, edges, encode, tokens, whole)
        places.append(len(start))
    at = dict(zip(edges, places, strict=True))
    learnt = [False] * len(whole)
    for start_edge, end_edge in rendered.spans:
        learnt[at[start_edge] : at[end_edge]] = [True] * (at[end_edge] - at[start_edge])
    return Tokenised(whole, learnt)


def _apart(
    rendered: Rendered,
    edges: Sequence[int],
    encode: Callable[[str], list[int]],
    tokens: Tokens,
    whole: Sequence[int],
) -> Tokenised:
    ids: list[int] = []
    learnt: list[bool] = []
    starts = {start for start, _ in rendered.spans}
    bounds = [0, *edges, len(rendered.text)]
    for start, end in pairwise(bounds):
        part = encode(rendered.text[start:end])
        ids += part
        learnt += [start in starts and end > start] * len(part)
    if tokens.decode(ids) != tokens.decode(whole):
        raise DataError(
            "a token lies across the edge of what is learnt, and the parts by themselves are read "
            "as another text; end the prompt, or the template's words before an answer, otherwise"
        )
    return Tokenised(ids, learnt)


def _encoder(tokens: Tokens, hidden: Mapping[str, str]) -> Callable[[str], list[int]]:
    def plainly(text: str) -> list[int]:
        ids: list[int] = tokens(text, add_special_tokens=False)["input_ids"]
        return ids

    if not hidden:
        return plainly
    pieces = re.compile(f"([{''.join(map(re.escape, hidden))}])")

    def encode(text: str) -> list[int]:
        ids: list[int] = []
        for piece in filter(None, pieces.split(text)):
            ids += tokens.plain(hidden[piece]) if piece in hidden else plainly(piece)
        return ids

    return encode
