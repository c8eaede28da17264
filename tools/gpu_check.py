"""The whole training engine on a GPU: self-test, step time and peak memory, for both tasks.

`make gpu-check`. Skips by name where PyTorch sees no CUDA device. `--device cpu` tries the script.
Records are made up from the charters' columns.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Literal

import torch

from fedethics.charter.document import load
from fedethics.errors import FedethicsError
from fedethics.privacy.noise import NoiseSource
from fedethics.training.dp_sgd import train_round
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms
from fedethics.training.sample_records import sample_records
from fedethics.training.self_test import self_test

ROOT = Path(__file__).resolve().parent.parent
CHARTERS = ("heart", "heart-sft")
DTYPES: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
LINE = "{:12s} {:9s} {:>9s} {:>12s} {:>12s} {:>14s} {:>10s}"


def main() -> int:
    """Check every charter in both precisions; return 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--records", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5)
    chosen = parser.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("gpu-check: skipped, PyTorch sees no CUDA device on this machine")
        return 0
    where = torch.cuda.get_device_name() if chosen.device == "cuda" else "CPU"
    print(f"gpu-check on {where}, torch {torch.__version__}, {chosen.records} records a step")
    print(
        LINE.format("charter", "dtype", "cached", "ms a step", "peak MiB", "gradients off", "noise")
    )
    failed = 0
    for name in CHARTERS:
        for dtype in DTYPES:
            try:
                print(_line(name, dtype, chosen), flush=True)
            except FedethicsError as error:
                failed = 1
                print(f"{name:12s} {dtype:9s} FAILED [{error.code}] {error}")
    return failed


def _line(name: str, dtype: Literal["float32", "bfloat16"], chosen: argparse.Namespace) -> str:
    charter = load(ROOT / "configs" / f"{name}.charter.toml")
    texts, labels = sample_records(charter.data, chosen.records)
    on_gpu = chosen.device == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    learner = Learner(charter, device=chosen.device, dtype=dtype)
    terms = dataclasses.replace(
        LocalTerms.of(
            charter, noise_multiplier=1.0, declared_records=chosen.records, round_number=1
        ),
        steps=chosen.steps, sampling_rate=1.0, unit="record",
    )  # fmt: skip
    activations = learner.activations(texts)
    tested = self_test(learner, activations, labels, terms)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        # The update is copied to main memory at the end, so that the GPU has finished.
        train_round(
            learner, vector=learner.initial_vector(), activations=activations, labels=labels,
            terms=terms, noise=NoiseSource.from_os(),
        )  # fmt: skip
        seconds.append((time.perf_counter() - start) / chosen.steps)
    peak = f"{torch.cuda.max_memory_allocated() / 2**20:.0f}" if on_gpu else "-"
    return LINE.format(
        name, dtype, "yes" if learner.cached else "no", f"{1e3 * min(seconds):.1f}", peak,
        f"{tested.gradient_error:.1e}", f"{tested.noise_ratio:.3f}",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
