"""Load an agreed base model and its tokenizer from disk, in float32 and eval mode.

Any Hugging Face encoder or decoder is loaded by its own configuration; code that comes with a model
is never run, and nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    modeling_gguf_pytorch_utils,
)
from transformers.utils import logging as transformers_logging

from fedethics.errors import ModelError
from fedethics.training.locate import BaseModel

Task = Literal["classification", "causal-lm"]

_TOKENIZER = "tokenizer.json"
_LOADERS = {
    "classification": AutoModelForSequenceClassification,
    "causal-lm": AutoModelForCausalLM,
}
# Where the head stands in models of either kind, if its weights came with the model.
_USUAL_HEADS = frozenset({"classifier", "score"})
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
        model: with a two-way head, or with its language-model head.
        heads: children of the model that are trained whole; none for a causal LM.
        fresh: names of the parameters that the weights did not hold: all of them are the heads'.
    """

    model: Any
    heads: tuple[str, ...]
    fresh: frozenset[str]


def load_base(base: BaseModel, task: Task) -> Loaded:
    """Load the base model for `task`.

    Raises:
        ModelError: not a model for this task, or weights missing outside the head.
    """
    with torch.random.fork_rng(devices=[]), Quiet():
        try:
            model, report = _load(base, task)
        except (ValueError, KeyError, OSError) as error:
            raise ModelError(f"{base.folder}: not a model for {task}: {error}") from error
    if getattr(model.config, "is_encoder_decoder", False):
        raise ModelError(
            f"{base.folder} holds a {model.config.model_type!r} model, an encoder with a decoder; "
            "only encoders and only decoders are trained here"
        )
    body = model.base_model_prefix
    missing = set(report["missing_keys"])
    heads = {name for name, _ in model.named_children() if name != body}
    lost = {name for name in missing if task == "causal-lm" or name.split(".")[0] not in heads}
    if lost:
        raise ModelError(
            f"{base.folder} lacks weights that {task} needs ({', '.join(sorted(lost)[:4])}); "
            "they would be random, and different at each site"
        )
    trained = {name.split(".")[0] for name in missing} | (heads & _USUAL_HEADS)
    # Eval mode for good: dropout draws from a generator that the noise source does not own.
    model.eval()
    return Loaded(
        model=model,
        heads=tuple(sorted(trained)) if task == "classification" else (),
        fresh=frozenset(missing),
    )


def load_tokenizer(base: BaseModel) -> Any:  # noqa: ANN401  transformers has no types
    """Load the tokenizer; its digest is `tokenizer_digest`.

    Raises:
        ModelError: there is none that reads texts alike everywhere.
    """
    if not base.gguf_file and not (base.folder / _TOKENIZER).is_file():
        raise ModelError(
            f"{base.folder} holds no {_TOKENIZER}; texts could not be read alike everywhere"
        )
    with Quiet():
        tokenizer = AutoTokenizer.from_pretrained(base.folder, **_source(base))
    if tokenizer.pad_token_id is None:
        # Padding is masked, so any token serves.
        tokenizer.pad_token_id = tokenizer.eos_token_id or 0
    return tokenizer


def tokenizer_digest(base: BaseModel) -> str:
    """Return the SHA-256 of the file that decides how texts are read."""
    data = b"in the weights" if base.gguf_file else (base.folder / _TOKENIZER).read_bytes()
    return hashlib.sha256(data).hexdigest()


def config_digest(config: Any) -> str:  # noqa: ANN401
    """Return the SHA-256 of what in a configuration changes the function that is computed."""
    kept = {name: value for name, value in config.to_dict().items() if name not in _BOOKKEEPING}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()


def _load(base: BaseModel, task: Task) -> tuple[Any, Any]:
    config = AutoConfig.from_pretrained(base.folder, **_source(base))
    if task == "classification":
        config.num_labels = 2
    config.use_cache = False
    return _LOADERS[task].from_pretrained(  # type: ignore[no-any-return]
        base.folder,
        config=config,
        use_safetensors=not base.gguf_file,
        dtype=torch.float32,
        output_loading_info=True,
        **_source(base),
    )


def _source(base: BaseModel) -> dict[str, Any]:
    where = {"gguf_file": base.gguf_file} if base.gguf_file else {}
    return {"local_files_only": True, "trust_remote_code": False, **where}


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
