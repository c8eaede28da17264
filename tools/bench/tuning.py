"""Settings found by trials that are paid for, against settings taken blindly, at equal epsilon.

Adult's preset with fewer records a step. Trials and final run together cost what one run without a
search costs (`fedethics.privacy.search`). The winner is chosen as a federation would: by accuracy
from tables with the trial's own noise. What is reported is exact, on the held-out records, which
only a simulation can look at. The candidates were written down before the first run.

    HEAVY_RUN=1 OMP_NUM_THREADS=1 python -m tools.bench.tuning --json tuning.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.charter_sums import layout_of
from fedethics.data.reading import read_records
from fedethics.data.records import Split, split
from fedethics.fairness import Tables, judge_together, tabulate
from fedethics.fairness.explained import NOTHING_EXPLAINED
from fedethics.privacy import search
from fedethics.privacy.noise import NoiseSource
from fedethics.privacy.plan import make_plan
from fedethics.release.rules.objectives import as_objective
from fedethics.release.searched import decider
from fedethics.simulation.scenario import data_folder, load
from fedethics.training.learner import Learner
from simulations.arms import judge
from simulations.baselines import Bench, Fit
from tools.bench.adapter_forms import _roster

ROOT = Path(__file__).resolve().parents[2]
RATES = (0.25, 1.0, 4.0)
DEFAULT = 1.0  # of the charters that `fedethics charter init` writes
SETTINGS = {"training.local-steps": 4, "privacy.training.sampling-rate": 0.1}
TUNING = {
    "settings-from": "tuning",
    "rounds": 2,
    "share": 0.3,
    "select": "accuracy_score",
    "candidates": [{"set": [f"training.learning-rate={rate}"]} for rate in RATES],
}


def main() -> None:
    """Print a line for each seed and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 11, 13, 17, 19])
    parser.add_argument("--untuned", type=float, nargs="+", default=[DEFAULT], help="rates")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here too")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    agreed, plain, records = _adult()
    found: dict[str, list[tuple[float, float]]] = {}
    winners = []
    for seed in chosen.seeds:
        start = time.process_time()
        learner = Bench(plain, records).learner(seed)
        for rate in chosen.untuned:
            untuned = document.load_set(*_file({**SETTINGS, "training.learning-rate": rate}))
            _note(found, f"untuned, rate {rate:g}", _run(untuned, records, learner, seed)[1])
        best = _search(agreed, records, learner, seed)
        final = _run(search.phase(agreed, f"final-{best}"), records, learner, seed)[1]
        _note(found, "tuned", final)
        winners.append(RATES[best - 1])
        spent = time.process_time() - start
        print(
            f"seed {seed}: rate {winners[-1]:g} won, AUC {final[0]:.3f}, {spent:.0f} CPU s",
            flush=True,
        )
    print(_table(found))
    print(f"chosen rates: {', '.join(f'{rate:g}' for rate in winners)}")
    if chosen.json:
        written = {"figures": found, "chosen": winners}
        chosen.json.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


def _file(settings: Mapping[str, object]) -> tuple[Path, Mapping[str, object]]:
    return ROOT / "configs" / "adult.charter.toml", settings


def _adult() -> tuple[Charter, Charter, dict[str, Split]]:
    """Return the charter with the search, the preset's own, and every site's records."""
    scenario, plain = load(ROOT / "configs" / "adult.toml")
    agreed = document.load_set(*_file({**SETTINGS, "tuning": TUNING}))
    folder = data_folder(scenario, ROOT / ".data", base=ROOT / "configs")
    records = {
        site.name: split(read_records(folder / str(site.data), plain.data), plain.data)
        for site in scenario.sites
    }
    return agreed, plain, records


def _search(agreed: Charter, records: Mapping[str, Split], learner: Learner, seed: int) -> int:
    """Return the candidate that a federation would choose: by each trial's noised tables."""
    figures = []
    for number, trial in enumerate(search.trials(agreed), start=1):
        fit, _ = _run(trial, records, learner, seed)
        seen = judge_together(_tables(trial, records, fit, f"{seed}/{number}"), [
            as_objective(decider(trial))
        ])  # fmt: skip
        figures.append((seen[0].estimate.figure, -number))
    return -max(figures)[1]


def _run(
    charter: Charter, records: Mapping[str, Split], learner: Learner, seed: int
) -> tuple[Fit, tuple[float, float]]:
    scenario, _ = load(ROOT / "configs" / "adult.toml")
    bench = Bench(dataclasses.replace(charter, roster=_roster(scenario)), records)
    epsilon = charter.privacy.training.epsilon
    fit = bench.federate(learner, sites=tuple(records), epsilon=epsilon, seed=seed)
    judged = judge(fit, bench)
    return fit, (judged.roc_auc, judged.accuracy)


def _tables(charter: Charter, records: Mapping[str, Split], fit: Fit, seed: str) -> Tables:
    """Return the trial's group tables with the noise of its plan."""
    plan = make_plan(charter)
    layout = dataclasses.replace(layout_of(charter), explained=NOTHING_EXPLAINED)
    total = np.zeros(layout.length, dtype=np.int64)
    for site, parts in records.items():
        part = parts.held_out
        total += tabulate(layout, groups=part.groups, labels=part.labels, scores=fit.scores[site])
    fairness = plan.fairness
    variances = (fairness.counts.sum_variance, fairness.histogram.sum_variance)
    source = NoiseSource.fixed(f"trial/{seed}".encode())
    if plan.count_mechanism is None:
        raise ValueError("the trials have no noise to choose through")
    noises = [
        plan.count_mechanism.draw(source, variance=variance, size=length)
        for variance, length in zip(
            variances, (layout.counts_length, layout.histogram_length), strict=True
        )
    ]
    return Tables.from_vector(
        total + np.concatenate(noises),
        layout=layout,
        counts_variance=variances[0],
        histogram_variance=variances[1],
        sites=len(records),
    )


def _note(found: dict[str, list[tuple[float, float]]], name: str, one: tuple[float, float]) -> None:
    found.setdefault(name, []).append(one)


def _table(found: Mapping[str, list[tuple[float, float]]]) -> str:
    lines = ["| what | AUC | accuracy |", "|---|---|---|"]
    for name, pairs in found.items():
        cells = [
            f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"
            for values in zip(*pairs, strict=True)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
