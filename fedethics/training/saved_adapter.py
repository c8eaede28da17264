"""An adapter's folder in peft's own format: how it is configured, and its tensors read back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from fedethics.errors import ModelError
from fedethics.ownership import cannot_read
from fedethics.training.hashes import saved_name
from fedethics.training.loading import one_line

if TYPE_CHECKING:
    from fedethics.training.learner import Learner

FILE = "adapter_model.safetensors"
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
    path = directory / FILE
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
    vector = learner.initial_vector()
    if fitting:
        parts = [tensors[saved].astype(np.float32).reshape(-1) for saved in names.values()]
        vector = np.concatenate(parts)
    if not fitting or learner.adapter_bytes(vector) != data:
        raise ModelError(
            f"{path} is not an adapter of this charter: its tensors, or those that training keeps, "
            "are others. Nothing was scored. Give the charter that the run followed"
        )
    return vector
