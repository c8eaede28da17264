"""How often 200 windows of monitoring raise a false alarm, and how small a drift they show.

Windows are drawn as counts, with the noise of the charter's own plan, and judged by the code that
judges real ones. Run: python -m tools.bench.monitoring [--monitorings 20]
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedethics.aggregates.monitoring import MONITORING, WindowLayout
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.charter.monitoring_terms import MonitoringBars, MonitoringTerms
from fedethics.fairness.drift import Scored
from fedethics.fairness.tabulate import tabulate
from fedethics.monitoring.baseline import Baseline
from fedethics.monitoring.evidence import WindowEvidence
from fedethics.monitoring.verdict import judge_window
from fedethics.privacy.plan import make_plan
from fedethics.release.evidence import OpenedSum

WINDOWS, HELD_OUT, RECORDS = 200, 2000, 3000
LABEL_BAR = 0.10
HASH = "a" * 64


def charter_of(config: Path) -> Charter:
    """Return the demo's charter, watching 200 windows."""
    heart = document.load(config)
    terms = MonitoringTerms(
        release=HASH, time="seen", first_day="2020-01-01", days=1, windows=WINDOWS, epsilon=1.0,
        bars=MonitoringBars(
            score_psi=0.25, score_ks=0.15, calibration=0.1, label_rate=LABEL_BAR, objectives=False
        ),
    )  # fmt: skip
    easy = tuple(
        dataclasses.replace(one, bar=0.6) if one.metric == "accuracy_score" else one
        for one in heart.ethics.objectives
    )
    return dataclasses.replace(
        heart, monitoring=terms, adapter=dataclasses.replace(heart.adapter, from_=HASH),
        ethics=dataclasses.replace(heart.ethics, objectives=easy),
    )  # fmt: skip


def records(
    rng: np.random.Generator, count: int, charter: Charter, *, shift: float, rate: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return groups, labels and scores; `rate` turns that share of negatives into positives."""
    latent = rng.normal(shift, 1.3, size=count)
    scores = 1.0 / (1.0 + np.exp(-latent))
    labels = (rng.random(count) < scores).astype(np.int64)
    labels |= (rng.random(count) < rate).astype(np.int64)
    groups = np.stack(
        [rng.integers(len(one.groups), size=count) for one in charter.data.sensitive], axis=1
    )
    return groups, labels, scores


def run(charter: Charter, monitorings: int, *, shift: float, rate: float) -> tuple[int, int, int]:
    """Return monitorings with an alarm, windows that drifted, and windows that hold."""
    layout, plan = WindowLayout.of(charter), make_plan(charter)
    variance = MONITORING.of(plan.sums).noise.sum_variance
    alarms = drifted = holds = 0
    for seed in range(monitorings):
        rng, before = np.random.default_rng(seed), drifted
        baseline = _baseline(rng, charter, layout, variance)
        for number in range(1, WINDOWS + 1):
            counts = _window(rng, charter, layout, shift=shift, rate=rate)
            noised = counts + np.rint(rng.normal(0, np.sqrt(variance), counts.shape)).astype(int)
            said = judge_window(charter, baseline, _evidence(number, noised, variance))
            drifted += said.verdict == "drifted"
            holds += said.verdict == "holds"
        alarms += drifted > before
    return alarms, drifted, holds


def _baseline(
    rng: np.random.Generator, charter: Charter, layout: WindowLayout, variance: float
) -> Baseline:
    groups, labels, scores = records(rng, HELD_OUT, charter, shift=0.0, rate=0.0)
    tables = layout.tables
    table = tabulate(tables, groups=groups, labels=labels, scores=scores)
    rows = table[tables.counts_length :][: tables.crossed_length].reshape(2, -1)
    totals = np.bincount(labels, minlength=2)[:, None]
    noise = np.sqrt(variance)
    return Baseline(
        scores=Scored(counts=rows + np.rint(rng.normal(0, noise, rows.shape)), variance=variance),
        labels=Scored(
            counts=totals + np.rint(rng.normal(0, 2 * noise, totals.shape)), variance=4 * variance
        ),
    )


def _window(
    rng: np.random.Generator, charter: Charter, layout: WindowLayout, *, shift: float, rate: float
) -> NDArray[np.int64]:
    groups, labels, scores = records(rng, RECORDS, charter, shift=shift, rate=rate)
    counts = np.zeros(layout.length, dtype=np.int64)
    counts[layout.places["tables"]] = tabulate(
        layout.tables, groups=groups, labels=labels, scores=scores
    )
    counts[layout.places["rows"]] = RECORDS
    return counts


def _evidence(number: int, counts: NDArray[np.int64], variance: float) -> WindowEvidence:
    opened = OpenedSum(
        round=1, kind="monitoring", session=HASH, cohort=(), survivors=(), dropped=(),
        sum_sha256=HASH,
    )  # fmt: skip
    return WindowEvidence(
        run_id=f"bench-w{number:04d}", window=number, finished="2026-01-01T00:00:00+00:00",
        charter_hash=HASH, release_manifest_sha256=HASH, model_sha256=HASH, variance=variance,
        opened=opened, counts=tuple(int(one) for one in counts),
    )  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--monitorings", type=int, default=20)
    parser.add_argument("--charter", type=Path, default=Path("configs/heart.charter.toml"))
    options = parser.parse_args()
    charter, often = charter_of(options.charter), options.monitorings
    rng = np.random.default_rng(99)
    natural = records(rng, 10**6, charter, shift=0.0, rate=0.0)[1].mean()
    at_bar = LABEL_BAR / (1.0 - natural)  # the label rate is exactly its bar away
    print(f"{often} monitorings of {WINDOWS} windows, {RECORDS} records each, {HELD_OUT} held out")
    print("| windows | with an alarm | drifted | hold | cannot conclude |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, shift, rate in (
        ("no shift", 0.0, 0.0),
        ("label rate exactly at its bar", 0.0, at_bar),
        ("label rate at twice its bar", 0.0, 2 * at_bar),
        ("scores shifted by 0.5 (log odds)", 0.5, 0.0),
        ("scores shifted by 1.0 (log odds)", 1.0, 0.0),
    ):
        alarms, drifted, holds = run(charter, often, shift=shift, rate=rate)
        whole = often * WINDOWS
        open_ones = whole - drifted - holds
        print(f"| {name} | {alarms} of {often} | {drifted} | {holds} | {open_ones} |", flush=True)


if __name__ == "__main__":
    main()
