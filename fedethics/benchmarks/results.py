"""Kept results of benchmarks: a JSON-lines file that says what was asked, of what, and each answer.

The first line is the header, then one line an item in the order in which they were asked, then a
line that says the file is complete. Every figure is computed again from these lines, without the
model and without the benchmark's texts.

Guarantee: `read` takes complete files only, and those whose items are exactly the items of the
suite that it names, by the SHA-256 that this version of fedethics holds. What no file can prove is
that the log-probabilities are the model's: asking the model again shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fedethics import canonical, plain_file, terms
from fedethics.benchmarks.benchmark import (
    SUITES,
    Answer,
    Benchmark,
    BenchmarkMetric,
    Facts,
    Item,
    Suite,
    facts_sha256,
)
from fedethics.benchmarks.registry import BENCHMARKS, find_benchmark
from fedethics.benchmarks.statistics import Figure, difference, figure
from fedethics.errors import FairnessError, ReleaseError
from fedethics.terms import KEY, term

# All of BBQ has some 20 MB.
LIMIT = 256 * 1024 * 1024
EVERYTHING = ""
_LONGEST_TEXT = 1200
# Items of each benchmark that pages show in words.
EXAMPLES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One benchmark of a file: how many items, and the SHA-256 of their facts."""

    name: str = term(nonempty=True)
    items: int = term(at_least=1)
    sha256: str = term(pattern=KEY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """A package that computed the answers."""

    name: str = term(nonempty=True)
    version: str = term(nonempty=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What was asked of which model.

    Attributes:
        base_sha256: of the base model's weights, as charters name it.
        quantisation: of the base, as the charter says.
        adapter_sha256: of adapter_model.safetensors; absent where the base alone was asked.
        charter_sha256: of the run's charter; absent without a run.
        prefix: the token before a sentence that follows nothing.
    """

    format: Literal["fedethics-benchmarks/1"] = term(default="fedethics-benchmarks/1")
    suite: Suite = term()
    model: str = term(nonempty=True)
    base_sha256: str = term(pattern=KEY)
    quantisation: str = term(default="none")
    adapter_sha256: str | None = term(default=None, pattern=KEY)
    charter_sha256: str | None = term(default=None, pattern=KEY)
    prefix: str = term(prose=True)
    versions: tuple[Version, ...] = term(nonempty=True)
    benchmarks: tuple[Asked, ...] = term(nonempty=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One item and its answers.

    Attributes:
        before: log-probability of each choice by the base model; after: with the adapter.
        prompt, choices: of the few items that pages show; absent for all others.
    """

    benchmark: str = term(nonempty=True)
    id: str = term(nonempty=True)
    slices: tuple[str, ...] = term()
    unit: str = term(nonempty=True)
    numbers: tuple[int, ...] = term()
    tokens: tuple[int, ...] = term(nonempty=True, at_least=1)
    before: tuple[float, ...] = term(nonempty=True, at_most=0)
    after: tuple[float, ...] | None = term(default=None, at_most=0)
    prompt: str | None = term(default=None, prose=True)
    choices: tuple[str, ...] | None = term(default=None, prose=True)

    def problems(self) -> list[str]:
        """Refuse answers of another number than the choices."""
        counts = {len(self.tokens), len(self.before), len(self.after or self.before)}
        return ["tokens, before and after have different lengths"] if len(counts) > 1 else []

    @property
    def facts(self) -> Facts:
        """The item's facts."""
        return Facts(id=self.id, slices=self.slices, unit=self.unit, numbers=self.numbers)

    def answer(self, sums: tuple[float, ...]) -> Answer:
        """Return one model's answer."""
        return Answer(facts=self.facts, sums=sums, tokens=self.tokens)


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """The last line of a complete file."""

    complete: bool = term()
    items: int = term(at_least=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """A complete file.

    Attributes:
        sha256: of the file's bytes.
        lines: by benchmark, in the order of the header.
    """

    header: Header
    sha256: str
    lines: dict[str, tuple[Line, ...]]

    def answers(self, name: str, part: str = EVERYTHING) -> tuple[list[Answer], list[Answer]]:
        """Return the answers before and after of a benchmark, or of a slice of it.

        The second list is empty where the base alone was asked.
        """
        lines = [line for line in self.lines[name] if not part or part in line.slices]
        return (
            [line.answer(line.before) for line in lines],
            [line.answer(line.after) for line in lines if line.after is not None],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One metric of one slice: before, after, and after less before on the same items.

    Attributes:
        part: the slice; empty for all items.
        after, change: absent where the base alone was asked.
    """

    benchmark: str
    metric: str
    part: str
    before: Figure
    after: Figure | None = None
    change: Figure | None = None


def line_of(
    benchmark: Benchmark, item: Item, *, tokens: Sequence[int], sums: Sequence[Sequence[float]],
    shown: bool,
) -> Line:  # fmt: skip
    """Return the line of an item; `sums` of the base, then of the base with the adapter if any."""
    rounded = [tuple(round(value, 5) for value in each) for each in sums]
    facts = item.facts
    return Line(
        benchmark=benchmark.name,
        id=facts.id,
        slices=facts.slices,
        unit=facts.unit,
        numbers=tuple(facts.numbers),
        tokens=tuple(tokens),
        before=rounded[0],
        after=rounded[1] if len(rounded) > 1 else None,
        prompt=item.prompt[-_LONGEST_TEXT:] if shown else None,
        choices=item.choices if shown else None,
    )


def shown_in_words(names: Iterable[str]) -> frozenset[str]:
    """Return which items of a benchmark pages show: drawn by their names, so nobody picks them."""
    by_lot = sorted(names, key=lambda name: canonical.sha256_hex(_LOT.format(name).encode()))
    return frozenset(by_lot[:EXAMPLES])


_LOT = "fedethics/benchmarks/examples/{}"


def encode(value: Header | Line | End) -> bytes:
    """Return a line's bytes."""
    return canonical.encode(terms.document(value)) + b"\n"


def read(path: Path) -> Results:
    """Read a complete file.

    Raises:
        ReleaseError: missing, incomplete, malformed, or of other items than its suite's.
    """
    return parse(plain_file.read(path, ReleaseError, limit=LIMIT), what=str(path))


def parse(data: bytes, *, what: str) -> Results:
    """Read the bytes of a complete file; see `read`."""
    first, *rest = data.split(b"\n")
    header = terms.parse(Header, first, what=f"{what}, line 1", error=ReleaseError)
    if len(rest) < 2 or rest[-1] or b'"complete"' not in rest[-2]:
        raise ReleaseError(
            f"{what} is not complete: run the same fedethics benchmark command again, it goes on "
            "where it ended"
        )
    end = terms.parse(End, rest[-2], what=f"{what}, last line", error=ReleaseError)
    lines = [
        terms.parse(Line, one, what=f"{what}, line {number}", error=ReleaseError)
        for number, one in enumerate(rest[:-2], start=2)
    ]
    if end.items != len(lines):
        raise ReleaseError(f"{what} says {end.items} items and holds {len(lines)}")
    found = {
        asked.name: tuple(line for line in lines if line.benchmark == asked.name)
        for asked in header.benchmarks
    }
    problems = list(_problems(header, lines, found))
    if problems:
        raise ReleaseError(f"{what} cannot be read as results: {'; '.join(problems)}")
    return Results(header=header, sha256=canonical.sha256_hex(data), lines=found)


def _problems(
    header: Header, lines: Sequence[Line], found: dict[str, tuple[Line, ...]]
) -> Iterator[str]:
    if sum(map(len, found.values())) != len(lines) or len(found) != len(header.benchmarks):
        yield "its items are not those of the benchmarks in its first line"
    for asked in header.benchmarks:
        benchmark = BENCHMARKS.get(asked.name)
        known = benchmark and benchmark.pins.get(header.suite)
        digest = facts_sha256(line.facts for line in found[asked.name])
        if not known:
            yield f"suite {header.suite} has no benchmark {asked.name!r}"
        elif not digest == asked.sha256 == known:
            yield (
                f"the items of {asked.name} are not those of suite {header.suite} as this version "
                f"of fedethics knows it (SHA-256 {digest[:12]}, expected {known[:12]})"
            )
        elif {line.id for line in found[asked.name] if line.choices is not None} != shown_in_words(
            line.id for line in found[asked.name]
        ):
            yield f"the items of {asked.name} that it shows in words are not those drawn by lot"
    after = {line.after is not None for line in lines}
    if after != {header.adapter_sha256 is not None}:
        yield "answers with the adapter are there without one, or not there for each item"


def rows(results: Results, *, confidence: float = 0.95) -> list[Row]:
    """Return every metric of every benchmark, over all items and by slice."""
    found: list[Row] = []
    for name in results.lines:
        benchmark = find_benchmark(name)
        for part in (EVERYTHING, *benchmark.slices):
            found += [
                row(results, benchmark, metric, part, confidence=confidence)
                for metric in benchmark.metrics
                if not part or not metric.spans
            ]
    return found


def row(
    results: Results, benchmark: Benchmark, metric: BenchmarkMetric, part: str, *, confidence: float
) -> Row:
    """Return one metric of one slice.

    Raises:
        ReleaseError: an item has answers to fewer choices than it has.
    """
    before, after = results.answers(benchmark.name, part)
    try:
        return Row(
            benchmark=benchmark.name,
            metric=metric.name,
            part=part,
            before=figure(metric, before, confidence=confidence),
            after=figure(metric, after, confidence=confidence) if after else None,
            change=difference(metric, before, after, confidence=confidence) if after else None,
        )
    except IndexError as error:
        raise ReleaseError(
            f"the answers to {benchmark.name} cannot be read: an item has fewer of them than "
            "choices. Run fedethics benchmark again"
        ) from error


def examples(results: Results, name: str) -> tuple[Line, ...]:
    """Return the items of a benchmark that are shown in words."""
    return tuple(line for line in results.lines[name] if line.choices is not None)


def metric_of(name: str, metric: str, part: str = EVERYTHING) -> tuple[Benchmark, BenchmarkMetric]:
    """Return a benchmark and its metric.

    Raises:
        FairnessError: no such benchmark, metric or slice, or the metric compares slices.
    """
    benchmark = find_benchmark(name)
    found = benchmark.metric(metric)
    if found is None:
        known = ", ".join(one.name for one in benchmark.metrics)
        raise FairnessError(f"benchmark {name} has no metric {metric!r}; known: {known}")
    if part and (part not in benchmark.slices or found.spans):
        known = ", ".join(() if found.spans else benchmark.slices) or "none"
        raise FairnessError(f"{metric} of {name} has no slice {part!r}; known: {known}")
    return benchmark, found


def suite_names() -> tuple[str, ...]:
    """Return the names of the suites."""
    return SUITES
