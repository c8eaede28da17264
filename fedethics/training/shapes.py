"""A charter's model from its configuration alone: its shapes, without its weights.

Built on PyTorch's meta device by the code that builds the real one, so the number of trained
parameters is the learner's own; nothing is allocated, and of the weights only their names are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoConfig

from fedethics.charter.model import Charter
from fedethics.charter.training_terms import AdapterTerms
from fedethics.errors import ModelError
from fedethics.learning_tasks import LearningTask, find_task
from fedethics.training.loading import (
    LOADERS,
    USUAL_HEADS,
    Loaded,
    Quiet,
    one_line,
    source,
)
from fedethics.training.locate import BaseModel, find_model
from fedethics.training.network import with_adapter


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shapes:
    """What a charter's model is made of.

    Attributes:
        model: the peft model on the meta device: shapes and names, no numbers.
        plain: the same without the adapter's names around it.
        base: where its files lie.
        trained: number of trained parameters, the length of the vector.
        in_a_round: the most of them that one round trains: "alternating" and "fedsvd" leave a
            factor alone.
    """

    model: Any
    plain: Any
    base: BaseModel
    trained: int
    in_a_round: int


def shapes_of(charter: Charter, *, model_dir: Path | None = None) -> Shapes:
    """Return the shapes of the model that `charter` names; its hash is not checked here.

    Raises:
        ModelError: no such folder or package, or the adapter does not fit the model.
    """
    base = find_model(charter.model, model_dir=model_dir)
    task = find_task(charter.model.task)
    classes = len(task.classes(charter.data.labels)) if task.trains_head else 0
    return shapes_in(base, task, lambda _config: charter.adapter, classes=classes)


def shapes_in(
    base: BaseModel,
    task: LearningTask,
    adapter: Callable[[Any], AdapterTerms],
    *,
    classes: int = 0,
) -> Shapes:
    """Return the shapes of the model in a folder.

    Args:
        base: where it lies.
        task: what it would be loaded for.
        adapter: gives the adapter, by the model's configuration.
        classes: width of the head, where the task trains one.

    Raises:
        ModelError: no model for this task, or the adapter does not fit it.
    """
    with torch.random.fork_rng(devices=[]), Quiet():
        try:
            config = AutoConfig.from_pretrained(base.folder, **source(base))
            if task.trains_head:
                config.num_labels = classes
            with torch.device("meta"):
                plain = LOADERS[task.architecture].from_config(config, trust_remote_code=False)
        except Exception as error:
            # Whatever a library makes of a folder that anybody may have written.
            raise ModelError(
                f"{base.folder}: no shapes for {task.name}: {one_line(error)}"
            ) from error
        fresh = _fresh(plain, base) if task.trains_head else frozenset[str]()
        heads = {name.split(".")[0] for name in fresh}
        if task.trains_head:
            heads |= {name for name, _ in plain.named_children()} & USUAL_HEADS
        loaded = Loaded(
            model=plain, heads=tuple(sorted(heads)), fresh=fresh, peft_type=task.peft_type
        )
        terms = adapter(config)
        model = with_adapter(loaded, terms)
    sizes = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    factors = {
        mark: sum(size for name, size in sizes.items() if f".lora_{mark}." in name) for mark in "AB"
    }
    trained = sum(sizes.values())
    left = {"fedsvd": factors["A"], "alternating": min(factors.values())}
    return Shapes(
        model=model,
        plain=plain,
        base=base,
        trained=trained,
        in_a_round=trained - left.get(terms.form, 0),
    )


def trained_parameters(charter: Charter, *, model_dir: Path | None = None) -> int:
    """Return how many parameters a step of this charter trains.

    Raises:
        ModelError: as `shapes_of`.
    """
    return shapes_of(charter, model_dir=model_dir).in_a_round


def _fresh(model: Any, base: BaseModel) -> frozenset[str]:  # noqa: ANN401  transformers has no types
    """Return the parameters outside the body that the weights do not hold."""
    stored: set[str] = set()
    if not base.gguf_file:
        for part in sorted(base.folder.glob("*.safetensors")):
            with safe_open(part, framework="numpy") as file:
                stored |= set(file.keys())
    body = model.base_model_prefix
    return frozenset(
        name
        for name, _ in model.named_parameters()
        if name.split(".")[0] != body and name not in stored
    )
