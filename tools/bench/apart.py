"""What it costs that a record's numbers depend on nothing beside it.

Real texts of three presets, their own adapter, all cores. Three ways in one process, in turn:
"sorted", batches of up to 64 records of like length, padded to the longest, as they were computed
before (there one record changes the last bits of others); "proven", batches of constant shapes;
"alone", one record at a time. States of the frozen layers for all records, scores of all, and the
gradients of one Poisson sample. `python -m tools.bench.apart [--only heart]`
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fedethics.data.reading import read_records
from fedethics.simulation.scenario import load as load_scenario
from fedethics.training.activations import Activations, Batch
from fedethics.training.clipping import clipped_sum
from fedethics.training.dp_sgd import site_of
from fedethics.training.engines import ENGINES, engine_for, gradients_of
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms

ROOT = Path(__file__).resolve().parents[2]
FILES = {"heart": "cleveland.csv", "adult": "all.csv", "redditbias": "all.csv"}
RECORDS, SORTED = 300, 64
_STRETCH, _SLACK = 1.5, 8
LINE = "{:11s} {:>6s}  {:10s} {:>9s} {:>9s} {:>9s} {:>9s} {:>9s} {:>9s} {:>9s}"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=tuple(FILES))
    chosen = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {RECORDS} records")
    print(LINE.format(
        "texts", "tokens", "what", "sorted", "proven", "alone", "proven /", "alone /", "proven /",
        "proof",
    ))  # fmt: skip
    print(
        LINE.format("", "", "", "wall s", "wall s", "wall s", "sorted", "sorted", "CPU", "once, s")
    )
    for name in FILES:
        if chosen.only in (None, name):
            measure(name, chosen.repeats)


def measure(name: str, repeats: int) -> None:
    """Print the lines of one preset."""
    scenario, charter = load_scenario(ROOT / "configs" / f"{name}.toml")
    data = ROOT / ".data" / scenario.dataset / FILES[name]
    read = read_records(data, charter.data)
    texts = read.take(list(range(min(RECORDS, len(read.texts))))).texts
    learner = Learner(charter)
    tokens = learner.tokens(texts)
    lengths = [len(entry) for entry in tokens.hidden]
    before = time.perf_counter()
    for length in sorted(set(lengths)):
        learner.shape_of(length)
    proof = time.perf_counter() - before
    states = learner.activations(texts)
    rows = np.arange(len(texts))
    rate = charter.privacy.training.sampling_rate
    sampled = np.flatnonzero(np.random.default_rng(0).random(len(rows)) < rate)
    ways = {
        "states": (
            lambda: sorted_states(learner, tokens),
            lambda: learner.activations(texts),
        ),
        "scores": (
            lambda: sorted_scores(learner, states),
            lambda: learner.scores(learner.initial_vector(), states),
        ),
        "gradients": (
            lambda: sorted_gradients(learner, states, sampled),
            lambda: apart_gradients(learner, states, sampled),
        ),
    }
    for what, (company, apart) in ways.items():
        wall, cpu = least(company, apart, learner, repeats)
        print(LINE.format(
            name, f"{min(lengths)}-{max(lengths)}", what,
            *(f"{one:.3f}" for one in wall),
            f"{wall[1] / wall[0]:.2f}", f"{wall[2] / wall[0]:.2f}", f"{cpu[1] / cpu[0]:.2f}",
            f"{proof:.1f}",
        ), flush=True)  # fmt: skip


def least(
    company: Callable[[], object], apart: Callable[[], object], learner: Learner, repeats: int
) -> tuple[list[float], list[float]]:
    """Return the least wall and CPU seconds of sorted, proven and alone, after one warm-up."""

    def alone() -> None:
        with learner.one_at_a_time():
            apart()

    wall: list[list[float]] = [[], [], []]
    cpu: list[list[float]] = [[], [], []]
    for turn in range(repeats + 1):
        for way, run in enumerate((company, apart, alone)):
            start, spent = time.perf_counter(), time.process_time()
            run()
            if turn:
                wall[way].append(time.perf_counter() - start)
                cpu[way].append(time.process_time() - spent)
    return [min(times) for times in wall], [min(times) for times in cpu]


def by_length(activations: Activations, rows: NDArray[np.intp]) -> Iterator[Batch]:
    """Yield batches of like length, each padded to its own longest record."""
    lengths = np.array([len(activations.hidden[row]) for row in rows])
    order = np.argsort(lengths, kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        first = lengths[order[start]]
        full = end - start == SORTED
        if end == len(order) or full or lengths[order[end]] > _STRETCH * first + _SLACK:
            yield activations.together(rows[order[start:end]])
            start = end


def sorted_states(learner: Learner, tokens: Activations) -> None:
    """Compute the frozen layers' states of all records."""
    for batch in by_length(tokens, np.arange(len(tokens))):
        learner.states(batch)


def sorted_scores(learner: Learner, states: Activations) -> None:
    """Compute all scores."""
    with learner.lock, torch.no_grad():
        learner.load(learner.initial_vector())
        for batch in by_length(states, np.arange(len(states))):
            learner.outputs(batch).double().softmax(dim=1).numpy()


def sorted_gradients(learner: Learner, states: Activations, rows: NDArray[np.intp]) -> None:
    """Clip and add the gradients of `rows`, in float32 products as before."""
    labels = np.arange(len(states), dtype=np.int8) % 2
    total = torch.zeros(learner.size, dtype=torch.float64)
    with learner.lock, ENGINES[engine_for(learner)](learner) as engine:
        learner.load(learner.initial_vector())
        for batch in by_length(states, rows):
            samples, _ = engine(batch, labels)
            norms = torch.linalg.vector_norm(samples, dim=1, dtype=torch.float64)
            factors = (1.0 / norms.clamp(min=1e-30)).clamp(max=1.0)
            total += (factors.to(samples.dtype) @ samples).double()


def apart_gradients(learner: Learner, states: Activations, rows: NDArray[np.intp]) -> None:
    """Clip and add the gradients of `rows` as a site does."""
    labels = np.arange(len(states), dtype=np.int8) % 2
    terms = LocalTerms(
        steps=1, sampling_rate=1.0, clipping_norm=1.0, noise_multiplier=1.0,
        expected_batch=float(len(rows)), optimizer="sgd", learning_rate=0.0,
    )  # fmt: skip
    with learner.lock, gradients_of(learner) as gradients:
        learner.load(learner.initial_vector())
        site = site_of(learner, gradients, states, labels, units=None, terms=terms)
        clipped_sum(site, rows, terms=terms)


if __name__ == "__main__":
    main()
