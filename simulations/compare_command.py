"""`python -m simulations compare SCENARIO`: what each way to close a gap costs, side by side."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress
from rich.text import Text

from fedethics import texts
from fedethics.charter import document
from fedethics.charter.ethics_terms import MitigationTerms
from fedethics.charter.model import Charter, Member
from fedethics.cli.output import Terminal, say
from fedethics.cli.simulate import Data
from fedethics.data.file_terms import DataFile, data_file
from fedethics.data.reading import read_records
from fedethics.data.records import split
from fedethics.simulation.scenario import data_folder, load
from simulations.baselines import Bench
from simulations.compare_page import Line, page, table
from simulations.methods import METHODS, WHAT, Judgement, gap_objective, run_method

_bench: Bench | None = None  # of a worker process, set once when it starts


@dataclass(frozen=True, slots=True)
class _Task:
    method: str
    private: bool
    seed: int


def compare_methods(
    scenario: Annotated[Path, typer.Argument(help="a scenario, such as configs/adult.toml")],
    methods: Annotated[
        str, typer.Option(help=f"of: {', '.join(METHODS)}")
    ] = "none,reweighing,dual-ascent,group-dro,thresholds",
    seeds: Annotated[int, typer.Option(help="seeds of each method")] = 5,
    privacy: Annotated[str, typer.Option(help="both, with, or without DP")] = "both",
    step: Annotated[float, typer.Option(help="how fast multipliers move")] = 1.0,
    most: Annotated[float, typer.Option(help="greatest weight of a record")] = 4.0,
    counts_epsilon: Annotated[
        float, typer.Option(help="part of the training epsilon for counts by group")
    ] = 0.5,
    data: Data = Path(".data"),
    out: Annotated[Path, typer.Option(help="where the page and the figures go")] = Path("runs"),
) -> None:
    """Compare ways to close a gap: one table and one plot, utility against gap."""
    chosen = _chosen(methods)
    if privacy not in ("both", "with", "without"):
        raise typer.BadParameter(f"{privacy!r} is not both, with or without")
    setup, charter = load(scenario)
    gap_objective(charter)
    folder = data_folder(setup, data, base=scenario.parent)
    files = {site.name: data_file(site.data, folder) for site in setup.sites}
    enrolled = _with_sites(charter, {site.name: site.declared_records for site in setup.sites})
    terms = MitigationTerms(
        method="dual-ascent", feature="any", step=step, most=most, epsilon=counts_epsilon
    )
    kinds = {"both": (True, False), "with": (True,), "without": (False,)}[privacy]
    tasks = [
        _Task(method, private, seed)
        for private in kinds
        for method in chosen
        for seed in range(1, seeds + 1)
    ]
    judged = _run_all(tasks, enrolled, files, terms)
    lines = [
        _line(charter, method, private, [judged[_Task(method, private, s)] for s in _upto(seeds)])
        for private in kinds
        for method in chosen
    ]
    objective = gap_objective(charter)
    console = Terminal()
    console.print(table(lines, objective))
    for line in lines:
        for note in line.notes:
            console.print(
                Text(f"{line.name} fell back to the plain threshold: {texts.in_line(note)}")
            )
    target = out / f"compare-{setup.name}-{datetime.now():%Y%m%d-%H%M%S}"
    target.mkdir(parents=True)
    figures = {
        "gap": objective.metric,
        "feature": objective.feature,
        "partition": charter.data.source,
        "lines": [asdict(line) for line in lines],
    }
    (target / "compare.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    (target / "compare.html").write_text(page(lines, charter, objective), encoding="utf-8")
    say(f"wrote {target}/compare.html and compare.json")


def _chosen(methods: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in methods.split(",") if name.strip())
    unknown = sorted(set(names) - set(METHODS))
    if unknown or not names:
        raise typer.BadParameter(
            f"{', '.join(unknown) or 'no method'}: known are {', '.join(METHODS)}",
            param_hint="--methods",
        )
    return names


def _with_sites(draft: Charter, declared: Mapping[str, int]) -> Charter:
    """Return the draft with its sites by name; keys matter to nobody here."""
    roster: Sequence[Member] = [
        Member(site=name, public_key=f"{index + 1:064x}", declared_records=size)
        for index, (name, size) in enumerate(declared.items())
    ]
    ethics = dataclasses.replace(draft.ethics, stakeholders=(), approval_by=())
    without = dataclasses.replace(draft, ethics=ethics)
    return document.enrol(without, coordinator_key="f" * 64, roster=roster)


def _run_all(
    tasks: Sequence[_Task],
    charter: Charter,
    files: Mapping[str, Path | DataFile],
    terms: MitigationTerms,
) -> dict[_Task, Judgement]:
    judged: dict[_Task, Judgement] = {}
    with (
        Progress(console=Terminal(stderr=True)) as progress,
        ProcessPoolExecutor(
            max_workers=os.cpu_count() or 1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(document.encode(charter), dict(files)),
        ) as pool,
    ):
        bar = progress.add_task("comparing", total=len(tasks))
        waiting = {pool.submit(_run, task, terms): task for task in tasks}
        for done in as_completed(waiting):
            judged[waiting[done]] = done.result()
            progress.advance(bar)
    return judged


def _start(charter_bytes: bytes, files: Mapping[str, Path | DataFile]) -> None:
    global _bench
    import torch

    torch.set_num_threads(1)  # the processes share the cores among them
    charter = document.parse(charter_bytes)
    records = {
        site: split(read_records(path, charter.data), charter.data) for site, path in files.items()
    }
    _bench = Bench(charter, records)


def _run(task: _Task, terms: MitigationTerms) -> Judgement:
    if _bench is None:
        raise RuntimeError("the worker process was not started through compare_methods()")
    return run_method(_bench, task.method, seed=task.seed, private=task.private, terms=terms)


def _line(charter: Charter, method: str, private: bool, found: Iterable[Judgement]) -> Line:
    judged = list(found)
    return Line(
        method=method,
        what=WHAT[method],
        epsilon=charter.privacy.training.epsilon if private else None,
        accuracy=tuple(one.accuracy for one in judged),
        roc_auc=tuple(one.roc_auc for one in judged),
        gap=tuple(one.gap for one in judged),
        notes=tuple(dict.fromkeys(one.note for one in judged if one.note)),
    )


def _upto(seeds: int) -> range:
    return range(1, seeds + 1)
