"""Load an agreed base model from disk, in eval mode.

Weights of linear layers and embeddings keep the 16 bits in which the file holds them, if it does
(quantised.py computes with them in float32); everything else is float32, as is a whole GGUF file.

Any Hugging Face encoder or decoder is loaded by its own configuration; code that comes with a model
is never run, and nothing is downloaded. A folder that cannot be used ends in one clear error.

Files of the folder are read without a word of the libraries on the screen (`Quiet`).
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    modeling_gguf_pytorch_utils,
)
from transformers.utils import logging as transformers_logging

from fedethics.errors import ModelError
from fedethics.learning_tasks import LearningTask
from fedethics.learning_tasks.task import Architecture
from fedethics.training.locate import BaseModel
from fedethics.training.quantised import may_stay_stored


def source(base: BaseModel) -> dict[str, Any]:
    """Return transformers' options for reading `base`: this machine's files only, and no code."""
    where = {"gguf_file": base.gguf_file} if base.gguf_file else {}
    return {"local_files_only": True, "trust_remote_code": False, **where}


def read_json(path: Path) -> dict[str, Any]:
    """Return the table that a JSON file holds.

    Raises:
        ModelError: unreadable, not JSON, or not a table.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON; fetch the model again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} does not hold a table; fetch the model again")
    return found


def one_line(error: Exception) -> str:
    """Return what a library's error says in its first line, and of what kind it is."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


class Quiet:
    """Hold back loading chatter: progress, the head's missing weights (set later), old names."""

    def __enter__(self) -> None:
        self._verbosity = transformers_logging.get_verbosity()
        self._bars = transformers_logging.is_progress_bar_enabled()
        self._caught = warnings.catch_warnings()
        self._caught.__enter__()
        warnings.simplefilter("ignore", FutureWarning)
        transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        # The reader of GGUF files draws its own bar and asks nobody.
        self._gguf_reader = cast(Any, modeling_gguf_pytorch_utils)
        self._gguf_bar = self._gguf_reader.tqdm
        self._gguf_reader.tqdm = partial(self._gguf_bar, disable=True)

    def __exit__(self, *_: object) -> None:
        self._gguf_reader.tqdm = self._gguf_bar
        self._caught.__exit__(None, None, None)
        transformers_logging.set_verbosity(self._verbosity)
        if self._bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


