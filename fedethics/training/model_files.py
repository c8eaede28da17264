"""The files of a model's folder, read without running any code and without a word on the screen."""

from __future__ import annotations

import json
import warnings
from functools import partial
from pathlib import Path
from typing import Any, cast

from transformers import modeling_gguf_pytorch_utils
from transformers.utils import logging as transformers_logging

from fedethics.errors import ModelError
from fedethics.training.locate import BaseModel


def source(base: BaseModel) -> dict[str, Any]:
    """Return how transformers is told to read `base`: this machine's files only, and no code."""
    where = {"gguf_file": base.gguf_file} if base.gguf_file else {}
    return {"local_files_only": True, "trust_remote_code": False, **where}


def read_json(path: Path) -> dict[str, Any]:
    """Return the table that a JSON file holds.

    Raises:
        ModelError: unreadable, not JSON, or not a table.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON; get the model again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds no table; get the model again")
    return found


def one_line(error: Exception) -> str:
    """Return what a library's error says in its first line, and of what kind it is."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


class Quiet:
    """Hold back loading chatter: progress, the head's missing weights (set later), old names."""

    def __enter__(self) -> None:
        self._verbosity = transformers_logging.get_verbosity()
        self._bars = transformers_logging.is_progress_bar_enabled()
        self._caught = warnings.catch_warnings()
        self._caught.__enter__()
        warnings.simplefilter("ignore", FutureWarning)
        transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        # The reader of GGUF files draws its own bar and asks nobody.
        self._gguf_reader = cast(Any, modeling_gguf_pytorch_utils)
        self._gguf_bar = self._gguf_reader.tqdm
        self._gguf_reader.tqdm = partial(self._gguf_bar, disable=True)

    def __exit__(self, *_: object) -> None:
        self._gguf_reader.tqdm = self._gguf_bar
        self._caught.__exit__(None, None, None)
        transformers_logging.set_verbosity(self._verbosity)
        if self._bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
