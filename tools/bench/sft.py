"""Supervised fine-tuning beside TRL's SFTTrainer: CPU seconds a record, an epoch, and the losses.

TRL trains without privacy, as its users set it up: random batches of 8, padded, completion-only
loss, float32, no checkpointing. Ours are private steps on the same records with the same LoRA (rank
8 on query and value). Variants take turns in one process on one thread; a figure is a variant's
CPU seconds over TRL's of the same turn.

`epoch` is a whole federation (four sites, distributed trust, secure sums, held-out records
measured) beside one epoch of TRL on all training records in one place.

TRL is no dependency of this project. Put it into a folder of its own and name it:

    pip install --no-deps --target FOLDER trl==1.16.0 datasets pyarrow xxhash dill multiprocess
    python -m simulations.datasets fetch panda
    python -m tools.bench.sft FOLDER
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import importlib
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch

from fedethics.charter.document import load
from fedethics.charter.model import Charter
from fedethics.data.content import Completion
from fedethics.errors import EXIT_ENVIRONMENT
from fedethics.policy.model import Compute
from fedethics.privacy.noise import NoiseSource
from fedethics.simulation import staging
from fedethics.simulation.federation import run_federation
from fedethics.simulation.partition import write_csv
from fedethics.simulation.scenario import ComparisonSetup, Scenario, SiteSetup
from fedethics.simulation.staging import Stage
from fedethics.site.home import SiteHome
from fedethics.site.records import site_records
from fedethics.training.activations import Activations
from fedethics.training.dp_sgd import train_round
from fedethics.training.learner import Learner
from fedethics.training.loading import Quiet, source
from fedethics.training.local_terms import LocalTerms
from fedethics.training.locate import locate_model
from tools.bench.data_sets import fetched
from tools.bench.training import keep_memory

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LAYERS = {"all": tuple(range(30)), "top 6": tuple(range(24, 30))}
TARGETS = ("q_proj", "v_proj")
TRL_BATCH = 8
SITES = 4
EPOCH_ROUNDS = 4
# What the preset's groups are read from; here they say nothing.
BESIDE = {"target": "woman", "corpus": "sst"}
_TOKENS = 256
_SEED = 5


def main() -> int:
    """Print what was asked for, as JSON lines."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trl", type=Path, help="folder that holds trl and what it needs")
    parser.add_argument("--records", type=int, default=32)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", choices=("losses", "steps", "epoch"), default=None)
    chosen = parser.parse_args()
    if missing := without_trl("sft", chosen.trl):
        return missing
    torch.set_num_threads(1)
    keep_memory()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    for name, measure in MEASURES.items():
        if chosen.only in (None, name):
            for figures in measure(chosen):
                print(json.dumps({"measure": name, **figures}), flush=True)
    return 0


def without_trl(bench: str, folder: Path) -> int:
    """Put TRL's folder where imports find it; return 0, or an exit code if TRL is not in it."""
    if not (folder / "trl").is_dir():
        print(
            f"tools.bench.{bench}: {folder} holds no trl, so nothing was measured beside it. To "
            f"get it: pip install --no-deps --target {folder} trl==1.16.0 datasets pyarrow "
            "xxhash dill multiprocess",
            file=sys.stderr,
        )
        return EXIT_ENVIRONMENT
    # Last: where this project has a package, its own is meant.
    sys.path.append(str(folder))
    return 0


