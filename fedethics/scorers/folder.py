"""A classifier's folder: its hash over all files in it, its labels, and where a site keeps it.

No torch: charters are written and sites are checked with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from fedethics.charter.classifier_terms import ClassifierTerms
from fedethics.errors import ModelError

_WEIGHTS = "model.safetensors"
_CONFIG = "config.json"


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 over the names and hashes of all files directly in a folder.

    A file that is as it was (times, size) is not read again by this process.

    Raises:
        ModelError: no folder, unreadable, without config.json and model.safetensors, or a file's
            name holds a line break or another character that is not printed.
    """
    try:
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
        missing = [name for name in (_CONFIG, _WEIGHTS) if name not in names]
        if missing:
            raise ModelError(
                f"{folder} holds no {' and no '.join(missing)}; a classifier's weights are read as "
                "safetensors only"
            )
        # A line break in a name could stand for two files.
        if strange := [name for name in names if not name.isprintable()]:
            raise ModelError(
                f"{folder} holds a file whose name has a character that is not printed, "
                f"{strange[0]!a}; the folder was not read. Remove or rename the file"
            )
        lines = [f"{_sha256(folder / name)}  {name}\n" for name in names]
    except OSError as error:
        raise ModelError(f"{folder} cannot be read: {error.strerror}") from error
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()


def _sha256(path: Path) -> str:
    state = path.stat()
    return _sha256_file(path.absolute(), state.st_mtime_ns, state.st_ctime_ns, state.st_size)


@lru_cache(maxsize=256)
def _sha256_file(path: Path, _mtime_ns: int, _ctime_ns: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
