"""Words of a text swapped for others: whole words, in the case that they are written in.

A word listed in small letters is found as listed, with its first letter capital, and all in
capitals (he, He, HE); one listed with a capital, such as a name, as listed and all in capitals, so
that "Will" does not swap "will". Its stand-in is written in the same case. All words are swapped at
once: a word that was put in is never swapped back.

A whole word has no letter, digit or underscore next to it, and no combining mark behind it. So
"she" is found in "she's", and not in "shed"; an entry of its own for "woman's" comes before
"woman", since the longest entry wins.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple


class Pair(NamedTuple):
    """A word and what is written in its place."""

    word: str
    other: str


def pairs_of(entry: str) -> tuple[Pair, ...]:
    """Return what an entry swaps: "he/she" both ways, "his>her" the first for the second alone.

    Empty where the entry is neither.
    """
    if entry.count("/") + entry.count(">") != 1:
        return ()
    mark = "/" if "/" in entry else ">"
    first, second = (side.strip() for side in entry.split(mark))
    if not first or not second or first == second:
        return ()
    forth = (Pair(first, second),)
    return (*forth, Pair(second, first)) if mark == "/" else forth


class WordSwap:
    """Swaps the words of some pairs in any text. It holds nothing of the texts."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        """Prepare all written forms of the words.

        Args:
            pairs: at least one; `clashes` tells which words have two stand-ins.
        """
        self._forms: dict[str, str] = {}
        for word, other in pairs:
            for form, written in _forms(word, other):
                self._forms.setdefault(form, written)
        self._finder = WordFinder(form for form in self._forms)

    def __call__(self, text: str) -> str:
        """Return the text with each listed word in it swapped; the same text where there is none.

        Guarantee: follows from the text and the pairs alone, and fails for no text.
        """
        said, at = "", 0
        for start, end in self._finder(text):
            said += text[at:start] + self._forms[text[start:end]]
            at = end
        return said + text[at:]


class WordFinder:
    """Finds whole words in any text, written exactly as given; the longest where several begin.

    Guarantee: the time grows with the text, times the number of lengths that the words have.
    """

    def __init__(self, written: Iterable[str]) -> None:
        self._listed = frozenset(written)
        firsts = sorted({form[0] for form in self._listed})
        self._begins = re.compile(rf"(?<!\w)[{''.join(map(re.escape, firsts))}]")
        # Looked up and not matched one after the other: a text takes as long for 500 words as for
        # one, but for each further length.
        self._lengths = {
            first: sorted({len(form) for form in self._listed if form[0] == first}, reverse=True)
            for first in firsts
        }

    @classmethod
    def of(cls, word: str) -> WordFinder:
        """Return what finds a word in each way in which it may be written."""
        return cls(form for form, _ in _forms(word, word))

    def __call__(self, text: str) -> list[tuple[int, int]]:
        """Return where the words begin and end, in order."""
        found, after = [], 0
        for begin in self._begins.finditer(text):
            start = begin.start()
            if start < after:
                continue
            for length in self._lengths[text[start]]:
                end = start + length
                beside = text[end : end + 1] or " "
                if end <= len(text) and text[start:end] in self._listed and not _in_word(beside):
                    after = end
                    # With a combining mark behind it, it is another word.
                    if not unicodedata.category(beside).startswith("M"):
                        found.append((start, end))
                    break
        return found


def clashes(pairs: Sequence[Pair]) -> Iterator[str]:
    """Yield, for each written word that two pairs would swap differently, what they would write."""
    seen: dict[str, Pair] = {}
    told = set()
    for pair in pairs:
        for form, _ in _forms(*pair):
            first = seen.setdefault(form, pair)
            if first.other != pair.other and (first.other, pair.other) not in told:
                told.add((first.other, pair.other))
                yield (
                    f"{form!r} would become both {first.other!r} and {pair.other!r}; write one "
                    f"entry one way, for example '{pair.other}>{pair.word}'"
                )


def _forms(word: str, other: str) -> Iterator[tuple[str, str]]:
    """Yield each way in which a word is written, and how its stand-in is written then."""
    yield word, other
    if word == word.lower():
        yield _capital(word), _capital(other)
    yield word.upper(), other.upper()


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:]
