"""DPO beside TRL's DPOTrainer: the loss and the gradient of each pair, without noise.

Pairs are made of PANDA: a person's rewriting is chosen, the text as it was is rejected. Both sides
have the same base model, words, LoRA (rank 8 on query and value of the top six layers) and adapter,
which was moved away from the start, so that losses are not log 2. TRL's loss of a pair is what its
`compute_loss` returns for that pair alone, and its gradient what `backward` leaves behind. Ours are
what a site clips, from both engines, each pair computed by itself.

    pip install --no-deps --target FOLDER trl==1.16.0 datasets pyarrow xxhash dill multiprocess
    python -m simulations.datasets fetch panda
    python -m tools.bench.preference FOLDER

Ends with exit code 1 if the two are further apart than `BOUND`.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from numpy.typing import NDArray

from fedethics.charter.model import Charter
from fedethics.data.content import Completion, Preference
from fedethics.policy.model import Compute
from fedethics.training.activations import Activations
from fedethics.training.engines import ENGINES, gradients_of
from fedethics.training.learner import Learner
from fedethics.training.loading import Quiet
from tools.bench import sft

BETA = 0.1
# Relative to the largest of all pairs: float32, summed in another order.
BOUND = 1e-4


def main() -> int:
    """Print the comparison as JSON; return 1 if it is beyond the bound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trl", type=Path, help="folder that holds trl and what it needs")
    parser.add_argument("--pairs", type=int, default=8)
    chosen = parser.parse_args()
    if missing := sft.without_trl("preference", chosen.trl):
        return missing
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    figures = compared(pairs_of(sft.records(chosen.pairs)))
    print(json.dumps(figures))
    apart = [value for name, value in figures.items() if name.startswith("apart")]
    return int(max(apart) > BOUND)


def pairs_of(said: Sequence[Completion]) -> list[Preference]:
    """Return the rewriting as the chosen answer, and the text as it was as the rejected one."""
    return [Preference(one.prompt, one.completion, one.prompt.split("\n", 1)[1]) for one in said]


def compared(pairs: Sequence[Preference]) -> dict[str, float]:
    """Return how far each engine's losses and gradients are from TRL's, relative to its largest."""
    charter = charter_of()
    learner = Learner(charter, compute=Compute(batches="alone"))
    vector = learner.initial_vector()
    vector += np.random.default_rng(1).normal(scale=0.02, size=vector.size).astype(np.float32)
    activations = learner.activations(list(pairs))
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer.of(pairs, charter, Path(folder))
        with learner.lock:
            learner.load(vector)
            peer.load(learner)
        found = [peer.loss_and_gradient(row, learner) for row in range(len(pairs))]
    losses = np.array([loss for loss, _ in found])
    gradients = np.stack([gradient for _, gradient in found])
    figures: dict[str, float] = {
        "pairs": len(pairs),
        "mean loss, TRL": float(losses.mean()),
        "least loss": float(losses.min()),
        "most loss": float(losses.max()),
        "median gradient norm, TRL": float(np.median(np.linalg.norm(gradients, axis=1))),
    }
    for engine in ENGINES:
        learner.compute = dataclasses.replace(learner.compute, gradients=engine)
        own, each = ours(learner, vector, activations)
        figures[f"apart, loss, {engine}"] = float(np.abs(own - losses).max() / losses.max())
        apart = np.abs(each - gradients).max() / np.abs(gradients).max()
        figures[f"apart, gradient, {engine}"] = float(apart)
    return figures


def charter_of() -> Charter:
    """Return the rewriting preset with LoRA of rank 8 on six layers, as task "preference"."""
    draft = sft.charter_of(sft.LAYERS["top 6"])
    return dataclasses.replace(
        draft, model=dataclasses.replace(draft.model, task="preference", beta=BETA)
    )


def ours(
    learner: Learner, vector: NDArray[np.float32], activations: Activations
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the loss of each pair, shape (n,), and its gradient, shape (n, p)."""
    count = len(activations)
    losses, gradients = np.empty(count), np.empty((count, learner.size), dtype=np.float32)
    with learner.lock, gradients_of(learner) as engine:
        learner.load(vector)
        targets = np.zeros(count, dtype=np.int16)
        for batch, (samples, own) in engine.each(activations, np.arange(count), targets):
            gradients[batch.rows] = samples[: len(batch.rows)].numpy()
            losses[batch.rows] = own[: len(batch.rows)].detach().numpy()
    return losses, gradients


@dataclass(frozen=True, eq=False)
class Peer:
    """TRL's DPOTrainer on the same base, words and LoRA; its reference is the base without it."""

    trainer: Any

    @classmethod
    def of(cls, pairs: Sequence[Preference], charter: Charter, folder: Path) -> Peer:
        """Make a trainer on `pairs`; `folder` is for what it writes."""
        with Quiet():
            transformers, trl = (importlib.import_module(name) for name in ("transformers", "trl"))
            base = sft.plain_base(charter, folder)
            tokenizer = transformers.AutoTokenizer.from_pretrained(base)

            class Prepared(trl.DPOTrainer):  # type: ignore[misc, name-defined]
                def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:  # noqa: ANN401
                    return dataset

            trainer = Prepared(
                model=transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
                args=trl.DPOConfig(
                    output_dir=str(folder / "trl"), beta=BETA, bf16=False, use_cpu=True,
                    max_length=None, gradient_checkpointing=False, save_strategy="no",
                    logging_strategy="no", report_to=[], disable_tqdm=True,
                ),
                train_dataset=sft.data_set([tokens(one, charter, tokenizer) for one in pairs]),
                processing_class=tokenizer,
                peft_config=sft.peft_config(charter, sft.LAYERS["top 6"]),
            )  # fmt: skip
        return cls(trainer)

    def load(self, learner: Learner) -> None:
        """Give TRL's adapter the values of the learner's."""
        sft.give_values(learner, self.trainer.model)

    def loss_and_gradient(self, row: int, learner: Learner) -> tuple[float, NDArray[np.float32]]:
        """Return DPO's loss of a pair by itself, and its gradient in the learner's order."""
        model = self.trainer.model.eval()
        model.zero_grad(set_to_none=True)
        batch = self.trainer.data_collator([self.trainer.train_dataset[row]])
        loss = self.trainer.compute_loss(model, dict(batch))
        loss.backward()
        theirs = {name: one.grad for name, one in model.named_parameters() if one.requires_grad}
        flat = [theirs[name].reshape(-1) for name in learner.parameters]
        return float(loss.detach()), torch.cat(flat).numpy().copy()


def tokens(one: Preference, charter: Charter, tokenizer: Any) -> dict[str, list[int]]:  # noqa: ANN401
    """Return a pair as DPOTrainer prepares it, by Hugging Face's tokens."""
    asked = charter.model.prompt.replace("{prompt}", one.prompt)
    prompt: list[int] = tokenizer(asked)["input_ids"]
    found = {"prompt_ids": prompt}
    for name, answer in (("chosen_ids", one.chosen), ("rejected_ids", one.rejected)):
        whole = tokenizer(asked + charter.model.answer.replace("{completion}", answer))["input_ids"]
        if whole[: len(prompt)] != prompt:
            raise ValueError("a prompt's tokens are not the beginning of the whole's")
        found[name] = whole[len(prompt) :]
    return found


if __name__ == "__main__":
    sys.exit(main())
