"""What a text preset learns at several epsilons, beside base model, sites alone, and pooled data.

Training is the code that sites run, with plain sums in place of secure ones, and the held-out
records are scored exactly, which only a simulation can do. `--inner` takes part of the training
side for the held-out records: for choosing settings, so that the held-out records stay unseen.
One line an arm, as soon as it is done; arms share the frozen layers' states.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from numpy.typing import NDArray

from fedethics.charter import document
from fedethics.charter.model import Charter, Member
from fedethics.data.reading import read_records
from fedethics.data.records import Split, split
from fedethics.identity import Identity
from fedethics.privacy.plan import make_plan
from fedethics.privacy.signal import step_signal
from fedethics.simulation.scenario import Scenario, data_folder
from fedethics.simulation.scenario import load as load_scenario
from fedethics.site.workbench import Workbench
from fedethics.training.learner import Learner
from simulations.baselines import Bench, Fit
from tools.bench.data_sets import ROOT

LINE = "{:34s} {:>5s} {:>7s} {:>6s} {:>9s} {:>7s} {:>9s} {:>7s} {:>6s}"


def main() -> None:
    """Print a row for each arm and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7])
    parser.add_argument("--epsilons", type=float, nargs="*", default=[8.0, 3.0, 1.0])
    parser.add_argument(
        "--arms", nargs="+", choices=("base", "federation", "no-dp", "pooled", "alone"),
        default=["base", "federation", "no-dp", "pooled", "alone"],
    )  # fmt: skip
    parser.add_argument(
        "--rate", type=float, default=0.0, help="learning rate in the charter's place"
    )
    parser.add_argument(
        "--rates", type=float, nargs="*", default=[],
        help="learning rate for each of --epsilons: the more noise, the smaller",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=0, help="rounds in the charter's place")
    parser.add_argument("--inner", action="store_true", help="hold out part of the training side")
    parser.add_argument("--data", type=Path, default=ROOT)
    chosen = parser.parse_args()
    if len(chosen.rates) not in (0, len(chosen.epsilons)):
        parser.error(f"--rates: {len(chosen.rates)} rates for {len(chosen.epsilons)} epsilons")
    torch.set_num_threads(1)
    bench = bench_of(chosen.scenario, data=chosen.data, inner=chosen.inner)
    bench = at(bench, rate=chosen.rate, rounds=chosen.rounds)
    counted = [
        f"{site} {len(one.train)} + {len(one.held_out)}" for site, one in bench.records.items()
    ]
    print(f"training + held-out records: {', '.join(counted)}")
    print(LINE.format("arm", "seed", "sigma", "bound", "loss", "se", "tok.acc.", "exact", "CPU s"))
    for seed in chosen.seeds:
        learner = bench.learner(seed)
        for name, fit, sigma, bound, seconds in arms(bench, learner, seed, chosen):
            told = [f"{value:.3g}" if value else "-" for value in (sigma, bound)]
            figures = measured(fit)
            print(LINE.format(name, str(seed), *told, *figures, f"{seconds:.0f}"), flush=True)


def at(bench: Bench, *, rate: float = 0.0, rounds: int = 0) -> Bench:
    """Return the bench at another learning rate or number of rounds; 0 keeps the charter's."""
    training = bench.charter.training
    training = dataclasses.replace(
        training,
        learning_rate=rate or training.learning_rate,
        rounds=rounds or training.rounds,
    )
    return Bench(dataclasses.replace(bench.charter, training=training), bench.records)


def bench_of(path: Path, *, data: Path, inner: bool) -> Bench:
    """Return the scenario's records and its charter, with its sites on the roster."""
    scenario, draft = load_scenario(path)
    folder = data_folder(scenario, data, base=path.parent)
    charter = enrolled(scenario, draft)
    parts = {
        site.name: split(read_records(folder / site.data, charter.data), charter.data)
        for site in scenario.sites
    }
    return Bench(charter, {name: _inner(one) for name, one in parts.items()} if inner else parts)


