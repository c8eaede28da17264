"""Records that hold text of a public benchmark: a model trained on its items is not judged by it.

A record overlaps a benchmark if it has eight words in a row that an item of it has too, whatever
their case and punctuation; an item of four to seven words counts if the record holds all of them in
a row. Items of fewer words are not looked for.
Source: Brown et al., "Language Models are Few-Shot Learners" (2020), appendix C, which takes runs
of 8 to 13 words; this takes the shortest, which finds the most.

Sensitive: which record overlaps is about one site's records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedethics.benchmarks.benchmark import Benchmark, Item
from fedethics.data.content import Content
from fedethics.quality.near_duplicates import run_hashes, words

RUN, SHORTEST = 8, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """What records share with one benchmark.

    Attributes:
        benchmark: its name.
        items: of it that share words with a record.
        of: all items that were looked for.
        records: places of the records that overlap, in order.
    """

    benchmark: str
    items: int
    of: int
    records: tuple[int, ...]


def overlaps(
    contents: Sequence[Content], benchmarks: Iterable[Benchmark], root: Path
) -> tuple[Overlap, ...]:
    """Return for each benchmark what the records share with all of its items.

    Args:
        contents: texts of the records.
        benchmarks: those to look for.
        root: folder that their data was fetched into.

    Raises:
        SetupError: the data of a benchmark is missing or is not what its hash says.
    """
    return tuple(
        overlap(contents, each.name, list(each.read(each.members(root)))) for each in benchmarks
    )


def overlap(contents: Sequence[Content], name: str, items: Sequence[Item]) -> Overlap:
    """Return what records share with the items of one benchmark.

    Memory grows with the benchmark, which is public and of bounded size, and not with the records.

    Args:
        contents: texts of the records.
        name: of the benchmark.
        items: of the benchmark.
    """
    of_item: list[frozenset[int]] = []
    lengths: set[int] = set()
    for item in items:
        asked = [words(f"{item.prompt} {choice}") for choice in item.choices]
        able = [said for said in asked if len(said) >= SHORTEST]
        lengths.update(min(len(said), RUN) for said in able)
        of_item.append(frozenset(run for said in able for run in run_hashes(said, RUN).tolist()))
    public = frozenset().union(*of_item)
    records: list[int] = []
    shared: set[int] = set()
    for place, content in enumerate(contents):
        found = public.intersection(_runs(words(content), lengths))
        if found:
            records.append(place)
            shared |= found
    return Overlap(
        benchmark=name,
        items=sum(not runs.isdisjoint(shared) for runs in of_item),
        of=sum(bool(runs) for runs in of_item),
        records=tuple(records),
    )


def _runs(said: Sequence[str], lengths: Iterable[int]) -> Iterator[int]:
    for length in lengths:
        if len(said) >= length:
            yield from run_hashes(said, length).tolist()
