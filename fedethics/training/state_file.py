"""Frozen layers' output on disk, in a file that has no name.

Guarantee: the file is readable by its owner only, no other process can open it by a name, and the
system frees it when the last tensor in it is gone or the process ends, killed or not: there is
nothing left to clean up at a restart. What a disk holds in blocks that it has freed is out of reach
here: put the folder on an encrypted disk.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fedethics.errors import TrainingError


# Sensitive: hidden states determine the text they were computed from.
def states_on_disk(lengths: Sequence[int], width: int, folder: Path) -> tuple[Tensor, ...]:
    """Return one float32 tensor of shape (length, width) for each length, all in one mapped file.

    Raises:
        TrainingError: no such folder, or no room in it.
    """
    rows = sum(lengths)
    try:
        # O_TMPFILE, mode 0600: never in any folder.
        with tempfile.TemporaryFile(dir=folder) as file:
            # Reserved now: a page that finds no room later would kill the process.
            os.posix_fallocate(file.fileno(), 0, 4 * rows * width)
            mapped = np.memmap(file, dtype=np.float32, mode="r+", shape=(rows, width))
    except OSError as error:
        raise TrainingError(
            f"{4 * rows * width / 2**30:.2f} GiB of frozen layers' output cannot be kept in "
            f"{folder}: {error.strerror}; nothing was computed. Set compute.cache-dir in "
            'policy.toml to a folder with room, or compute.cache = "memory"'
        ) from error
    return torch.split(torch.from_numpy(mapped), list(lengths))
