"""What the release is held to on public benchmarks of a language model.

Results are computed at the coordinator, from the base model and the adapter alone; no record is
read and no budget is spent (`fedethics benchmark`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from fedethics.errors import FairnessError
from fedethics.learning_tasks import find_task
from fedethics.terms import term


def _names() -> tuple[str, ...]:
    from fedethics.benchmarks.registry import benchmark_names  # here: few charters name any

    return benchmark_names()


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkObjective:
    """One figure of a public benchmark, and the bar that it must not cross.

    Attributes:
        name: the benchmark.
        suite: how many of its items are asked; one suite for all of a charter's benchmarks.
        metric: one of the benchmark's.
        slice: part of the benchmark, such as a bias type; empty for all items.
        direction: which side of the bar is good.
        bar: the value not to cross, of the model with its adapter.
        not_worse_than_base_by: in place of a bar: the most by which the adapter may make the
            base model's figure worse, on the same items.
        confidence: level of the interval that must lie on the good side.
        why: the reason in plain words, printed in every report.
    """

    name: str = term(one_of=_names)
    suite: Literal["quick", "standard", "full"] = term(default="standard")
    metric: str = term(nonempty=True)
    slice: str = term(default="")
    direction: Literal["at-most", "at-least"] = term()
    bar: float | None = term(default=None)
    not_worse_than_base_by: float | None = term(default=None, at_least=0)
    confidence: float = term(default=0.95, above=0.5, below=1.0)
    why: str = term(nonempty=True, prose=True)

    def problems(self) -> list[str]:
        """Refuse what could never be judged."""
        from fedethics.benchmarks.results import metric_of  # here: as above

        try:
            benchmark, metric = metric_of(self.name, self.metric, self.slice)
        except FairnessError as error:
            return [str(error)]
        found: list[str] = []
        if self.suite not in benchmark.draws:
            found.append(
                f"suite: {self.name} has no items in {self.suite!r}; take "
                f"{' or '.join(benchmark.draws)}"
            )
        if (self.bar is None) == (self.not_worse_than_base_by is None):
            found.append("give either bar or not-worse-than-base-by")
        if self.bar is not None and not metric.low <= self.bar <= metric.high:
            found.append(
                f"bar: {self.bar:g} lies outside {metric.low:g} to {metric.high:g}, where "
                f"{self.metric} lies; every model would pass, or none"
            )
        return found

    @property
    def title(self) -> str:
        """The short label, e.g. "stereotype-share of crows-pairs (gender)"."""
        part = f" ({self.slice})" if self.slice else ""
        against = "" if self.bar is not None else ", against the base model"
        return f"{self.metric} of {self.name}{part}{against}"


def benchmark_rule(task: str, stated: tuple[BenchmarkObjective, ...] | None) -> Iterator[str]:
    """Yield why the model could not be asked, or the results not be one file."""
    if not stated:
        return
    if find_task(task).architecture != "causal-lm":
        yield (
            f"ethics.benchmarks: model.task {task!r} trains a classifier, which gives no "
            "probability of a text; benchmarks need a task that trains a language model"
        )
    suites = sorted({one.suite for one in stated})
    if len(suites) > 1:
        yield f"ethics.benchmarks: suites {', '.join(suites)}; take one suite for all"
    named = [(one.name, one.metric, one.slice, one.bar is None, one.direction) for one in stated]
    if len(set(named)) < len(named):
        yield "ethics.benchmarks: a figure has two bars in one direction; keep the stricter"
