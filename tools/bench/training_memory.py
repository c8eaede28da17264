"""Peak memory and time of one private step, each variant in a process of its own.

Resident memory above what the process held before the step, since allocations of PyTorch are not
Python's: the kernel's high-water mark is reset first (Linux only). "base" is what the frozen base's
weights take.

    python -m tools.bench.training_memory minilm
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path

import torch

from fedethics.charter.document import load
from fedethics.policy.model import Compute
from fedethics.training.learner import Learner
from tools.bench.training import ROOT, private_step, records

SHAPES = {"minilm": ("heart", 6, 32, 128), "smollm2": ("heart-sft", 30, 8, 256)}
VARIANTS = ("plain", "checkpointing", "int8")


def main() -> None:
    """Print one line for each variant and engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=tuple(SHAPES))
    parser.add_argument("--engines", nargs="+", default=["opacus", "autograd"])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--child", nargs=2, default=None, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(_measure(chosen.model, *chosen.child)))
        return
    for variant in chosen.variants:
        for engine in chosen.engines:
            command = [sys.executable, "-m", "tools.bench.training_memory", chosen.model]
            done = subprocess.run(
                [*command, "--child", engine, variant], check=True, capture_output=True, text=True
            )
            print(f"{chosen.model} {engine:8s} {variant:14s} {done.stdout.strip()}", flush=True)


def _measure(model: str, engine: str, variant: str) -> dict[str, float]:
    torch.set_num_threads(1)
    charter, layers, count, tokens = SHAPES[model]
    draft = load(ROOT / "configs" / f"{charter}.charter.toml")
    targets = ("q_proj", "v_proj") if charter == "heart-sft" else ("query", "value")
    adapter = dataclasses.replace(
        draft.adapter, layers=tuple(range(layers)), rank=8, form="both", targets=targets
    )
    terms = dataclasses.replace(
        draft.model, max_tokens=512, quantisation="int8" if variant == "int8" else "none"
    )
    learner = Learner(
        dataclasses.replace(draft, adapter=adapter, model=terms),
        compute=Compute(checkpointing=variant == "checkpointing"),
    )
    batch, few = records([tokens] * count), records([8] * 2)
    private_step(learner, few, physical=2, engine=engine)  # what is loaded once
    held = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    start = time.process_time()
    private_step(learner, batch, physical=count, engine=engine)
    return {
        "CPU s": round(time.process_time() - start, 2),
        "peak MiB above": round((_status("VmHWM") - held) / 1024),
        "base MiB": round(_base_bytes(learner) / 2**20),
    }


def _status(key: str) -> int:
    """Return a memory figure of this process, in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def _base_bytes(learner: Learner) -> int:
    trained = {id(parameter) for parameter in learner.parameters.values()}
    prefix = learner._network.prefix
    modules = [learner.model, *([prefix] if prefix is not None else [])]
    held = {
        id(one): one.numel() * one.element_size()
        for module in modules
        for one in (*module.parameters(), *module.buffers())
        if id(one) not in trained
    }
    return sum(held.values())


if __name__ == "__main__":
    main()
