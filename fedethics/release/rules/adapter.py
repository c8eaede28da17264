"""What the files of an adapter may say and hold: what the charter implies, and nothing else.

The tensors alone do not make the model: peft reads from this file how strongly and where they act,
and which code to import. Keys and neutral values are those of peft 0.21's LoraConfig. So every key
has a closed list of values: from the charter, from the tensors that the sites signed, or neutral.

What adapter_model.safetensors may hold: the factors that the charter names, and a task's head.

Read from the file's header alone, without loading a number. Source of the form: safetensors 0.6
(8 bytes of length, little-endian; a JSON table of names, dtypes, shapes and places; the numbers).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from fedethics import plain_file
from fedethics.canonical import Json
from fedethics.charter.model import Charter
from fedethics.errors import ReleaseError
from fedethics.learning_tasks import find_task
from fedethics.release import durable
from fedethics.release.durable import ADAPTER_LIMIT
from fedethics.release.folder import ADAPTER, ADAPTER_CONFIG, Folder, located
from fedethics.release.rules.rule import Findings, Rule

_HEADER_LIMIT = 16 * 1024 * 1024
_METADATA = "__metadata__"
# What training writes into it; readers take the tensors for PyTorch's.
_AGREED_METADATA = {"format": "pt"}
_ITEM_BYTES = {"F32": 4}
_FACTOR = re.compile(r"base_model\.model\.(?P<module>[\w.]+)\.lora_(?P<factor>[AB])\.weight", re.A)
_HEAD = re.compile(r"base_model\.model\.(?P<head>\w+)\.(?:\w+\.)*(?:weight|bias)", re.A)
_FIRST_LAYER = r"(?:^|.*?\.){name}\.(\d+)\."


@dataclass(frozen=True, slots=True)
class Tensors:
    """The tensors of an adapter by kind.

    Attributes:
        factors: module -> "A" and "B" -> shape; A is (rank, inputs), B is (outputs, rank).
        heads: the model's parts that the file holds whole, by the first part of their names.
    """

    factors: Mapping[str, Mapping[str, tuple[int, ...]]]
    heads: frozenset[str]

    def layer_lists(self, layers: tuple[int, ...]) -> frozenset[str]:
        """Return the names of lists of layers by which peft would find every factor's module.

        A name fits if in each module it precedes the number of a layer that the charter names, at
        the first place where a number follows it, as peft 0.21 searches.
        """
        parts = [module.split(".") for module in self.factors]
        before = [{name for name, number in pairwise(part) if number.isdigit()} for part in parts]
        shared = frozenset[str].intersection(*map(frozenset, before)) if before else frozenset()
        return frozenset(
            name for name in shared if all(_layer(one, name) in layers for one in self.factors)
        )


def read_tensors(path: Path, charter: Charter) -> tuple[Tensors | None, tuple[str, ...]]:
    """Return the tensors of an adapter file, and a sentence for each that no charter implies.

    None where the file is no safetensors file that training could have written.
    """
    try:
        table = _header(path)
    except ReleaseError as error:
        return None, (f"{error}.",)
    shapes = {name: tuple(entry["shape"]) for name, entry in table.items()}
    tensors, strange = _sorted_out(shapes)
    return tensors, (*strange, *_against(tensors, charter))


def _layer(module: str, name: str) -> int:
    found = re.match(_FIRST_LAYER.format(name=re.escape(name)), f"{module}.")
    return int(found[1]) if found else -1


def _sorted_out(shapes: Mapping[str, tuple[int, ...]]) -> tuple[Tensors, list[str]]:
    factors: dict[str, dict[str, tuple[int, ...]]] = {}
    heads: set[str] = set()
    strange: list[str] = []
    for name, shape in shapes.items():
        if factor := _FACTOR.fullmatch(name):
            factors.setdefault(factor["module"], {})[factor["factor"]] = shape
        elif (head := _HEAD.fullmatch(name)) and len(shape) in {1, 2}:
            heads.add(head["head"])
        else:
            strange.append(f"{ADAPTER} holds {name[:80]!r}, which is no tensor of an adapter.")
    return Tensors(factors, frozenset(heads)), strange


def _against(tensors: Tensors, charter: Charter) -> Iterator[str]:
    """Hold the tensors to the charter's targets, layers, rank and task."""
    adapter = charter.adapter
    for module, shapes in tensors.factors.items():
        a, b = shapes.get("A", ()), shapes.get("B", ())
        if len(a) != 2 or len(b) != 2 or a[0] != adapter.rank or b[1] != adapter.rank:
            yield (
                f"{ADAPTER} holds for {module[:80]} factors of shapes {list(a)} and {list(b)}; "
                f"the charter's rank is {adapter.rank}."
            )
    found = {module.rpartition(".")[2] for module in tensors.factors}
    if found != set(adapter.targets):
        yield (
            f"{ADAPTER} has factors for {', '.join(sorted(found)) or 'nothing'}; the charter "
            f"names {', '.join(sorted(set(adapter.targets)))}."
        )
    lists = tensors.layer_lists(adapter.layers)
    layers = {_layer(module, name) for module in tensors.factors for name in lists}
    if layers != set(adapter.layers):
        yield f"{ADAPTER} has no factors in just the layers {list(adapter.layers)}."
    bodies = {module.split(".")[0] for module in tensors.factors}
    if tensors.heads & bodies or bool(tensors.heads) != find_task(charter.model.task).trains_head:
        yield (
            f"{ADAPTER} holds {', '.join(sorted(tensors.heads)) or 'no part'} of the model whole: "
            "not the head that the charter's task trains."
        )


