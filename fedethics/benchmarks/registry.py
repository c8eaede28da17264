"""The benchmarks by name. An unknown name is refused with those that are known."""

from __future__ import annotations

from fedethics.benchmarks.bbq import Bbq
from fedethics.benchmarks.benchmark import Benchmark, Suite
from fedethics.benchmarks.crows_pairs import CrowsPairs
from fedethics.benchmarks.discrim_eval import DiscrimEval
from fedethics.benchmarks.diversity_med_qa import DiversityMedQa
from fedethics.benchmarks.gap import Gap
from fedethics.benchmarks.stereoset import StereoSet
from fedethics.benchmarks.winobias import WinoBias
from fedethics.benchmarks.winogender import Winogender
from fedethics.errors import FairnessError

BENCHMARKS: dict[str, Benchmark] = {
    each.name: each
    for each in (
        CrowsPairs(), StereoSet(), WinoBias(), Winogender(), Bbq(), DiscrimEval(), Gap(),
        DiversityMedQa(),
    )
}  # fmt: skip


def benchmark_names() -> tuple[str, ...]:
    """Return the names of all benchmarks, in the order in which they run."""
    return tuple(BENCHMARKS)


def find_benchmark(name: str) -> Benchmark:
    """Return the benchmark called `name`.

    Raises:
        FairnessError: there is none.
    """
    if name not in BENCHMARKS:
        raise FairnessError(f"benchmark {name!r} is unknown; known: {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def chosen(suite: Suite, only: tuple[str, ...] = ()) -> tuple[Benchmark, ...]:
    """Return the benchmarks of a suite, or those of them that are named.

    Raises:
        FairnessError: a name is unknown, or its benchmark has no items in this suite.
    """
    for name in only:
        if suite not in find_benchmark(name).draws:
            raise FairnessError(
                f"benchmark {name} has no items in suite {suite}; take "
                f"{' or '.join(find_benchmark(name).draws)}"
            )
    return tuple(
        each
        for each in BENCHMARKS.values()
        if suite in each.draws and (not only or each.name in only)
    )
