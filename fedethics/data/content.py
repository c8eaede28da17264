"""What a record says to a model: a text, conversation, completion, preference, or question.

A content is text that somebody wrote and the form that it came in, before any template or token.
How it is rendered for one model is the task's to say.

Sensitive: a content is a record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fedethics import canonical

Role: TypeAlias = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation.

    Attributes:
        role: of the author.
        text: what is said, as it was written.
    """

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order: perhaps a system's, then a user's and an assistant's in turn."""

    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Completion:
    """A prompt and what is to follow it."""

    prompt: str
    completion: str


@dataclass(frozen=True, slots=True)
class Preference:
    """A prompt, the answer that somebody prefers, and the one that they do not."""

    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt with a record's own options, of which one is right.

    Attributes:
        prompt: what is asked.
        options: one for each class, in their order; empty where the record has none for it.
    """

    prompt: str
    options: tuple[str, ...]


Content: TypeAlias = str | Conversation | Completion | Preference | Question


def document(content: Content) -> canonical.Json:
    """Return the content as plain values: equal ones for equal contents, and for no other."""
    match content:
        case str():
            return content
        case Conversation(turns):
            return {"messages": [{"role": one.role, "content": one.text} for one in turns]}
        case Completion(prompt, completion):
            return {"prompt": prompt, "completion": completion}
        case Preference(prompt, chosen, rejected):
            return {"prompt": prompt, "chosen": chosen, "rejected": rejected}
        case Question(prompt, options):
            return {"prompt": prompt, "options": list(options)}


def parts(content: Content) -> tuple[str, ...]:
    """Return everything that the content says, piece by piece, without who says it."""
    match content:
        case str():
            return (content,)
        case Conversation(turns):
            return tuple(one.text for one in turns)
        case Completion(prompt, completion):
            return prompt, completion
        case Preference(prompt, chosen, rejected):
            return prompt, chosen, rejected
        case Question(prompt, options):
            return prompt, *options


def replaced(content: Content, pieces: Sequence[str]) -> Content:
    """Return the content with these pieces in the place of its `parts`, said by the same."""
    match content:
        case str():
            (text,) = pieces
            return text
        case Conversation(turns):
            return Conversation(
                tuple(Turn(one.role, text) for one, text in zip(turns, pieces, strict=True))
            )
        case Completion():
            return Completion(*pieces)
        case Preference():
            return Preference(*pieces)
        case Question():
            prompt, *options = pieces
            return Question(prompt, tuple(options))


def rewritten(content: Content, change: Callable[[str], str]) -> Content:
    """Return the content with each piece of it changed, in the same form, said by the same."""
    return replaced(content, [change(piece) for piece in parts(content)])


def characters(content: Content) -> int:
    """Return the number of characters of all that the content says."""
    return sum(map(len, parts(content)))


def loose_hash(content: Content) -> bytes:
    """Return the SHA-256 of a content without regard to case and spaces.

    Where a piece of it ends is regarded: a prompt is not its own answer.
    """
    pieces = [" ".join(part.casefold().split()) for part in parts(content)]
    return hashlib.sha256("\x00".join(pieces).encode("utf-8")).digest()


def digest(contents: Iterable[Content]) -> str:
    """Return the SHA-256 of contents in their order: both order and wording matter."""
    return canonical.sha256_hex(canonical.encode([document(one) for one in contents]))
