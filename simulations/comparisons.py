"""Run every arm with every seed, one process for each core; gather the rows, and conclude."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.data.file_terms import DataFile
from fedethics.data.reading import read_records
from fedethics.data.records import Split, split
from fedethics.release.comparisons import Comparison, Comparisons
from fedethics.simulation.federation import Baselines, Tick
from fedethics.simulation.scenario import ComparisonSetup
from fedethics.simulation.staging import Stage
from fedethics.site.home import SiteHome
from simulations.arms import ALONE_ALL, ALONE_OWN, LOGISTIC, NO_DP, Judged, Row, arms
from simulations.baselines import Bench
from simulations.gaps import chosen_gap

# Differences of AUC below this are not worth a claim on a few hundred held-out records.
_NOTICEABLE = 0.02
_bench: Bench | None = None  # of a worker process, set once when it starts


def baselines_of(stage: Stage, setup: ComparisonSetup) -> Baselines:
    """Return what a simulated run is compared with, over the same files."""
    files = {site: SiteHome.open(home).data for site, home in stage.homes.items()}
    return Baselines(
        steps=count_fits(stage.charter, setup),
        run=lambda tick: compare(stage.charter, files, setup, tick=tick),
    )


def count_fits(charter: Charter, setup: ComparisonSetup) -> int:
    """Return how often `compare` will call its `tick`."""
    return sum(len(_seeds(arm.seeded, setup)) for arm in arms(charter, setup.epsilons))


def compare(
    charter: Charter, files: Mapping[str, Path | DataFile], setup: ComparisonSetup, *, tick: Tick
) -> Comparisons:
    """Run everything and return the rows with what follows from them.

    Args:
        charter: the terms, with their roster.
        files: site -> its data file; read and split as the sites do.
        setup: seeds and further epsilons.
        tick: called with a description after each fit, for the progress bar.
    """
    every = arms(charter, setup.epsilons)
    tasks = [(place, seed) for place, arm in enumerate(every) for seed in _seeds(arm.seeded, setup)]
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
        for place, arm in enumerate(every)
        for seeds in [_seeds(arm.seeded, setup)]
        for index, row in enumerate(arm.rows)
    ]
    gap = chosen_gap(charter)
    return Comparisons(
        rows=tuple(rows),
        notes=tuple(conclusions(rows, charter, _read(charter, files))),
        gap_metric=f"{gap.metric} by {gap.feature}" if gap else "",
        gap_bar=gap.bar if gap else None,
    )


def _start(charter_bytes: bytes, files: Mapping[str, Path | DataFile]) -> None:
    global _bench
    import torch

    torch.set_num_threads(1)  # the processes share the cores among them
    charter = document.parse(charter_bytes)
    _bench = Bench(charter, _read(charter, files))


def _run(epsilons: tuple[float, ...], place: int, seed: int) -> tuple[Judged, ...]:
    if _bench is None:
        raise RuntimeError("the worker process was not started through compare()")
    return arms(_bench.charter, epsilons)[place].run(_bench, seed)


def _read(charter: Charter, files: Mapping[str, Path | DataFile]) -> dict[str, Split]:
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


def conclusions(
    rows: Sequence[Comparison], charter: Charter, records: Mapping[str, Split]
) -> Iterator[str]:
    """Yield one sentence for each question a reader will ask; each follows from the numbers."""
    by_name = {row.name: row for row in rows}
    private = sorted(
        (row for row in rows if row.epsilon is not None), key=lambda row: row.epsilon or 0.0
    )
    own = next(row for row in private if row.epsilon == charter.privacy.training.epsilon)
    yield _cost(by_name[NO_DP], own, records)
    yield _against_alone(own, by_name[ALONE_OWN], by_name[ALONE_ALL], records)
    yield _usefulness(private, _auc(by_name[ALONE_ALL]))
    yield _against_columns(by_name[LOGISTIC], own)
    if charter.data.labels.classes is not None:
        yield "AUC of several classes is the mean over the classes of each against all others."
    yield (
        "These comparisons hold all records in one process, which the federation never does. The "
        "held-out records are the same for all and the figures carry no noise; the seeds vary the "
        "adapter's start, the batches and the noise, not the split. The charter's learning rate, "
        "rounds and clipping were chosen on the training side of this public data set; no epsilon "
        "here covers that choice."
    )


def _cost(free: Comparison, own: Comparison, records: Mapping[str, Split]) -> str:
    cost = _auc(free) - _auc(own)
    size = (
        f"costs {cost:.3f} AUC"
        if cost >= _NOTICEABLE
        else f"costs too little AUC to tell from chance here ({cost:+.3f})"
    )
    sizes = ", ".join(f"{site} {len(split.train)}" for site, split in records.items())
    return (
        f"Privacy at epsilon {own.epsilon:g} {size} against the same federation without noise. "
        "Each site adds its noise once a step, so it weighs more the fewer its training records: "
        f"{sizes}."
    )


# The first class of the charter is what a record is without disease, debt or offence.
def _against_alone(
    own: Comparison, own_patients: Comparison, everyone: Comparison, records: Mapping[str, Split]
) -> str:
    rates = ", ".join(
        f"{site} {100 * float(np.mean(split.train.labels > 0)):.0f} %"
        for site, split in records.items()
    )
    gain = _auc(own) - _auc(own_patients)
    verdict = (
        "beats"
        if gain >= _NOTICEABLE
        else "does no better than"
        if gain > -_NOTICEABLE
        else "does worse than"
    )
    return (
        f"The private federation (AUC {_auc(own):.3f}) {verdict} a site's own model without "
        f"privacy on that site's own patients ({_auc(own_patients):.3f}), where knowing the "
        f"site's share of disease helps (training records: {rates}). On everyone's patients a "
        f"site's own model reaches {_auc(everyone):.3f}: that is what a shared model is for."
    )


def _usefulness(private: Sequence[Comparison], alone: float) -> str:
    useful = [row for row in private if _auc(row) > alone + _NOTICEABLE]
    if not useful:
        return (
            "At no epsilon tried does the private federation beat the mean of the sites' own "
            f"models on everyone's patients (AUC {alone:.3f}): at these sizes it is not useful."
        )
    least = useful[0]
    lower = [row for row in private if (row.epsilon or 0.0) < (least.epsilon or 0.0)]
    below = (
        f"at epsilon {lower[-1].epsilon:g} it is {_auc(lower[-1]):.3f}"
        if lower
        else "no smaller epsilon was tried"
    )
    return (
        f"It stops being useful below epsilon {least.epsilon:g}: there a shared private model "
        f"(AUC {_auc(least):.3f}) still beats the mean of the sites' own models on everyone's "
        f"patients ({alone:.3f}); {below}."
    )


def _against_columns(columns: Comparison, own: Comparison) -> str:
    ahead = _auc(columns) - _auc(own)
    verdict = (
        "is behind" if ahead < -_NOTICEABLE else "is as good" if ahead < _NOTICEABLE else "wins"
    )
    return (
        f"Plain logistic regression on the pooled raw columns {verdict} (AUC {_auc(columns):.3f} "
        f"against {_auc(own):.3f}). On a table turned into text a language model has little to "
        "add; this data set is here because its four hospitals are real."
    )


def _auc(row: Comparison) -> float:
    return float(np.mean(row.roc_auc))
