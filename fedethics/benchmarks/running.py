"""Ask a model the items of a suite, one chunk after another, and keep every answer.

Guarantee: a run that was killed and is run again gives the same bytes as one that was not, on the
same machine: chunks are cut from the list of items alone, and a chunk that is not whole in the
file is asked again as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fedethics.benchmarks import results
from fedethics.benchmarks.benchmark import Benchmark, Item, Suite, facts_sha256
from fedethics.benchmarks.results import Asked, End, Header, Version, encode, line_of
from fedethics.errors import ReleaseError
from fedethics.storage import files

CHUNK = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """Log-probabilities of an item's choices.

    Attributes:
        tokens: of each choice.
        sums: nats, by model (base; base with adapter, if there is one), then by choice.
    """

    tokens: tuple[int, ...]
    sums: tuple[tuple[float, ...], ...]


class Model(Protocol):
    """A language model to ask, with what results say of it."""

    name: str
    base_sha256: str
    quantisation: str
    adapter_sha256: str | None
    charter_sha256: str | None
    prefix: str
    versions: tuple[Version, ...]

    def score(self, items: Sequence[Item]) -> list[Scored]:
        """Return the log-probabilities of each item's choices."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is asked: the items of each benchmark, in order."""

    suite: Suite
    parts: tuple[tuple[Benchmark, tuple[Item, ...]], ...]

    @property
    def items(self) -> int:
        """Number of items."""
        return sum(len(items) for _, items in self.parts)

    def chunks(self) -> Iterator[tuple[Benchmark, tuple[Item, ...], frozenset[str]]]:
        """Yield each chunk with the names of the items that are shown in words."""
        for benchmark, items in self.parts:
            shown = results.shown_in_words(item.facts.id for item in items)
            for start in range(0, len(items), CHUNK):
                yield benchmark, items[start : start + CHUNK], shown


def plan(benchmarks: Sequence[Benchmark], suite: Suite, root: Path) -> Plan:
    """Read the items of a suite from the files that were fetched to `root`.

    Raises:
        SetupError: a file is missing or is another than expected.
    """
    return Plan(
        suite=suite,
        parts=tuple((each, each.items(each.members(root), suite)) for each in benchmarks),
    )


def header_of(asked: Plan, model: Model) -> Header:
    """Return the first line of the results."""
    return Header(
        suite=asked.suite,
        model=model.name,
        base_sha256=model.base_sha256,
        quantisation=model.quantisation,
        adapter_sha256=model.adapter_sha256,
        charter_sha256=model.charter_sha256,
        prefix=model.prefix,
        versions=model.versions,
        benchmarks=tuple(
            Asked(
                name=benchmark.name,
                items=len(items),
                sha256=facts_sha256(item.facts for item in items),
            )
            for benchmark, items in asked.parts
        ),
    )


def run(
    asked: Plan, model: Model, out: Path, *, done: Callable[[str, int], None] = lambda *_: None
) -> results.Results:
    """Ask what is not answered yet, and return the results.

    Args:
        asked: the items.
        model: who is asked.
        out: the JSON-lines file; one that was begun is continued.
        done: told the benchmark and the number of items after each chunk, those found first.

    Raises:
        ReleaseError: the file holds results of something else, or cannot be written.
    """
    head = encode(header_of(asked, model))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        kept, whole = _kept(out, head, asked)
        with out.open("r+b" if out.exists() else "w+b") as file:
            file.truncate(whole)
            file.seek(whole)
            file.write(b"" if whole else head)
            for number, (benchmark, items, shown) in enumerate(asked.chunks()):
                if number >= kept:
                    file.write(_ask(model, benchmark, items, shown))
                    files.sync(file)
                done(benchmark.name, len(items))
            file.write(encode(End(complete=True, items=asked.items)))
            files.sync(file)
    except OSError as error:
        raise ReleaseError(f"{out} cannot be written: {error.strerror}") from error
    return results.read(out)


def _ask(model: Model, benchmark: Benchmark, items: Sequence[Item], shown: frozenset[str]) -> bytes:
    scored = model.score(items)
    return b"".join(
        encode(
            line_of(
                benchmark, item, tokens=each.tokens, sums=each.sums, shown=item.facts.id in shown
            )
        )
        for item, each in zip(items, scored, strict=True)
    )


def _kept(out: Path, head: bytes, asked: Plan) -> tuple[int, int]:
    """Return how many whole chunks `out` holds already, and where the last of them ends.

    Raises:
        ReleaseError: they are answers to something else.
    """
    data = out.read_bytes() if out.exists() else b""
    if not data.startswith(head):
        if not data or head.startswith(data):
            return 0, 0
        raise ReleaseError(
            f"{out} holds results of another model, suite or version; nothing was changed. Give "
            "another file with --out, or remove it"
        )
    ends = [place + 1 for place, byte in enumerate(data) if byte == ord("\n")]
    kept, lines = 0, 1
    for _, items, _ in asked.chunks():
        if lines + len(items) > len(ends):
            break
        kept, lines = kept + 1, lines + len(items)
    return kept, ends[lines - 1]
