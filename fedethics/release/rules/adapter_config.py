"""What adapter_config.json may say: what the charter implies, and nothing that changes the model.

The tensors alone do not make the model: peft reads from this file how strongly and where they act,
and which code to import. Keys and neutral values are those of peft 0.21's LoraConfig. So every key
has a closed list of values: from the charter, from the tensors that the sites signed, or neutral.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection

from fedethics.canonical import Json
from fedethics.charter.model import Charter
from fedethics.errors import ReleaseError
from fedethics.learning_tasks import find_task
from fedethics.release import durable
from fedethics.release.folder import ADAPTER, ADAPTER_CONFIG, Folder, located
from fedethics.release.rules.adapter_tensors import Tensors, read_tensors
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
_VERSION = re.compile(r"0\.21\.[0-9]{1,3}")
# Linear layers that some models of transformers 5 keep transposed (Conv1D: gpt2, openai-gpt).
_TRANSPOSED = frozenset({"c_attn", "c_fc", "c_proj", "q_attn"})
_HEADS = "modules_to_save"
_MOST_SHOWN = 60
# What training writes has some 1.5 kB.
_LIMIT = 1024 * 1024


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
    charter = folder.charter
    tensors, strange = read_tensors(located(folder.path, ADAPTER), charter)
    try:
        data = durable.read(located(folder.path, ADAPTER_CONFIG), limit=_LIMIT)
    except ReleaseError as error:
        return (*strange, str(error))
    try:
        said = json.loads(data)
        # One spelling only, that of the training: no key twice, which readers take differently.
        as_written = json.dumps(said, indent=2, sort_keys=True).encode() + b"\n" == data
    except (ValueError, RecursionError):
        return (*strange, f"{ADAPTER_CONFIG} is not JSON.")
    if not isinstance(said, dict) or not as_written:
        return (*strange, f"{ADAPTER_CONFIG} is not in the form in which training writes it.")
    free = _among(charter, tensors)
    return (
        *strange,
        *_not_as_agreed(said, _agreed(charter)),
        *_not_neutral(said, free),
        *_unknown(said, {*_agreed(charter), _HEADS, *_NEUTRAL, *free}),
        *_wrong_heads(said, charter, tensors),
    )


def _among(charter: Charter, tensors: Tensors | None) -> dict[str, Callable[[Json], bool]]:
    """Return, for what neither charter nor rule fixes, which values are left."""
    lists = tensors.layer_lists(charter.adapter.layers) if tensors else frozenset[str]()
    turned = set(charter.adapter.targets) <= _TRANSPOSED
    return {
        # peft corrects it by the kind of each layer, another reader might not.
        "fan_in_fan_out": lambda value: value is False or (turned and value is True),
        # With any other name, peft would not find the modules whose factors lie in the file.
        "layers_pattern": lambda value: isinstance(value, str) and value in lists,
        "peft_version": lambda value: isinstance(value, str) and bool(_VERSION.fullmatch(value)),
    }


def _agreed(charter: Charter) -> dict[str, Json]:
    """Return what the charter fixes, as training hands it to peft."""
    adapter = charter.adapter
    return {
        "peft_type": "LORA",
        "task_type": find_task(charter.model.task).peft_type,
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


def _not_neutral(said: dict[str, Json], free: dict[str, Callable[[Json], bool]]) -> list[str]:
    changed = [
        key for key, value in _NEUTRAL.items() if key in said and not _same(said[key], value)
    ]
    changed += [key for key, fits in free.items() if key not in said or not fits(said[key])]
    return [
        f"{ADAPTER_CONFIG} says {key} = {_shown(said.get(key))}, which no charter asks for."
        for key in changed
    ]


def _unknown(said: dict[str, Json], known: Collection[str]) -> list[str]:
    return [
        f"{ADAPTER_CONFIG} holds {_shown(key)}, which is no key that training writes."
        for key in said
        if key not in known
    ]


def _wrong_heads(said: dict[str, Json], charter: Charter, tensors: Tensors | None) -> list[str]:
    """Check which modules are replaced whole: a classification's head, which the file must hold."""
    named = said.get(_HEADS)
    if not find_task(charter.model.task).trains_head:
        wrong = named is not None
    else:
        held: list[Json] = [*sorted(tensors.heads)] if tensors else []
        wrong = not held or named != held
    if not wrong:
        return []
    return [
        f"{ADAPTER_CONFIG} says {_HEADS} = {_shown(named)}: not the heads that the charter's task "
        "trains."
    ]


def _same(said: Json, expected: Json) -> bool:
    """Compare as JSON does, where true is not 1; 128 and 128.0 are the same alpha."""
    return said == expected and isinstance(said, bool) == isinstance(expected, bool)


def _shown(value: Json) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
