"""An adapter's folder in peft's own format: how it is configured, and its tensors read back.

And the hashes of all that a model's vector does not hold; they bind what sites must have in common.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from peft import get_peft_model_state_dict
from safetensors.numpy import load
from torch import nn

from fedethics import canonical, terms
from fedethics.charter.model import Charter
from fedethics.errors import ModelError
from fedethics.learning_tasks import find_task
from fedethics.ownership import cannot_read
from fedethics.training.loading import one_line
from fedethics.training.locate import ADAPTER_FILE, locate_start

if TYPE_CHECKING:
    from fedethics.training.learner import Learner


def prefix_hash(charter: Charter, digests: Mapping[str, str], first_layer: int) -> str:
    """Return the SHA-256 of all that activations depend on besides the text.

    Args:
        charter: its model (weights, quantisation, words) and the labels' names.
        digests: of tokenizer and configuration.
        first_layer: number of layers whose output is cached.
    """
    classes = find_task(charter.model.task).classes(charter.data.labels)
    model = terms.document(charter.model)
    return canonical.sha256_hex(
        canonical.encode(
            {
                "model": model,
                "labels": [*classes],
                "first-layer": first_layer,
                **digests,
            }
        )
    )


def basis_hash(prefix: str, model: Any, parameters: Mapping[str, nn.Parameter]) -> str:  # noqa: ANN401
    """Return the SHA-256 of the prefix, frozen adapter parts, and the vector's names and shapes."""
    adapter = get_peft_model_state_dict(model, save_embedding_layers=False)
    trained = {saved_name(name) for name in parameters}
    frozen: dict[str, canonical.Json] = {
        name: hashlib.sha256(value.cpu().numpy().astype("<f4").tobytes()).hexdigest()
        for name, value in adapter.items()
        if name not in trained
    }
    config = model.peft_config["default"]
    return canonical.sha256_hex(
        canonical.encode(
            {
                "prefix": prefix,
                "frozen": frozen,
                "scaling": config.lora_alpha / config.r,
                "vector": [[name, list(p.shape)] for name, p in parameters.items()],
            }
        )
    )


def saved_name(name: str) -> str:
    """Return the name under which peft saves a parameter."""
    return name.replace(".modules_to_save.default", "").replace(".default", "")


_HEAD = ".modules_to_save."


def configuration(config: Any, names: Iterable[str], *, base: str) -> str:  # noqa: ANN401
    """Return adapter_config.json: what peft needs to put the adapter on its base, and no more.

    peft itself writes the usual heads' names again at every load, those too that the model lacks.

    Args:
        config: peft's, of the adapter.
        names: of the trained parameters; the modules that are trained whole are found in them.
        base: the base model, by the charter's name for it.
    """
    heads = {name.split(_HEAD)[0].rpartition(".")[2] for name in names if _HEAD in name}
    alpha = config.lora_alpha
    said = config.to_dict() | {
        "base_model_name_or_path": base,
        "inference_mode": True,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "modules_to_save": sorted(heads) or None,
    }
    return json.dumps(said, indent=2, sort_keys=True, default=sorted) + "\n"


def read_adapter(learner: Learner, directory: Path) -> NDArray[np.float32]:
    """Return the vector of the adapter in `directory`, shape (p,).

    Guarantee: writing the vector out again gives the file's own bytes, so that it is this adapter
    on this base model and nothing is left out or added.

    Raises:
        ModelError: missing, not a safetensors file, or not an adapter of the charter's form.
    """
    path = directory / ADAPTER_FILE
    try:
        data = path.read_bytes()
        tensors = load(data)
    except OSError as error:
        raise ModelError(f"{cannot_read(path, error)}; nothing was scored") from error
    except Exception as error:
        # The reader raises several kinds for bytes that anybody may have written.
        raise ModelError(f"{path} is not a safetensors file: {one_line(error)}") from error
    names = {name: saved_name(name) for name in learner.parameters}
    fitting = all(
        saved in tensors and tensors[saved].shape == tuple(learner.parameters[name].shape)
        for name, saved in names.items()
    )
    if fitting:
        parts = [tensors[saved].astype(np.float32).reshape(-1) for saved in names.values()]
        vector = np.concatenate(parts)
        if learner.adapter_bytes(vector) == data:
            return vector
    raise ModelError(
        f"{path} is not an adapter of this charter: its tensors, or those that training keeps, "
        "are others. Nothing was scored. Give the charter that the run followed"
    )


def read_start(learner: Learner, charter: Charter, release: Path | None) -> NDArray[np.float32]:
    """Return the vector of the released adapter that the charter starts from, shape (p,).

    Args:
        learner: of the charter's model, to which the adapter must fit to the byte.
        charter: whose `adapter.from` is the SHA-256 of the adapter's file.
        release: folder of the release on this machine; None where nobody named it.

    Raises:
        ModelError: no folder, not released, another file, another base or other factors. Nothing
            was computed or charged.
    """
    folder = locate_start(charter, release)
    try:
        vector = read_adapter(learner, folder)
    except ModelError as error:
        raise ModelError(
            f"start-dir: the adapter in {folder} does not fit this charter; rank, targets, layers, "
            "form and seed of [adapter] must be those of the release, and the task must train the "
            "same parts. Nothing was computed"
        ) from error
    # Of what was read: the file may have changed since it was looked up.
    if hashlib.sha256(learner.adapter_bytes(vector)).hexdigest() != charter.adapter.from_:
        raise ModelError(
            f"start-dir: the adapter in {folder} changed while it was read, and is not the one "
            "that the charter agreed on; nothing was computed"
        )
    return vector
