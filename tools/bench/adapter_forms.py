"""Adapter forms, optimisers and trust modes under DP, on the four hospitals.

Every row is the federation of the demo's charter with one thing changed, judged on the held-out
records of all sites. The learning rate of "sgd" is the charter's, chosen for "ffa" under local
trust; the others' are given in their names. Choosing a row by this table spends privacy that no
ledger sees: the data set is public.

    python -m tools.bench.adapter_forms --seeds 7 11
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from fedethics.charter.model import Charter, Member
from fedethics.data.reading import read_records
from fedethics.data.records import Split, split
from fedethics.simulation.scenario import Scenario, load
from simulations.arms import judge
from simulations.baselines import Bench, Fit
from tools.bench.data_sets import fetched

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[[Bench, float | None, int], Fit]


def main() -> None:
    """Print one line for each row, epsilon and seed, then the means as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 11])
    parser.add_argument("--epsilons", type=float, nargs="+", default=[8.0, 3.0, 1.0])
    parser.add_argument("--only", default="", help="run rows whose name holds this")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here too")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    charter, records = _heart()
    found: dict[str, dict[float, list[float]]] = {}
    for name, changed, run in rows(charter):
        if chosen.only not in name:
            continue
        bench = Bench(changed, records)
        for epsilon in chosen.epsilons:
            for seed in chosen.seeds:
                start = time.process_time()
                auc = judge(run(bench, epsilon, seed), bench).roc_auc
                found.setdefault(name, {}).setdefault(epsilon, []).append(auc)
                spent = time.process_time() - start
                print(f"{name:44s} eps {epsilon:g} seed {seed} {auc:.3f} {spent:.0f}s", flush=True)
    print(_table(found, chosen.epsilons))
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def rows(charter: Charter) -> Iterator[tuple[str, Charter, Run]]:
    """Yield each row's name, its charter and how it is run."""
    for form in ("ffa", "fedsvd", "both", "alternating"):
        adapter = dataclasses.replace(charter.adapter, form=form)
        yield f"form {form}", dataclasses.replace(charter, adapter=adapter), _federate
    for optimizer, rate, decay in (
        ("adam", 0.005, 0.0), ("adamw", 0.005, 0.1), ("adam-bc", 0.005, 0.0),
        ("adam-bc", 0.001, 0.0),
    ):  # fmt: skip
        training = dataclasses.replace(
            charter.training, optimizer=optimizer, learning_rate=rate, weight_decay=decay
        )
        name = f"ffa, {optimizer} {rate:g}" + (f", decay {decay:g}" if decay else "")
        yield name, dataclasses.replace(charter, training=training), _federate
    one_step = _one_step(charter)
    yield "ffa, one step a round, local noise", one_step, _federate
    yield "ffa, one step a round, distributed noise", _distributed(one_step), _federate
    yield "ffa, one step a round, records pooled", one_step, _pool


def _federate(bench: Bench, epsilon: float | None, seed: int) -> Fit:
    learner = bench.learner(seed)
    return bench.federate(learner, sites=tuple(bench.records), epsilon=epsilon, seed=seed)


def _pool(bench: Bench, epsilon: float | None, seed: int) -> Fit:
    return bench.pool(bench.learner(seed), epsilon=epsilon, seed=seed)


def _one_step(charter: Charter) -> Charter:
    """As many steps in all, one in each round."""
    steps = charter.training.rounds * charter.training.local_steps
    training = dataclasses.replace(charter.training, rounds=steps, local_steps=1)
    return dataclasses.replace(charter, training=training)


def _distributed(charter: Charter) -> Charter:
    local = charter.privacy.training
    privacy = dataclasses.replace(
        charter.privacy, training=dataclasses.replace(local, trust_mode="distributed")
    )
    # Four sites, one of which may collude, and no dropout: three shares carry the noise.
    secagg = dataclasses.replace(charter.secagg, clip=100.0, minimum_cohort=4)
    return dataclasses.replace(charter, privacy=privacy, secagg=secagg)


def _heart() -> tuple[Charter, dict[str, Split]]:
    scenario, draft = load(ROOT / "configs" / "heart.toml")
    charter = dataclasses.replace(draft, roster=_roster(scenario))
    records = {
        site.name: split(
            read_records(fetched(scenario.dataset, site.data), charter.data), charter.data
        )
        for site in scenario.sites
    }
    return charter, records


def _roster(scenario: Scenario) -> tuple[Member, ...]:
    return tuple(
        Member(
            site=site.name,
            public_key=site.name.encode().hex().ljust(64, "0")[:64],
            declared_records=site.declared_records,
        )
        for site in scenario.sites
    )


def _table(found: dict[str, dict[float, list[float]]], epsilons: list[float]) -> str:
    heads = " | ".join(f"epsilon {epsilon:g}" for epsilon in epsilons)
    lines = [f"| what | {heads} |", "|---" * (len(epsilons) + 1) + "|"]
    for name, by_epsilon in found.items():
        cells = [
            f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"
            for values in (by_epsilon.get(epsilon, [math.nan]) for epsilon in epsilons)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
