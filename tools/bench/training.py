"""What a private training step costs here: against the same step without privacy, and uncached.

All variants take a step on the same records, interleaved in one process on one thread; the figures
are the least CPU seconds of several runs and ratios between them, which mean the same on a busy
machine.
`training_peers.py` sets the step beside Opacus's modes.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from fedethics.charter.document import load
from fedethics.data.reading import read_records
from fedethics.privacy.noise import NoiseSource
from fedethics.simulation.scenario import load as load_scenario
from fedethics.training.activations import Activations, Batch
from fedethics.training.dp_sgd import train_round
from fedethics.training.engines import Engine
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms
from tools.bench.data_sets import fetched

ROOT = Path(__file__).resolve().parents[2]
VOCABULARY = (1000, 20_000)
_STEPS = 10


def main() -> None:
    """Print seconds and ratios, as lines or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=tuple(MEASURES), default=None)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    figures: dict[str, float] = {}
    for name, measure in MEASURES.items():
        if chosen.only in (None, name):
            figures |= measure(chosen.repeats)
    if chosen.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        print(f"{name:70s} {value:10.4f}")


def keep_memory() -> None:
    """Let glibc keep freed memory: faulting it in again falls on variants at random, up to 15 %."""
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return  # another C library; figures are noisier
    trim_threshold, mmap_threshold = -1, -3
    libc.mallopt(trim_threshold, 1 << 30)
    libc.mallopt(mmap_threshold, 1 << 30)


def learner_of(charter: str, layers: Sequence[int]) -> Learner:
    """Return the learner of a demo charter with LoRA of rank 8 on query and value of `layers`."""
    draft = load(ROOT / "configs" / f"{charter}.charter.toml")
    targets = ("q_proj", "v_proj") if charter == "heart-sft" else ("query", "value")
    adapter = dataclasses.replace(
        draft.adapter, layers=tuple(layers), rank=8, form="both", targets=targets
    )
    model = dataclasses.replace(draft.model, max_tokens=512)
    return Learner(dataclasses.replace(draft, adapter=adapter, model=model))


def records(lengths: Sequence[int]) -> Activations:
    """Return records of random token ids with the given lengths."""
    random = np.random.default_rng(0)
    return Activations(
        tuple(torch.from_numpy(random.integers(*VOCABULARY, length)) for length in lengths)
    )


def states_of(learner: Learner, ids: Activations) -> Activations:
    """Return the frozen prefix's states of each record."""
    states: list[torch.Tensor] = [torch.empty(0)] * len(ids)
    for batch in learner.batches(ids, np.arange(len(ids))):
        for row, one in zip(batch.rows, learner.states(batch), strict=False):
            states[row] = one
    return Activations(tuple(states))


def private_step(
    learner: Learner,
    activations: Activations,
    *,
    physical: int,
    engine: Engine = "opacus",
    steps: int = 1,
) -> None:
    """Take private steps on all records: sample, clip, sum, noise, update."""
    count = len(activations)
    learner.compute = dataclasses.replace(learner.compute, gradients=engine)
    terms = LocalTerms(
        steps=steps, sampling_rate=1.0, clipping_norm=1.0, noise_multiplier=1.0,
        expected_batch=float(count), optimizer="sgd", learning_rate=0.0, physical_batch=physical,
    )  # fmt: skip
    train_round(
        learner, vector=learner.initial_vector(), activations=activations, labels=labels_of(count),
        terms=terms, noise=NoiseSource.from_os(),
    )  # fmt: skip


def plain_step(learner: Learner, activations: Activations) -> None:
    """Take the gradient of the mean loss over one padded batch: no privacy, no sorting."""
    rows = np.arange(len(activations))
    batch = Batch(rows=rows, hidden=activations.hidden)
    learner.losses(batch, labels_of(len(rows))).mean().backward()
    step(learner)


def plain_causal_step(learner: Learner, ids: Activations) -> None:
    """The same as a plain trainer does it: logits at every place, padding and prompt masked."""
    padded = pad_sequence(list(ids.hidden), batch_first=True)
    lengths = torch.tensor([len(one) for one in ids.hidden])
    logits = learner.model(input_ids=padded, attention_mask=(padded > 0).long()).logits
    places = torch.arange(len(lengths))
    answers = torch.from_numpy(labels_of(len(lengths)).astype(np.int64))
    every = torch.full(padded.shape, -100)
    every[places, lengths - 1] = answers
    cross_entropy(logits.flatten(0, 1), every.flatten()).backward()
    step(learner)


def step(learner: Learner) -> None:
    """Move all parameters by their gradients times a rate of zero, and clear the gradients."""
    with torch.no_grad():
        for parameter in learner.parameters.values():
            if parameter.grad is not None:
                parameter -= 0.0 * parameter.grad
            parameter.grad = None


def labels_of(count: int) -> NDArray[np.int8]:
    """Return alternating labels."""
    return np.arange(count, dtype=np.int8) % 2


