"""Where the data sets lie that are measured on; one that was not fetched ends in one line."""

from __future__ import annotations

import sys
from pathlib import Path

from fedethics.errors import EXIT_BAD_INPUT

ROOT = Path(__file__).resolve().parents[2] / ".data"


def fetched(name: str, file: str, *, root: Path = ROOT) -> Path:
    """Return a file of a data set, or end the program with exit code 2 and say how to get it."""
    path = root / name / file
    if not path.is_file():
        print(
            f"data set {name}: {path} is not there, so nothing was measured on it. Fetch it: "
            f"python -m simulations.datasets fetch {name}",
            file=sys.stderr,
        )
        raise SystemExit(EXIT_BAD_INPUT)
    return path