def enrolled(scenario: Scenario, draft: Charter) -> Charter:
    """Return the draft with every site of the scenario on its roster, under fresh keys."""
    roster = [
        Member(
            site=site.name,
            public_key=Identity.generate().public_key,
            declared_records=site.declared_records,
        )
        for site in scenario.sites
    ]
    return document.enrol(draft, coordinator_key=Identity.generate().public_key, roster=roster)


def _inner(whole: Split) -> Split:
    """Return a split of the training side alone: every fifth record is held out."""
    rows = np.arange(len(whole.train))
    return Split(
        train=whole.train.take(rows[rows % 5 > 0].tolist()),
        held_out=whole.train.take(rows[rows % 5 == 0].tolist()),
    )


def arms(
    bench: Bench, learner: Learner, seed: int, chosen: argparse.Namespace
) -> Iterator[tuple[str, Fit, float, float, float]]:
    """Yield each arm's name, fit, noise multiplier, bound of its signal over noise, CPU seconds."""
    sites = tuple(bench.records)
    if "base" in chosen.arms:
        began = time.process_time()
        vector = learner.initial_vector()
        yield "base model", scored(bench, learner, vector), 0.0, 0.0, time.process_time() - began
    rates = chosen.rates or [0.0] * len(chosen.epsilons)
    asked = zip(chosen.epsilons, rates, strict=True) if "federation" in chosen.arms else ()
    for epsilon, rate in asked:
        began = time.process_time()
        fit = at(bench, rate=rate).federate(learner, sites=sites, epsilon=epsilon, seed=seed)
        sigma, bound = _noise(bench, learner, epsilon)
        spent = time.process_time() - began
        yield f"federation, epsilon {epsilon:g}", fit, sigma, bound, spent
    if "no-dp" in chosen.arms:
        began = time.process_time()
        fit = bench.federate(learner, sites=sites, epsilon=None, seed=seed)
        yield "federation, no DP", fit, 0.0, 0.0, time.process_time() - began
    if "pooled" in chosen.arms:
        began = time.process_time()
        fit = bench.pool(learner, seed=seed)
        yield "pooled, no DP", fit, 0.0, 0.0, time.process_time() - began
    for site in sites if "alone" in chosen.arms else ():
        began = time.process_time()
        fit = bench.federate(learner, sites=[site], epsilon=None, seed=seed)
        spent = time.process_time() - began
        yield f"{site} alone, no DP, all records", fit, 0.0, 0.0, spent
        own = Fit(scores={site: fit.scores[site]})
        yield f"{site} alone, no DP, own records", own, 0.0, 0.0, 0.0


def scored(bench: Bench, learner: Learner, vector: NDArray[np.float32]) -> Fit:
    """Return the scores of one vector on the held-out records of every site."""
    return Fit(
        scores={
            site: learner.scores(vector, Workbench(one, learner).activations(one.held_out))
            for site, one in bench.records.items()
        }
    )


def measured(fit: Fit) -> tuple[str, str, str, str]:
    """Return mean record loss in nats a token, its standard error, token accuracy, and exactness.

    Each record's own mean over its learnt tokens; records weigh alike.
    """
    scores = np.concatenate(list(fit.scores.values()))
    loss = -np.log(np.maximum(scores[:, 0], 1e-30))
    error = float(loss.std(ddof=1)) / len(loss) ** 0.5
    means = scores.mean(axis=0)
    return f"{loss.mean():.3f}", f"{error:.3f}", f"{means[1]:.3f}", f"{means[2]:.3f}"


def _noise(bench: Bench, learner: Learner, epsilon: float) -> tuple[float, float]:
    """Return the noise of the sum in clipping norms, and the bound on a step's signal over it."""
    privacy = bench.charter.privacy
    training = dataclasses.replace(privacy.training, epsilon=epsilon)
    charter = dataclasses.replace(
        bench.charter, privacy=dataclasses.replace(privacy, training=training)
    )
    declared: Mapping[str, int] = {one.site: one.declared_records for one in charter.roster}
    size = learner.size
    signal = step_signal(charter, make_plan(charter), parameters=size, records=declared)
    return (signal.noise, signal.bound) if signal else (0.0, 0.0)


if __name__ == "__main__":
    main()