def records(count: int) -> list[Completion]:
    """Return rewritings of all lengths, chosen at random, that fit into the model's tokens."""
    with fetched("panda", "every-length.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    order = np.random.default_rng(_SEED).permutation(len(rows)).tolist()
    learner = learner_of(LAYERS["top 6"])
    kept: list[Completion] = []
    for row in (rows[place] for place in order):
        one = Completion(row["prompt"], row["completion"])
        if learner.tokens([one]).left_out == 0:
            kept.append(one)
        if len(kept) == count:
            break
    return kept


def charter_of(layers: Sequence[int]) -> Charter:
    """Return the rewriting preset with LoRA of rank 8 on query and value of `layers`."""
    draft = load(CONFIGS / "rewrite.charter.toml")
    adapter = dataclasses.replace(
        draft.adapter, layers=tuple(layers), rank=8, form="both", targets=TARGETS
    )
    return dataclasses.replace(
        draft, adapter=adapter, model=dataclasses.replace(draft.model, max_tokens=_TOKENS)
    )


def learner_of(layers: Sequence[int]) -> Learner:
    """Return a learner that computes each record by itself, which is cheapest for few records."""
    return Learner(charter_of(layers), compute=Compute(batches="alone"))


def private_epoch(learner: Learner, activations: Activations) -> None:
    """Take one private step on all records: gradients apart, clipped, summed, noised."""
    count = len(activations)
    terms = LocalTerms(
        steps=1, sampling_rate=1.0, clipping_norm=0.15, noise_multiplier=1.0,
        expected_batch=float(count), optimizer="adam", learning_rate=1e-3, physical_batch=16,
    )  # fmt: skip
    train_round(
        learner, vector=learner.initial_vector(), activations=activations,
        labels=np.zeros(count, dtype=np.int8), terms=terms, noise=NoiseSource.from_os(),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Peer:
    """TRL's trainer on the same base, words and LoRA.

    Attributes:
        trainer: its SFTTrainer.
    """

    trainer: Any

    @classmethod
    def of(cls, said: Sequence[Completion], layers: Sequence[int], folder: Path) -> Peer:
        """Make a trainer on `said`.

        Args:
            said: the records.
            layers: that LoRA is on.
            folder: for what it writes, and for the base model in a form that it takes.
        """
        charter = charter_of(layers)
        with Quiet():
            transformers, trl = (importlib.import_module(name) for name in ("transformers", "trl"))
            base = plain_base(charter, folder)
            tokenizer = transformers.AutoTokenizer.from_pretrained(base)
            rows = [_tokens(one, charter, tokenizer) for one in said]
            trainer = trl.SFTTrainer(
                model=transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
                args=trl.SFTConfig(
                    output_dir=str(folder / "trl"), per_device_train_batch_size=TRL_BATCH,
                    per_device_eval_batch_size=1, num_train_epochs=1, learning_rate=1e-3,
                    max_length=_TOKENS, bf16=False, use_cpu=True,
                    dataset_kwargs={"skip_prepare_dataset": True},
                    gradient_checkpointing=False, save_strategy="no", logging_strategy="no",
                    report_to=[], disable_tqdm=True,
                ),
                train_dataset=data_set(rows),
                processing_class=tokenizer,
                peft_config=peft_config(charter, layers),
            )  # fmt: skip
        return cls(trainer)

    def epoch(self) -> None:
        """Train one epoch."""
        with contextlib.redirect_stdout(sys.stderr):
            self.trainer.train()

    def ids(self, row: int) -> list[int]:
        """Return the tokens of a record, as TRL made them."""
        return list(self.trainer.train_dataset[row]["input_ids"])

    def loss(self, row: int) -> float:
        """Return the completion-only loss of a record, computed by itself."""
        batch = self.trainer.data_collator([self.trainer.train_dataset[row]])
        with torch.no_grad():
            return float(self.trainer.compute_loss(self.trainer.model.eval(), dict(batch)))

    def load(self, learner: Learner) -> None:
        """Give TRL's adapter the values of the learner's."""
        give_values(learner, self.trainer.model)


def peft_config(charter: Charter, layers: Sequence[int]) -> Any:  # noqa: ANN401
    """Return peft's own LoRA of rank 8 on query and value of `layers`."""
    return importlib.import_module("peft").LoraConfig(
        r=8, lora_alpha=charter.adapter.alpha, lora_dropout=0.0, task_type="CAUSAL_LM",
        target_modules=list(TARGETS), layers_to_transform=list(layers),
    )  # fmt: skip


def give_values(learner: Learner, model: torch.nn.Module) -> None:
    """Give a peft model's adapter the values of the learner's.

    Raises:
        ValueError: the two are on different tensors.
    """
    ours = {name: value.detach() for name, value in learner.parameters.items()}
    theirs = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if ours.keys() != theirs.keys():
        raise ValueError("the two adapters are on different tensors")
    with torch.no_grad():
        for name, parameter in theirs.items():
            parameter.copy_(ours[name])


def plain_base(charter: Charter, folder: Path) -> Path:
    """Write the base model as plain float32 files: Trainer refuses a model that came as GGUF."""
    found = folder / "base"
    if not found.is_dir():
        transformers = importlib.import_module("transformers")
        base = locate_model(charter.model, model_dir=None)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            base.folder, dtype=torch.float32, **source(base)
        )
        for name in ("hf_quantizer", "is_quantized", "quantization_method"):
            if hasattr(model, name):
                delattr(model, name)
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.save_pretrained(found)
        transformers.AutoTokenizer.from_pretrained(base.folder, **source(base)).save_pretrained(
            found
        )
    return found


def _tokens(one: Completion, charter: Charter, tokenizer: Any) -> dict[str, list[int]]:  # noqa: ANN401
    """Return a record as SFTTrainer prepares a prompt with a completion, by Hugging Face's tokens.

    The prompt's number of tokens is where the loss begins.
    """
    prompt = charter.model.prompt.replace("{prompt}", one.prompt)
    whole = prompt + charter.model.answer.replace("{completion}", one.completion)
    ids, asked = tokenizer(whole)["input_ids"], tokenizer(prompt)["input_ids"]
    return {"input_ids": ids, "labels": [-100] * len(asked) + ids[len(asked) :]}


def data_set(rows: list[dict[str, list[int]]]) -> Any:  # noqa: ANN401
    """Return TRL's kind of data set, named by hand: its own naming pickles what it cannot."""
    table = importlib.import_module("datasets.table").InMemoryTable.from_pylist(rows)
    return importlib.import_module("datasets").Dataset(table, fingerprint="same-records")


def losses(chosen: argparse.Namespace) -> Iterator[dict[str, float]]:
    """Hold losses and tokens of each record to TRL's, at an adapter that changes the output."""
    said = records(min(chosen.records, 8))
    learner = learner_of(LAYERS["top 6"])
    vector = learner.initial_vector()
    vector += np.random.default_rng(1).normal(scale=0.02, size=vector.size).astype(np.float32)
    activations = learner.activations(said)
    # The first score is exp of minus the loss.
    ours = -np.log(learner.scores(vector, activations)[:, 0])
    base = -np.log(learner.scores(learner.initial_vector(), activations)[:, 0])
    with tempfile.TemporaryDirectory() as folder, learner.lock:
        peer = Peer.of(said, LAYERS["top 6"], Path(folder))
        learner.load(vector)
        peer.load(learner)
        theirs = np.array([peer.loss(row) for row in range(len(said))])
        read = [one.tolist() for one in learner.tokens(said).hidden]
        same = sum(peer.ids(row)[: len(ids)] == ids for row, ids in enumerate(read))
    yield {
        "records": len(said),
        "records with TRL's tokens": same,
        "mean loss": float(ours.mean()),
        "mean loss without the adapter": float(base.mean()),
        "largest difference of a record's loss to TRL's": float(np.abs(ours - theirs).max()),
    }


def steps(chosen: argparse.Namespace) -> Iterator[dict[str, float]]:
    """CPU seconds a record, every variant in every turn."""
    said = records(chosen.records)
    with tempfile.TemporaryDirectory() as folder:
        runs = _variants(said, Path(folder))
        turns = []
        for turn in range(1, chosen.turns + 1):
            seconds = {name: _cpu(run) / len(said) for name, run in runs.items()}
            turns.append(seconds)
            yield {"turn": turn, **seconds}
    for name in runs:
        ratios = [seconds[name] / seconds[_beside(name)] for seconds in turns]
        yield {
            "variant": name,
            "CPU s a record, median": float(np.median([seconds[name] for seconds in turns])),
            "over TRL, median": float(np.median(ratios)),
            "least": min(ratios),
            "most": max(ratios),
        }


def _variants(said: Sequence[Completion], folder: Path) -> dict[str, Callable[[], object]]:
    whole, top = learner_of(LAYERS["all"]), learner_of(LAYERS["top 6"])
    ids = whole.tokens(said)
    states = top.activations(said)
    lengths = [len(one) for one in ids.hidden]
    print(f"tokens a record: mean {np.mean(lengths):.0f}, most {max(lengths)}", file=sys.stderr)
    return {
        "TRL, all layers": Peer.of(said, LAYERS["all"], folder).epoch,
        "TRL, top 6": Peer.of(said, LAYERS["top 6"], folder).epoch,
        "private, all layers": lambda: private_epoch(whole, ids),
        "private, top 6": lambda: private_epoch(top, top.tokens(said)),
        "private, top 6, cached": lambda: private_epoch(top, states),
        "filling the cache, top 6": lambda: top.activations(said),
    }


def _beside(name: str) -> str:
    return "TRL, all layers" if "all layers" in name else "TRL, top 6"


def epoch(chosen: argparse.Namespace) -> Iterator[dict[str, float]]:
    """One epoch of four sites, from their keys to the last opened sum, beside TRL's on all."""
    said = records(chosen.records)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stage = _staged(said, folder)
        trained = [one for home in stage.homes.values() for one in _trained(home)]
        peer = Peer.of(trained, LAYERS["all"], folder)
        ours = _cpu(lambda: run_federation(stage))
        counted = {"training records": len(trained), "held-out records": len(said) - len(trained)}
        yield {**counted, "federation, CPU s": ours}
        for _ in range(chosen.turns):
            theirs = _cpu(peer.epoch)
            yield {"TRL, CPU s": theirs, "federation over TRL": ours / theirs}


def _staged(said: Sequence[Completion], folder: Path) -> Stage:
    """Return a federation of four sites whose training records are sampled once on average."""
    policy = (CONFIGS / "policy.text.toml").read_text(encoding="utf-8")
    (folder / "policy.toml").write_text(
        policy.replace("records = 50", "records = 2").replace(
            "multiplier = 0.5", "multiplier = 0.1"
        )
        + '\n[compute]\nbatches = "alone" # cheapest for few records\n',
        encoding="utf-8",
    )
    sites = []
    for number in range(SITES):
        own = [
            {"prompt": one.prompt, "completion": one.completion, **BESIDE}
            for one in said[number::SITES]
        ]
        (folder / f"site-{number}.csv").write_bytes(write_csv(own, tuple(own[0])))
        sites.append(
            SiteSetup(
                name=f"site-{number}", data=f"site-{number}.csv", policy="policy.toml",
                declared_records=len(own),
            )
        )  # fmt: skip
    draft = charter_of(LAYERS["all"])
    training = dataclasses.replace(draft.privacy.training, sampling_rate=1.0 / EPOCH_ROUNDS)
    draft = dataclasses.replace(
        draft,
        training=dataclasses.replace(draft.training, rounds=EPOCH_ROUNDS),
        privacy=dataclasses.replace(draft.privacy, training=training),
        data=dataclasses.replace(
            draft.data,
            # So that each of four small sites has a record on either side.
            holdout_fraction=0.25,
            content=dataclasses.replace(draft.data.content, max_characters=5000),
        ),
    )
    scenario = Scenario(
        name="epoch", charter="unread.toml", data_dir=".", sites=tuple(sites),
        comparisons=ComparisonSetup(seeds=(7,)),
    )  # fmt: skip
    return staging.build(scenario, draft, base=folder, data_dir=folder, run_dir=folder / "run")


def _trained(home: Path) -> list[Completion]:
    """Return a site's training records, as it splits them."""
    opened = SiteHome.open(home)
    train = site_records(opened.data_path, load(opened.charter_path)).train
    return [one for one in train.texts if isinstance(one, Completion)]


def _cpu(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


MEASURES = {"losses": losses, "steps": steps, "epoch": epoch}

if __name__ == "__main__":
    sys.exit(main())