LOADERS: Mapping[Architecture, Any] = {
    "sequence-classification": AutoModelForSequenceClassification,
    "causal-lm": AutoModelForCausalLM,
}
_CONFIG = "config.json"
# Set here for every site: they change what a layer computes with or returns, and no weights.
_OURS: Mapping[str, object] = {
    "use_cache": False, "return_dict": True, "output_attentions": False,
    "output_hidden_states": False, "problem_type": None,
}  # fmt: skip
# Tables of positions, by the ends of their names; a longer text reads beyond them.
_POSITIONS = ("position_embeddings", "wpe", "embed_positions")
# Where the head stands in models of either kind, if its weights came with the model.
USUAL_HEADS = frozenset({"classifier", "score"})
_STORED: Mapping[str, torch.dtype] = {"BF16": torch.bfloat16, "F16": torch.float16}
# What of a configuration does not change the function that the weights compute.
_BOOKKEEPING = frozenset({
    "_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version",
    "quantization_config", "use_cache", "num_labels", "id2label", "label2id", "problem_type",
    "return_dict", "output_attentions", "output_hidden_states", "bos_token_id", "eos_token_id",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Loaded:
    """A base model as Hugging Face builds it.

    Attributes:
        model: with a head over classes, or with its language-model head.
        heads: children of the model that are trained whole; none for a causal LM.
        peft_type: what peft calls the architecture.
        fresh: names of the parameters that the weights did not hold: all of them are the heads'.
    """

    model: Any
    heads: tuple[str, ...]
    fresh: frozenset[str]
    peft_type: str


def load_base(base: BaseModel, task: LearningTask, *, classes: int, max_tokens: int) -> Loaded:
    """Load the base model for `task`.

    Args:
        base: a verified model on disk.
        task: what it is loaded for.
        classes: width of the head, where the task trains one.
        max_tokens: of the longest text that it must read.

    Raises:
        ModelError: not a model for this task, another head, weights missing outside the head or
            not finite, or fewer positions than `max_tokens`.
    """
    with torch.random.fork_rng(devices=[]), Quiet():
        try:
            model, report = _load(base, task, classes, stored_dtype(base))
        except ModelError:
            raise
        except Exception as error:
            # Whatever a library makes of a folder that anybody may have written.
            raise ModelError(
                f"{base.folder}: not a model for {task.name}: {one_line(error)}"
            ) from error
    if getattr(model.config, "is_encoder_decoder", False):
        raise ModelError(
            f"{base.folder} holds a {model.config.model_type!r} model, an encoder with a decoder; "
            "only encoders and only decoders are trained here"
        )
    body = model.base_model_prefix
    missing = set(report["missing_keys"])
    heads = {name for name, _ in model.named_children() if name != body}
    fresh_heads = heads if task.trains_head else set[str]()
    lost = {name for name in missing if name.split(".")[0] not in fresh_heads}
    if lost:
        raise ModelError(
            f"{base.folder} lacks weights that {task.name} needs ({', '.join(sorted(lost)[:4])}); "
            "they would be random, and different at each site"
        )
    trained = {name.split(".")[0] for name in missing} | (heads & USUAL_HEADS)
    _in_float32(model, trained if task.trains_head else set())
    if unfit := [*_not_finite(model), *_too_few_positions(model, max_tokens)]:
        raise ModelError(f"{base.folder}: {'; '.join(unfit)}")
    # Eval mode for good: dropout draws from a generator that the noise source does not own.
    model.eval()
    return Loaded(
        model=model,
        heads=tuple(sorted(trained)) if task.trains_head else (),
        fresh=frozenset(missing),
        peft_type=task.peft_type,
    )


def config_digest(base: BaseModel, config: Any) -> str:  # noqa: ANN401
    """Return the SHA-256 of what in a configuration changes the function that is computed.

    What config.json says and the loaded configuration does not repeat counts as well.
    """
    whole = config.to_dict()
    said = {} if base.gguf_file else read_json(base.folder / _CONFIG)
    kept = {name: value for name, value in {**said, **whole}.items() if name not in _BOOKKEEPING}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()


def stored_dtype(base: BaseModel) -> torch.dtype:
    """Return bfloat16 or float16 where every weight of the folder is stored so; else float32."""
    kinds: set[str] = set()
    if not base.gguf_file:
        for part in sorted(base.folder.glob("*.safetensors")):
            with safe_open(part, framework="numpy") as file:
                kinds |= {str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118
    floats = {kind for kind in kinds if kind[0] not in "IUB" or kind == "BF16"}
    return _STORED.get(floats.pop(), torch.float32) if len(floats) == 1 else torch.float32


def _in_float32(model: Any, heads: set[str]) -> None:  # noqa: ANN401
    """Make everything float32 that is trained, or that does not know how to read 16 bits."""
    staying = may_stay_stored(model)
    for name, parameter in model.named_parameters():
        if id(parameter) not in staying or name.split(".")[0] in heads:
            parameter.data = parameter.data.float()


def _load(base: BaseModel, task: LearningTask, classes: int, dtype: torch.dtype) -> tuple[Any, Any]:
    if not base.gguf_file:
        _refuse_settings(base)
    config = AutoConfig.from_pretrained(base.folder, **source(base))
    if task.trains_head:
        config.num_labels = classes
    for name, value in _OURS.items():
        setattr(config, name, value)
    model, report = LOADERS[task.architecture].from_pretrained(
        base.folder,
        config=config,
        use_safetensors=not base.gguf_file,
        dtype=dtype,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **source(base),
    )
    if any(b.is_floating_point() and b.dtype != torch.float32 for b in model.buffers()):
        # Constants that are made when a model is built were rounded to the weights' precision.
        return _load(base, task, classes, torch.float32)
    # Asked for by name, since the library's own refusal says neither which nor what to do.
    if unlike := sorted(report["mismatched_keys"]):
        name, found, needed = unlike[0]
        raise ModelError(
            f"{base.folder}: {name} has shape {tuple(found)} in the weights and {tuple(needed)} by "
            f"config.json and the task {task.name}"
            + (
                "; it is a head for other labels. Take the base model without that head"
                if name.split(".")[0] != model.base_model_prefix
                else "; the files do not belong together"
            )
        )
    return model, report


def _refuse_settings(base: BaseModel) -> None:
    """Refuse what makes another model of the same weights and is in no hash."""
    said = read_json(base.folder / _CONFIG)
    if said.get("quantization_config") is not None:
        raise ModelError(
            f"{base.folder / _CONFIG}: quantization_config would make other weights of those that "
            'the charter names; take the model in full precision. model.quantisation = "int8" or '
            '"nf4" in the charter keeps it in eight or four bits, the same at every site'
        )


def _not_finite(model: nn.Module) -> Iterator[str]:
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            yield f"weight {name} holds numbers that are not finite; fetch the model again"
            return


def positions(model: nn.Module) -> int | None:
    """Return the most tokens that the model has a table of positions for; None without a table."""
    # Roberta and its like begin to count behind the position of padding.
    tables = [
        module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and name.endswith(_POSITIONS)
    ]
    return min(tables, default=None)


def _too_few_positions(model: nn.Module, max_tokens: int) -> Iterator[str]:
    most = positions(model)
    if most is not None and max_tokens > most:
        yield (
            f"it reads texts of up to {most} tokens, and the charter's model.max-tokens is "
            f"{max_tokens}; lower it"
        )
