"""Widths of the gate's intervals before and after: reconciled tables, and two nested score blocks.

Drawn records: half are positive, scores are logistic of normal logits with a standard deviation of
1.2 and an area of 0.8, groups by the heart charter (sex, three age bands; a third are women). Noise
is that of the charter's own plan at each epsilon, with all that it releases besides, over four
sites. "before" is one histogram of 64 bins by sex and counts over all combinations of groups, read
as it was opened.

    python -m tools.bench.verdicts --draws 40

`--crowded` compares where bins are cut, for scores that crowd: 10,168 records under the credit
charter, 78 % positive, logits with a spread of 0.15 around a score of 0.95, an area of 0.72.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.charter_sums import layout_of
from fedethics.fairness.auc import area_bands
from fedethics.fairness.estimate import two_sided
from fedethics.fairness.explained import NOTHING_EXPLAINED, FloatArray
from fedethics.fairness.layout import Layout, Tables
from fedethics.fairness.measure import aggregate, overall
from fedethics.fairness.partition import Partition, everyone
from fedethics.fairness.tabulate import tabulate
from fedethics.privacy.plan import make_plan

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
HEART = CONFIGS / "heart.charter.toml"
SIZES = (100, 250, 1000, 5000, 20_000)
EPSILONS = (1.0, 3.0, 8.0)
SITES, COLLUDERS = 4, 1
CREDIT_RECORDS, CROWD = 10_168, 0.15
AREA, SPREAD = 0.8, 1.2
FORMS: dict[str, dict[str, object]] = {
    "one block": {"tables": None, "bins": 64, "histogram_ratio": 1.0},
    "8 + 64": {"tables": "nested", "bins": 64, "histogram_ratio": 1.0},
    "8 + 64, 1.5": {"tables": "nested", "bins": 64, "histogram_ratio": 1.5},
    "8 + 256, 1.5": {"tables": "nested", "bins": 256, "histogram_ratio": 1.5},
}


def main() -> None:
    """Print Markdown tables: area, then the gap and the accuracy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--crowded", action="store_true")
    chosen = parser.parse_args()
    draws = chosen.draws
    began = time.process_time()
    if chosen.crowded:
        crowded(draws)
        return
    heart = document.load(HEART)
    print(
        f"mean of {draws} draws; area: width of its interval (share of intervals that hold it)\n\n"
        "| epsilon, records | before | reconciled | 8 + 64 | the same, ratio 1.5 | 8 + 256, 1.5 |"
        " equal opportunity by sex, no gap: upper limit before, ratio 1.5 | accuracy: width before,"
        " ratio 1.5 |\n|---|---|---|---|---|---|---|---|"
    )
    for epsilon in EPSILONS:
        noises = {name: noise(heart, epsilon, changes) for name, changes in FORMS.items()}
        for records in SIZES:
            print(f"| {epsilon:g}, {records:,} | " + " | ".join(row(noises, records, draws)) + " |")
    print(f"\n{time.process_time() - began:.0f} CPU seconds")


def crowded(draws: int) -> None:
    """Print a Markdown table: fine bins, where they are finest, and the area's interval."""
    from scipy.stats import norm

    credit = document.load(CONFIGS / "credit.charter.toml")
    print("| fine bins | finest at | interval of the area, mean | width | holds the area |")
    print("|---|---|---|---|---|")
    for bins, finest in (
        (64, None), (256, None), (1024, None), (256, 0.78125), (256, 0.95), (1024, 0.95)
    ):  # fmt: skip
        changes: dict[str, object] = {"bins": bins, "finest_at": finest}
        layout, counts, scores = noise(credit, credit.privacy.evaluation.epsilon, changes)
        rng, found = np.random.default_rng(16), []
        for _ in range(draws):
            labels = (rng.random(CREDIT_RECORDS) < 0.78).astype(np.int64)
            logits = CROWD * (rng.normal(size=len(labels)) + norm.ppf(0.72) * 2**0.5 * labels)
            answers = 1.0 / (1.0 + np.exp(-logits) * 0.05 / 0.95)
            groups = np.stack([rng.integers(0, n, len(labels)) for n in layout.shape], axis=1)
            tables = opened((groups, labels, answers), layout, counts, scores, rng)
            found.append(area(everyone(tables)))
        low, high = np.array(found).T
        held = np.mean((low <= 0.72) & (high >= 0.72))
        print(
            f"| {bins} | {finest or 'equal widths'} | {low.mean():.3f} to {high.mean():.3f} | "
            f"{np.mean(high - low):.3f} | {held:.2f} |"
        )


