"""A classifier's folder: its hash over all files in it, its labels, and where a site keeps it.

No torch: charters are written and sites are checked with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from fedethics.charter.classifier_terms import ClassifierTerms
from fedethics.errors import ModelError

_WEIGHTS = "model.safetensors"
_CONFIG = "config.json"


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 over the names and hashes of all files directly in a folder.

    Raises:
        ModelError: no folder, unreadable, or without config.json and model.safetensors.
    """
    try:
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
        missing = [name for name in (_CONFIG, _WEIGHTS) if name not in names]
        if missing:
            raise ModelError(
                f"{folder} holds no {' and no '.join(missing)}; a classifier's weights are read as "
                "safetensors only"
            )
        lines = []
        for name in names:
            with (folder / name).open("rb") as file:
                lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n")
    except OSError as error:
        raise ModelError(f"{folder} cannot be read: {error.strerror}") from error
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()


def labels_of(folder: Path) -> tuple[str, ...]:
    """Return the labels that config.json names, in the order of their numbers.

    Raises:
        ModelError: it is unreadable, or names none.
    """
    try:
        named = json.loads((folder / _CONFIG).read_bytes())["id2label"]
        return tuple(str(named[number]) for number in sorted(named, key=int))
    except OSError as error:
        raise ModelError(f"{folder / _CONFIG} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{folder / _CONFIG} names no labels (id2label)") from error


def scorer_folders(entries: Sequence[str], home: Path) -> Mapping[str, Path]:
    """Return where each classifier lies, from entries "name=folder" of a site's file.

    Args:
        entries: of `scorer-dirs`.
        home: what relative paths are relative to.
    """
    pairs = (entry.partition("=") for entry in entries)
    return {name.strip(): home / path.strip() for name, _, path in pairs}


def locate(terms: ClassifierTerms, found: Mapping[str, Path]) -> Path:
    """Return the folder of a classifier that a charter pins, its hash and label checked.

    Raises:
        ModelError: it is not here, has another hash, or has no such label.
    """
    if terms.name not in found:
        raise ModelError(
            f"scorer {terms.name}/{terms.version} is not here: nothing was charged. Set "
            f'scorer-dirs = ["{terms.name}=FOLDER"] in site.toml'
        )
    folder = found[terms.name]
    own = folder_digest(folder)
    if own != terms.sha256:
        raise ModelError(
            f"scorer {terms.name}/{terms.version}: {folder} has the hash {own[:16]}..., and the "
            f"charter pins {terms.sha256[:16]}...; nothing was charged. Get the folder that was "
            "agreed on"
        )
    labels = labels_of(folder)
    if terms.label not in labels:
        raise ModelError(
            f"scorer {terms.name}/{terms.version} has no label {terms.label!r}; it has: "
            f"{', '.join(labels)}. Nothing was charged"
        )
    return folder