def _header(path: Path) -> dict[str, dict[str, Any]]:
    """Return the header of a safetensors file, every entry checked.

    Raises:
        ReleaseError: not such a file, or one whose entries do not fit its bytes exactly.
    """
    with plain_file.opened(path, ReleaseError, limit=ADAPTER_LIMIT) as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _HEADER_LIMIT:
            raise ReleaseError(f"{ADAPTER} has a header of {length:,} bytes: no adapter has that")
        data = file.read(length)
        rest = file.seek(0, 2) - 8 - length
    try:
        table = json.loads(data.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ReleaseError(f"{ADAPTER} is not a safetensors file: its header is none") from error
    if not isinstance(table, dict) or len(data) != length:
        raise ReleaseError(f"{ADAPTER} is not a safetensors file")
    if table.pop(_METADATA, None) != _AGREED_METADATA:
        raise ReleaseError(
            f"{ADAPTER} has other metadata than training writes, {json.dumps(_AGREED_METADATA)}"
        )
    end = 0
    for name, entry in sorted(table.items(), key=_start):
        end = _end(name, entry, start=end)
    if end != rest:
        raise ReleaseError(f"{ADAPTER} has {rest:,} bytes of numbers; its header lists {end:,}")
    return table


def _start(item: tuple[str, Any]) -> int:
    _, entry = item
    places = entry.get("data_offsets") if isinstance(entry, dict) else None
    first = places[0] if isinstance(places, list) and places else None
    return first if type(first) is int else -1


def _end(name: str, entry: object, *, start: int) -> int:
    """Return where a tensor ends that begins at `start`: no gap, no overlap, no other type."""
    fault = f"{ADAPTER}: the entry of {name[:80]!r} is none that training writes"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ReleaseError(fault)
    dtype, shape, places = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype not in tuple(_ITEM_BYTES) or not isinstance(shape, list):
        raise ReleaseError(fault)
    if not 1 <= len(shape) <= 2 or any(type(size) is not int or size < 1 for size in shape):
        raise ReleaseError(fault)
    end = start + _ITEM_BYTES[dtype] * math.prod(shape)
    if places != [start, end] or any(type(place) is not int for place in places):
        raise ReleaseError(fault)
    return end


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("duplicate key")
    return table


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