def short(repeats: int) -> dict[str, float]:
    """Private over plain step on cached activations of the encoder's top layer, by text length."""
    learner = learner_of("heart", [5])
    figures = {}
    for count, tokens in ((16, 5), (64, 7), (64, 12), (64, 22), (64, 42)):
        states = states_of(learner, records([tokens] * count))
        figures |= beside_plain(learner, states, f"cached, {count} x {tokens} tokens", repeats)
    return figures


def beside_plain(
    learner: Learner, activations: Activations, name: str, repeats: int
) -> dict[str, float]:
    """Return what a private step costs with each engine, over the plain step.

    A round has ten steps here, so that what a round does once weighs as it does in training.
    """

    def private(engine: Engine) -> None:
        private_step(learner, activations, physical=len(activations), engine=engine, steps=_STEPS)

    def plain() -> None:
        for _ in range(_STEPS):
            plain_step(learner, activations)

    seconds = least(
        {
            "plain": plain,
            "opacus": lambda: private("opacus"),
            "autograd": lambda: private("autograd"),
        },
        repeats,
    )
    plain_s = seconds.pop("plain")
    return {
        f"CPU ms a plain step, {name}": 1e3 * plain_s / _STEPS,
        **{f"{engine} over plain, {name}": value / plain_s for engine, value in seconds.items()},
    }


def texts(repeats: int) -> dict[str, float]:
    """Real texts as the presets word them, the presets' own adapter, 64 records of one site."""
    figures: dict[str, float] = {}
    for preset, file in (("heart", "cleveland.csv"), ("adult", "all.csv")):
        scenario, charter = load_scenario(ROOT / "configs" / f"{preset}.toml")
        data = fetched(scenario.dataset, file)
        read = read_records(data, charter.data).take(list(range(64)))
        learner = Learner(charter)
        activations = learner.activations(read.texts)
        tokens = round(sum(map(len, activations.hidden)) / 64)
        name = f"{preset}, 64 texts of some {tokens} tokens"
        figures |= beside_plain(learner, activations, name, repeats)
    return figures


def encoder(repeats: int) -> dict[str, float]:
    """MiniLM, 32 records of log-normal length, mean near 56, the longest 128."""
    lengths = np.random.default_rng(1).lognormal(np.log(46), 0.6, 32).clip(8, 128).astype(int)
    lengths[0] = 128
    ids = records(lengths.tolist())
    whole, top = learner_of("heart", range(6)), learner_of("heart", [5])
    states = states_of(top, ids)
    seconds = least(
        {
            "plain, padded": lambda: plain_step(whole, ids),
            "private, sorted": lambda: private_step(whole, ids, physical=32),
            "plain, padded, top layer": lambda: plain_step(top, ids),
            "private, top layer, uncached": lambda: private_step(top, ids, physical=32),
            "private, top layer, cached": lambda: private_step(top, states, physical=32),
        },
        repeats,
    )
    naive, cached = seconds["plain, padded"], seconds["private, top layer, cached"]
    return {
        **{f"CPU s, MiniLM: {name}": value for name, value in seconds.items()},
        "MiniLM: mean length over longest": float(np.mean(lengths)) / 128,
        "MiniLM: private sorted over plain padded": seconds["private, sorted"] / naive,
        "MiniLM: private cached top layer over plain padded": cached / naive,
        "MiniLM: top layer, plain padded uncached over private cached": (
            seconds["plain, padded, top layer"] / cached
        ),
        "MiniLM: top layer, private uncached over private cached": (
            seconds["private, top layer, uncached"] / cached
        ),
        "MiniLM: records a second, private cached top layer": 32 / cached,
    }


def decoder(repeats: int) -> dict[str, float]:
    """SmolLM2-135M, 8 records, the longest 128 tokens, an answer of one token."""
    ids = records([128, 40, 45, 50, 56, 64, 70, 90])
    top = learner_of("heart-sft", [29])
    states = states_of(top, ids)
    whole = learner_of("heart-sft", range(30))
    seconds = least(
        {
            "plain, padded, all logits": lambda: plain_causal_step(whole, ids),
            "private, sorted": lambda: private_step(whole, ids, physical=8),
            "private, top layer, cached": lambda: private_step(top, states, physical=8),
        },
        max(2, repeats // 2),
    )
    naive = seconds["plain, padded, all logits"]
    return {
        **{f"CPU s, SmolLM2: {name}": value for name, value in seconds.items()},
        "SmolLM2: private sorted over plain padded": seconds["private, sorted"] / naive,
        "SmolLM2: private cached top layer over plain padded": (
            seconds["private, top layer, cached"] / naive
        ),
    }


def least(variants: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Run all variants in turn, `repeats` times after one warm-up; return the least CPU seconds.

    The least, since what other work on the machine adds (cold caches) is never negative.
    """
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(repeats + 1):
        for name, run in variants.items():
            start = time.process_time()
            run()
            if turn:
                taken[name].append(time.process_time() - start)
    return {name: min(times) for name, times in taken.items()}


MEASURES = {"texts": texts, "short": short, "encoder": encoder, "decoder": decoder}

if __name__ == "__main__":
    main()
