"""The whole training engine on a GPU: self-test, step time and peak memory; then a federated run.

`make gpu-check`. Skips by name where PyTorch sees no CUDA device. `--device cpu` tries the script.
Both engines and precisions, with and without checkpointing, the base in eight and in four bits.
Records are made up from the charters' columns. The run: three offices fine-tune the decoder on the
letters of examples/sft.py, with differential privacy and secure sums; the sum of clipped gradients
on the device is held to the CPU's.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import importlib.util
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch

from fedethics import terms as documents
from fedethics.canonical import Json
from fedethics.charter.document import load
from fedethics.charter.model import Charter
from fedethics.data.content import Content
from fedethics.data.reading import read_records
from fedethics.data.records import split
from fedethics.errors import FedethicsError, SetupError
from fedethics.fairness import overall
from fedethics.policy.model import Compute
from fedethics.privacy.noise import NoiseSource
from fedethics.release import folder as run_folder
from fedethics.simulation import staging
from fedethics.simulation.federation import run_federation
from fedethics.simulation.scenario import Scenario
from fedethics.simulation.scenario import load as load_scenario
from fedethics.site.home import SiteHome
from fedethics.terms import toml_text
from fedethics.training.check_bench import sample_records
from fedethics.training.clipping import Site, clipped_sum
from fedethics.training.dp_sgd import train_round
from fedethics.training.engines import gradients_of
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
# Of the federated run: how each office computes, and the base's rounding.
RUNS: dict[str, tuple[Compute, Literal["none", "nf4"]]] = {
    "run: float32, Opacus": (PLAIN, "none"),
    "run: bfloat16, autograd": (Compute(dtype="bfloat16", gradients="autograd"), "none"),
    "run: bfloat16, Opacus, checkpointing, nf4": (
        Compute(dtype="bfloat16", checkpointing=True), "nf4",
    ),
    "run: float32, Opacus, two devices": (Compute(devices=("cuda:0", "cuda:1")), "none"),
}  # fmt: skip
RECORDS_HELD = 16
# Largest difference of a coordinate of the clipped sum to the CPU's, in clipping norms.
ALLOWED = {"float32": 1e-3, "bfloat16": 0.3}
LINE = "{:10s} {:32s} {:>6s} {:>10s} {:>10s} {:>9s} {:>9s} {:>7s} {:>8s}"


def main() -> int:
    """Check every charter in every variant; return 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--records", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=6, help="of the federated run")
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
    return failed | _runs(chosen)


def _runs(chosen: argparse.Namespace) -> int:
    """Print a line for each federated run; return 1 if one fails."""
    failed = 0
    print("federated run: three offices, letters of examples/sft.py")
    for name, (compute, quantisation) in RUNS.items():
        if chosen.only not in name:
            continue
        if quantisation == "nf4" and find_spec("bitsandbytes") is None:
            print(f"{name:42s} skipped, bitsandbytes is not installed")
            continue
        if compute.devices and chosen.device == "cpu":
            compute = dataclasses.replace(compute, devices=("cpu", "cpu"))
        elif len(compute.places) > max(1, torch.cuda.device_count()):
            print(f"{name:42s} skipped, PyTorch sees {torch.cuda.device_count()} CUDA device")
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                base = ROOT / "examples" / "sft"
                scenario, draft = load_scenario(base / "letters.toml")
                model = dataclasses.replace(draft.model, quantisation=quantisation)
                draft = dataclasses.replace(draft, model=model)
                done = federated(
                    scenario, draft, Path(folder), records=chosen.records, rounds=chosen.rounds,
                    compute=dataclasses.replace(compute, device=chosen.device),
                )  # fmt: skip
                print(f"{name:42s} {done.line()}", flush=True)
                failed |= not done.sound
            except (FedethicsError, RuntimeError) as error:
                failed = 1
                print(f"{name:42s} FAILED {type(error).__name__}: {error}")
    return failed


@dataclass(frozen=True, kw_only=True, slots=True)
class FederatedRun:
    """What one run came to.

    Attributes:
        seconds: of wall time, from the first message to the last opened sum.
        step_ms: milliseconds of one office's private step over all its letters, the second time.
        tokens: learnt and read, of all training records, a second and round.
        peak_mib: of device memory; 0 on a CPU.
        loss: nats a token over the held-out records, by the opened tables.
        apart: largest difference of the clipped sum's coordinates to the CPU's, in clipping norms.
        allowed: the most that `apart` may be.
    """

    seconds: float
    step_ms: float
    tokens: float
    peak_mib: float
    loss: float
    apart: float
    allowed: float

    @property
    def sound(self) -> bool:
        """Whether the device's gradients are the CPU's within what its precision allows."""
        return self.apart <= self.allowed

    def line(self) -> str:
        """Return the figures in words."""
        return (
            f"{self.seconds:.1f} s, {self.step_ms:.0f} ms a step, {self.tokens:.0f} tokens/s, "
            f"peak {self.peak_mib:.0f} MiB, loss {self.loss:.3f}, off the CPU {self.apart:.1e} "
            f"({'ok' if self.sound else 'FAILED'}, at most {self.allowed:.0e})"
        )


