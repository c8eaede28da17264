"""Read an adapter back from the file that a release holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from fedethics.errors import ModelError
from fedethics.ownership import cannot_read
from fedethics.training.hashes import saved_name
from fedethics.training.learner import Learner

FILE = "adapter_model.safetensors"


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
    except SafetensorError as error:
        raise ModelError(f"{path} is not a safetensors file: {error}") from error
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
