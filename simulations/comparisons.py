"""Run every way of learning with every seed, one process for each core, and gather the rows."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path

from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.data.reading import read_records
from fedethics.data.split import Split, split
from fedethics.release.comparisons import Comparison, Comparisons
from fedethics.simulation.federation import Baselines, Tick
from fedethics.simulation.scenario import ComparisonSetup
from fedethics.simulation.staging import Stage
from fedethics.site.home import SiteHome
from simulations.baselines import Bench
from simulations.gaps import chosen_gap
from simulations.lessons import lessons
from simulations.ways import Judged, Row, ways

_bench: Bench | None = None  # of a worker process, set once when it starts


def baselines_of(stage: Stage, setup: ComparisonSetup) -> Baselines:
    """Return what a simulated run is compared with, over the same files."""
    files = {site: SiteHome.open(home).data_path for site, home in stage.homes.items()}
    return Baselines(
        steps=count_fits(stage.charter, setup),
        run=lambda tick: compare(stage.charter, files, setup, tick=tick),
    )


def count_fits(charter: Charter, setup: ComparisonSetup) -> int:
    """Return how often `compare` will call its `tick`."""
    return sum(len(_seeds(way.seeded, setup)) for way in ways(charter, setup.epsilons))


def compare(
    charter: Charter, files: Mapping[str, Path], setup: ComparisonSetup, *, tick: Tick
) -> Comparisons:
    """Run everything and return the rows with what they teach.

    Args:
        charter: the terms, with their roster.
        files: site -> its data file; read and split as the sites do.
        setup: seeds and further epsilons.
        tick: called with a description after each fit, for the progress bar.
    """
    every = ways(charter, setup.epsilons)
    tasks = [(place, seed) for place, way in enumerate(every) for seed in _seeds(way.seeded, setup)]
    judged: dict[tuple[int, int], tuple[Judged, ...]] = {}
    with ProcessPoolExecutor(
        max_workers=os.cpu_count() or 1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(document.encode(charter), dict(files)),
    ) as pool:
        waiting: dict[Future[tuple[Judged, ...]], tuple[int, int]] = {
            pool.submit(_run, setup.epsilons, place, seed): (place, seed) for place, seed in tasks
        }
        for done in as_completed(waiting):
            place, seed = waiting[done]
            judged[place, seed] = done.result()
            tick(f"comparing: {every[place].rows[0].name}")
    rows = [
        _row(row, seeds, [judged[place, seed][index] for seed in seeds])
        for place, way in enumerate(every)
        for seeds in [_seeds(way.seeded, setup)]
        for index, row in enumerate(way.rows)
    ]
    gap = chosen_gap(charter)
    return Comparisons(
        rows=tuple(rows),
        notes=tuple(lessons(rows, charter, _read(charter, files))),
        gap_metric=f"{gap.metric} by {gap.feature}" if gap else "",
        gap_bar=gap.bar if gap else None,
    )


def _start(charter_bytes: bytes, files: Mapping[str, Path]) -> None:
    global _bench
    import torch

    torch.set_num_threads(1)  # the processes share the cores among them
    charter = document.parse(charter_bytes)
    _bench = Bench(charter, _read(charter, files))


def _run(epsilons: tuple[float, ...], place: int, seed: int) -> tuple[Judged, ...]:
    if _bench is None:
        raise RuntimeError("the worker process was not started through compare()")
    return ways(_bench.charter, epsilons)[place].run(_bench, seed)


def _read(charter: Charter, files: Mapping[str, Path]) -> dict[str, Split]:
    return {
        site: split(read_records(path, charter.data), charter.data) for site, path in files.items()
    }


def _seeds(seeded: bool, setup: ComparisonSetup) -> tuple[int, ...]:
    return setup.seeds if seeded else (0,)


def _row(row: Row, seeds: tuple[int, ...], judged: list[Judged]) -> Comparison:
    gaps = [one.gap for one in judged if one.gap is not None]
    return Comparison(
        name=row.name,
        what=row.what,
        epsilon=row.epsilon,
        seeds=seeds,
        roc_auc=tuple(one.roc_auc for one in judged),
        accuracy=tuple(one.accuracy for one in judged),
        worst_site_auc=tuple(one.worst_site_auc for one in judged),
        gap=tuple(gaps) if len(gaps) == len(judged) else (),
    )