def federated(
    scenario: Scenario, draft: Charter, folder: Path, *, records: int, rounds: int, compute: Compute
) -> FederatedRun:
    """Run three offices on made-up letters, and hold the device's gradients to the CPU's.

    Args:
        scenario: of examples/sft, perhaps with another model folder.
        draft: its charter.
        folder: for the letters and the run; empty.
        records: letters of each office.
        rounds: of training.
        compute: where and how each office computes.

    Raises:
        FedethicsError: the run could not start or finish.
    """
    write_letters(folder / "letters", records=records)
    policy = (ROOT / "examples" / "sft" / "policy.toml").read_text(encoding="utf-8")
    table = toml_text(cast(Mapping[str, Json], documents.document(compute)))
    (folder / "policy.toml").write_text(f"{policy}\n[compute]\n{table}", encoding="utf-8")
    draft = dataclasses.replace(draft, training=dataclasses.replace(draft.training, rounds=rounds))
    stage = staging.build(
        scenario, draft, base=folder, data_dir=folder / "letters", run_dir=folder / "run"
    )
    if compute.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    run_federation(stage)
    seconds = time.perf_counter() - began
    home = SiteHome.open(next(iter(stage.homes.values())))
    texts = split(read_records(home.data_path, draft.data), draft.data).train.texts
    on_cpu = Learner(draft, model_dir=home.model_dir)
    on_device = Learner(draft, model_dir=home.model_dir, compute=compute)
    read = len(stage.homes) * sum(map(len, on_cpu.tokens(texts).hidden))
    sums = [_clipped(one, draft, texts[:RECORDS_HELD]) for one in (on_cpu, on_device)]
    loss = overall(run_folder.load(stage.run_dir).tables, "mean_token_loss").value
    peak = torch.cuda.max_memory_allocated() / 2**20 if compute.device == "cuda" else 0.0
    return FederatedRun(
        seconds=seconds,
        step_ms=_step_ms(on_device, draft, texts),
        tokens=read * rounds * draft.privacy.training.sampling_rate / seconds,
        peak_mib=peak,
        loss=loss,
        apart=float((sums[0] - sums[1]).abs().max()) / draft.privacy.training.clipping_norm,
        allowed=ALLOWED[compute.dtype],
    )


def write_letters(folder: Path, *, records: int) -> None:
    """Write the letters of examples/sft.py."""
    spec = importlib.util.spec_from_file_location("letters", ROOT / "examples" / "sft.py")
    if spec is None or spec.loader is None:
        raise SetupError("examples/sft.py is not there; nothing was run")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write(folder, records=records)


def _clipped(learner: Learner, charter: Charter, texts: Sequence[Content]) -> torch.Tensor:
    """Return the sum of clipped gradients of `texts`, away from the start, on the CPU."""
    vector = learner.initial_vector()
    vector += (0.02 * np.sin(np.arange(learner.size))).astype(np.float32)
    terms = LocalTerms.of(
        charter, noise_multiplier=1.0, declared_records=len(texts), round_number=1
    )
    rows = np.arange(len(texts))
    with learner.lock, gradients_of(learner) as gradients:
        learner.load(vector)
        site = Site(
            learner=learner, gradients=gradients, activations=learner.activations(texts),
            labels=np.zeros(len(texts), dtype=np.int16), units=rows,
        )  # fmt: skip
        return clipped_sum(site, rows, terms=terms).total.cpu()


def _step_ms(learner: Learner, charter: Charter, texts: Sequence[Content]) -> float:
    terms = LocalTerms.of(
        charter, noise_multiplier=1.0, declared_records=len(texts), round_number=1
    )
    terms = dataclasses.replace(terms, steps=1, sampling_rate=1.0, unit="record")
    activations, took = learner.activations(texts), 0.0
    for _ in range(2):
        began = time.perf_counter()
        train_round(
            learner, vector=learner.initial_vector(), activations=activations,
            labels=np.zeros(len(texts), dtype=np.int16), terms=terms, noise=NoiseSource.from_os(),
        )  # fmt: skip
        took = 1e3 * (time.perf_counter() - began)
    return took


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
