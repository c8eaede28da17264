"""The whole training engine on a GPU: self-test, step time and peak memory, for both tasks.

`make gpu-check`. Skips by name where PyTorch sees no CUDA device. `--device cpu` tries the script.
Both engines and precisions, with and without checkpointing, the base in eight and in four bits.
Records are made up from the charters' columns.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import torch

from fedethics.charter.document import load
from fedethics.errors import FedethicsError
from fedethics.policy.model import Compute
from fedethics.privacy.noise import NoiseSource
from fedethics.training.check_bench import sample_records
from fedethics.training.dp_sgd import train_round
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms
from fedethics.training.quantised import SCHEMES
from fedethics.training.self_test import self_test

ROOT = Path(__file__).resolve().parent.parent
CHARTERS = ("heart", "heart-sft")
PLAIN = Compute()
VARIANTS = {
    "float32, Opacus": PLAIN,
    "float32, autograd": Compute(gradients="autograd"),
    "bfloat16, Opacus": Compute(dtype="bfloat16"),
    "bfloat16, autograd": Compute(dtype="bfloat16", gradients="autograd"),
    "float32, Opacus, checkpointing": Compute(checkpointing=True),
    "bfloat16, autograd, checkpointing": Compute(
        dtype="bfloat16", gradients="autograd", checkpointing=True
    ),
    "float32, Opacus, cache on disk": Compute(cache="disk"),
    "float32, Opacus, int8 base": PLAIN,
    "float32, Opacus, nf4 base": PLAIN,
    "bfloat16, autograd, nf4 base": Compute(dtype="bfloat16", gradients="autograd"),
}
LINE = "{:10s} {:32s} {:>6s} {:>10s} {:>10s} {:>9s} {:>9s} {:>7s} {:>8s}"


def main() -> int:
    """Check every charter in every variant; return 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--records", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--only", default="", help="variants whose name holds this")
    chosen = parser.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("gpu-check: skipped, PyTorch sees no CUDA device on this machine")
        return 0
    where = torch.cuda.get_device_name() if chosen.device == "cuda" else "CPU"
    print(f"gpu-check on {where}, torch {torch.__version__}, {chosen.records} records a step")
    heads = (
        "charter",
        "variant",
        "cached",
        "ms a step",
        "peak MiB",
        "off loop",
        "apart",
        "noise",
        "batches",
    )
    print(LINE.format(*heads))
    failed = 0
    for name in CHARTERS:
        for variant in VARIANTS:
            if chosen.only not in variant:
                continue
            if "nf4" in variant and find_spec("bitsandbytes") is None:
                print(f"{name:10s} {variant:32s} skipped, bitsandbytes is not installed")
                continue
            try:
                print(_line(name, variant, chosen), flush=True)
            # What CUDA itself raises (out of memory, no kernel) is a RuntimeError.
            except (FedethicsError, RuntimeError) as error:
                failed = 1
                print(f"{name:10s} {variant:32s} FAILED {type(error).__name__}: {error}")
            gc.collect()
    return failed


def _line(name: str, variant: str, chosen: argparse.Namespace) -> str:
    charter = load(ROOT / "configs" / f"{name}.charter.toml")
    for scheme in SCHEMES:
        if scheme in variant:
            model = dataclasses.replace(charter.model, quantisation=scheme)
            charter = dataclasses.replace(charter, model=model)
    texts, labels = sample_records(charter.data, chosen.records)
    on_gpu = chosen.device == "cuda"
    if on_gpu:
        # What the last variant left in the allocator is not this one's.
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    compute = dataclasses.replace(VARIANTS[variant], device=chosen.device)
    learner = Learner(charter, compute=compute)
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
        name, variant, "yes" if learner.cached else "no", f"{1e3 * min(seconds):.1f}", peak,
        f"{tested.gradient_error:.1e}", f"{tested.engines_apart:.1e}", f"{tested.noise_ratio:.3f}",
        "alone" if tested.alone else f"{tested.shapes} proven",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
