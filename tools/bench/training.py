"""Cost of private training on the embedded encoder: `python tools/bench/training.py`.

All variants take a step on the same batch, interleaved in one process on one thread; the figures
are medians of CPU seconds and ratios between them, so that they mean the same on a busy machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from fedethics.charter.document import load
from fedethics.privacy.noise import NoiseSource
from fedethics.training.activations import Activations
from fedethics.training.dp_sgd import LocalTerms, train_round
from fedethics.training.learner import Learner

ROOT = Path(__file__).resolve().parents[2]
WORDS = [
    "years",
    "old",
    "man",
    "woman",
    "chest",
    "pain",
    "angina",
    "exercise",
    "st",
    "depression",
    "heart",
    "rate",
    "63",
    "145",
    "2.3",
]


def main() -> None:
    """Print the medians and ratios, as a table or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=64)
    parser.add_argument("--words", type=int, default=40, help="longest text; the mean is half")
    parser.add_argument("--layers", type=int, nargs="+", default=[5])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    figures = measure(chosen.records, chosen.words, tuple(chosen.layers), chosen.repeats)
    if chosen.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        print(f"{name:45s} {value:10.4f}")


def measure(records: int, words: int, layers: tuple[int, ...], repeats: int) -> dict[str, float]:
    """Return medians of CPU seconds a step, and the ratios that the docs quote."""
    charter = load(ROOT / "configs" / "heart.charter.toml")
    adapter = dataclasses.replace(charter.adapter, layers=layers)
    learner = Learner(dataclasses.replace(charter, adapter=adapter))
    random = np.random.default_rng(0)
    texts = tuple(" ".join(random.choice(WORDS, random.integers(1, words))) for _ in range(records))
    labels = random.integers(0, 2, records).astype(np.int8)
    activations = learner.activations(texts)
    terms = LocalTerms(
        steps=1, sampling_rate=1.0, clipping_norm=1.0, noise_multiplier=1.0,
        expected_batch=float(records), optimizer="sgd", learning_rate=0.0, physical_batch=records,
    )  # fmt: skip
    vector, noise = learner.initial_vector(), NoiseSource.from_os()

    def private(states: Activations) -> None:
        train_round(
            learner, vector=vector, activations=states, labels=labels, terms=terms, noise=noise
        )

    seconds = medians(
        {
            "activations": lambda: learner.activations(texts),
            "private, cached": lambda: private(activations),
            "private, not cached": lambda: private(learner.activations(texts)),
            "non-private, cached": lambda: plain_step(learner, activations, labels),
        },
        repeats,
    )
    cached = seconds["private, cached"]
    return {
        **{f"CPU seconds: {name}": value for name, value in seconds.items()},
        "records a second, private, cached": records / cached,
        "private over non-private, both cached": cached / seconds["non-private, cached"],
        "not cached over cached, both private": seconds["private, not cached"] / cached,
    }


def plain_step(learner: Learner, activations: Activations, labels: np.ndarray) -> None:
    """Take the gradient of the mean loss over one padded batch, without clipping or noise."""
    (batch,) = activations.batches(np.arange(len(labels)), len(labels))
    targets = torch.from_numpy(labels[batch.rows].astype(np.int64))
    cross_entropy(learner.logits(batch), targets).backward()
    for parameter in learner.parameters.values():
        parameter.grad = None


def medians(variants: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Run all variants in turn, `repeats` times after one warm-up; return median CPU seconds."""
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(repeats + 1):
        for name, run in variants.items():
            start = time.process_time()
            run()
            if turn:
                taken[name].append(time.process_time() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


if __name__ == "__main__":
    main()
