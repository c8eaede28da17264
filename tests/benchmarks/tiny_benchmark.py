"""A benchmark of made-up pairs, and a file of answers to it as a run leaves one."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from fedethics.benchmarks.benchmark import Draw, Facts, Item, facts_sha256
from fedethics.benchmarks.crows_pairs import CrowsPairs
from fedethics.benchmarks.results import (
    Asked,
    End,
    Header,
    Version,
    encode,
    line_of,
    shown_in_words,
)

PAIRS = 70


class Tiny(CrowsPairs):
    """Pairs of two types."""

    name = "tiny"
    slices = ("a", "b")
    made = tuple(
        Item(
            facts=Facts(id=str(n), slices=("ab"[n % 2],), unit=str(n)),
            prompt="",
            choices=(f"he is {n}", f"she is {n * 7}"),
        )
        for n in range(PAIRS)
    )
    draws: ClassVar = {"quick": Draw()}
    pins: ClassVar = {"quick": facts_sha256(item.facts for item in made)}

    def items(self, _members, _suite):
        return self.made


def header(**changes: str) -> Header:
    said: dict[str, object] = {
        "suite": "quick",
        "model": "tiny",
        "base_sha256": "1" * 64,
        "adapter_sha256": "2" * 64,
        "charter_sha256": "3" * 64,
        "prefix": "<s>",
        "versions": (Version(name="torch", version="2"),),
        "benchmarks": (Asked(name="tiny", items=PAIRS, sha256=Tiny.pins["quick"]),),
    }
    return Header(**(said | changes))


def write_answers(path: Path, head: Header, *, before: int, after: int) -> None:
    """Write a complete file in which the first so many pairs are stereotyped."""
    parts = [encode(head)]
    shown = shown_in_words(item.facts.id for item in Tiny.made)
    for number, item in enumerate(Tiny.made):
        sums = [(-4.0, -5.0) if number < hits else (-5.0, -4.0) for hits in (before, after)]
        line = line_of(Tiny(), item, tokens=(3, 3), sums=sums, shown=item.facts.id in shown)
        parts.append(encode(line))
    path.write_bytes(b"".join([*parts, encode(End(complete=True, items=PAIRS))]))