def noise(
    heart: Charter, epsilon: float, changes: dict[str, object]
) -> tuple[Layout, float, float]:
    """Return the layout, and the variance of the noise on each opened count and score bin."""
    terms = dataclasses.replace(heart.privacy.evaluation, epsilon=epsilon, **changes)  # type: ignore[arg-type]
    privacy = dataclasses.replace(heart.privacy, evaluation=terms)
    charter = dataclasses.replace(heart, privacy=privacy)
    plan = make_plan(charter).fairness
    layout = dataclasses.replace(layout_of(charter), explained=NOTHING_EXPLAINED)
    honest = SITES / (SITES - COLLUDERS)
    return layout, plan.counts.std**2 * honest, plan.histogram.std**2 * honest


def row(noises: dict[str, tuple[Layout, float, float]], records: int, draws: int) -> Iterator[str]:
    """Yield the cells of one line."""
    rng = np.random.default_rng([records, 16])
    areas: dict[str, list[tuple[float, float]]] = {}
    gaps: dict[str, list[float]] = {}
    widths: dict[str, list[float]] = {}
    for _ in range(draws):
        people = drawn(rng, records)
        for name, (layout, counts, scores) in noises.items():
            tables = opened(people, layout, counts, scores, rng)
            if name == "one block":
                areas.setdefault("before", []).append(area(as_opened(tables)))
            areas.setdefault(name, []).append(area(everyone(tables)))
            gap = aggregate(tables, "equal_opportunity_difference", feature="sex", minimum_cell=0)
            gaps.setdefault(name, []).append(gap.high)
            right = overall(tables, "accuracy_score")
            widths.setdefault(name, []).append(right.high - right.low)
    for found in areas.values():
        low, high = np.array(found).T
        held = np.mean((low <= AREA) & (high >= AREA))
        yield f"{np.mean(high - low):.3f} ({held:.2f})"
    for side in (gaps, widths):
        yield ", ".join(f"{np.mean(side[name]):.3f}" for name in ("one block", "8 + 64, 1.5"))


def drawn(rng: np.random.Generator, records: int) -> tuple[np.ndarray, np.ndarray, FloatArray]:
    """Return groups, labels and scores of records that are drawn alike in every group."""
    from scipy.stats import norm

    labels = (rng.random(records) < 0.5).astype(np.int64)
    apart = norm.ppf(AREA) * SPREAD * 2**0.5
    logits = rng.normal(size=records) * SPREAD + apart * (labels - 0.5)
    women = (rng.random(records) < 1 / 3).astype(np.int64)
    groups = np.stack([1 - women, rng.integers(0, 3, records)], axis=1)
    return groups, labels, 1.0 / (1.0 + np.exp(-logits))


def opened(
    people: tuple[np.ndarray, np.ndarray, FloatArray],
    layout: Layout,
    counts: float,
    scores: float,
    rng: np.random.Generator,
) -> Tables:
    """Return the noised tables as a run opens them."""
    vector = tabulate(layout, groups=people[0], labels=people[1], scores=people[2])
    half = np.repeat([counts, scores], [layout.counts_length, layout.histogram_length]) / 2.0
    return Tables.from_vector(
        vector + rng.poisson(half) - rng.poisson(half),
        layout=layout,
        counts_variance=counts,
        histogram_variance=scores,
        sites=SITES,
    )


def as_opened(tables: Tables) -> Partition:
    """Return everyone's histogram as it was opened, reconciled with nothing."""
    found = everyone(tables)
    raw = tables.histogram.sum(axis=0, keepdims=True).astype(np.float64)
    return dataclasses.replace(found, histogram=raw, noise=None)


def area(partition: Partition) -> tuple[float, float]:
    """Return the limits of the area at 95 %, cut to [0, 1]."""
    found = area_bands(partition, z=two_sided(0.95))
    return max(0.0, float(found.low[0])), min(1.0, float(found.high[0]))


if __name__ == "__main__":
    main()
