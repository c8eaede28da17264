"""What adapter_config.json may say: what the charter implies, and nothing that changes the model.

The tensors alone do not make the model: peft reads from this file how strongly and where they act,
and which code to import. Keys and neutral values are those of peft 0.21's LoraConfig.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from pathlib import Path

from safetensors import SafetensorError, safe_open

from fedethics.canonical import Json
from fedethics.charter.model import Charter
from fedethics.errors import ReleaseError
from fedethics.release import durable
from fedethics.release.folder import ADAPTER, ADAPTER_CONFIG, Folder, located
from fedethics.release.rules.rule import Findings, Rule

# Switched off, or of no effect while the others are off. What is absent has this value too.
_NEUTRAL: dict[str, Json] = {
    "alora_invocation_tokens": None,
    "alpha_pattern": {},
    "arrow_config": None,
    "auto_mapping": None,  # Sensitive: names a library that peft would import.
    "corda_config": None,
    "ensure_weight_tying": False,
    "eva_config": None,
    "exclude_modules": None,
    "inference_mode": True,
    "init_lora_weights": True,
    "kasa_config": None,
    "layer_replication": None,
    "loftq_config": {},
    "lora_bias": False,
    "lora_ga_config": None,
    "megatron_config": None,
    "megatron_core": "megatron.core",  # Sensitive: the name of a module to import.
    "monteclora_config": None,
    "qalora_group_size": 16,
    "rank_pattern": {},
    "revision": None,
    "target_parameters": None,
    "trainable_token_indices": None,
    "use_bdlora": None,
    "use_dora": False,
    "use_qalora": False,
    "use_rslora": False,
    "velora_config": None,
}
# What the charter cannot know, by form: peft itself sets the first by the kind of each layer.
_BY_FORM: dict[str, Callable[[Json], bool]] = {
    "fan_in_fan_out": lambda value: isinstance(value, bool),
    "layers_pattern": lambda value: _is_name(value),
    "peft_version": lambda value: bool(
        isinstance(value, str) and re.fullmatch(r"[0-9A-Za-z.+]{1,40}", value)
    ),
}
_HEADS = "modules_to_save"
_MOST_SHOWN = 60


def adapter_config(folder: Folder) -> Rule:
    """Judge whether the adapter is applied as the charter says."""
    adapter = folder.charter.adapter
    return Findings(faults=_faults(folder)).rule(
        "the adapter is applied as agreed",
        topic="integrity",
        holds=f"{ADAPTER_CONFIG} says what the charter implies: LoRA of rank {adapter.rank} and "
        f"alpha {adapter.alpha:g} on {', '.join(adapter.targets)}, and nothing else.",
        evidence=ADAPTER_CONFIG,
    )


def _faults(folder: Folder) -> tuple[str, ...]:
    try:
        data = durable.read(located(folder.path, ADAPTER_CONFIG))
    except ReleaseError as error:
        return (str(error),)
    try:
        said = json.loads(data)
        # One spelling only, that of the training: no key twice, which readers take differently.
        as_written = json.dumps(said, indent=2, sort_keys=True).encode() + b"\n" == data
    except (ValueError, RecursionError):
        return (f"{ADAPTER_CONFIG} is not JSON.",)
    if not isinstance(said, dict) or not as_written:
        return (f"{ADAPTER_CONFIG} is not in the form in which training writes it.",)
    return (
        *_not_as_agreed(said, _agreed(folder.charter)),
        *_not_neutral(said),
        *_unknown(said, {*_agreed(folder.charter), _HEADS, *_NEUTRAL, *_BY_FORM}),
        *_wrong_heads(said, folder),
    )


def _agreed(charter: Charter) -> dict[str, Json]:
    """Return what the charter fixes, as training hands it to peft."""
    adapter = charter.adapter
    return {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if charter.model.task == "classification" else "CAUSAL_LM",
        "base_model_name_or_path": charter.model.name,
        "r": adapter.rank,
        "lora_alpha": float(adapter.alpha),
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": [*sorted(set(adapter.targets))],
        "layers_to_transform": [*adapter.layers],
    }


def _not_as_agreed(said: dict[str, Json], agreed: dict[str, Json]) -> list[str]:
    return [
        f"{ADAPTER_CONFIG} says {key} = {_shown(said.get(key))}, by the charter it is "
        f"{_shown(value)}."
        for key, value in agreed.items()
        if not _same(said.get(key), value)
    ]


def _not_neutral(said: dict[str, Json]) -> list[str]:
    changed = [
        key for key, value in _NEUTRAL.items() if key in said and not _same(said[key], value)
    ]
    changed += [key for key, fits in _BY_FORM.items() if key in said and not fits(said[key])]
    return [
        f"{ADAPTER_CONFIG} says {key} = {_shown(said[key])}, which no charter asks for."
        for key in changed
    ]


def _unknown(said: dict[str, Json], known: Collection[str]) -> list[str]:
    return [
        f"{ADAPTER_CONFIG} holds {_shown(key)}, which is no key that training writes."
        for key in said
        if key not in known
    ]


def _wrong_heads(said: dict[str, Json], folder: Folder) -> list[str]:
    """Check which modules are replaced whole: a classification's head, which the file must hold."""
    named = said.get(_HEADS)
    if folder.charter.model.task == "causal-lm":
        wrong = named is not None
    else:
        held = sorted(_parts_in(located(folder.path, ADAPTER)))
        wrong = not held or named != held
    if not wrong:
        return []
    return [
        f"{ADAPTER_CONFIG} says {_HEADS} = {_shown(named)}: not the heads that the charter's task "
        "trains."
    ]


def _parts_in(tensors: Path) -> set[str]:
    """Return the names of modules that the file holds whole, by their tensors' names."""
    try:
        with safe_open(tensors, framework="numpy") as file:
            names = [name for name in file.keys() if ".lora_" not in name]  # noqa: SIM118
    except (OSError, SafetensorError):
        return set()
    return {name.removeprefix("base_model.model.").split(".")[0] for name in names}


def _is_name(value: Json) -> bool:
    return isinstance(value, str) and value.isidentifier()


def _same(said: Json, expected: Json) -> bool:
    """Compare as JSON does, where true is not 1; 128 and 128.0 are the same alpha."""
    return said == expected and isinstance(said, bool) == isinstance(expected, bool)


def _shown(value: Json) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
