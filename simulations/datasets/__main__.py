"""`python -m simulations.datasets fetch heart`: get a demo data set into `.data/`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from fedethics.errors import FedethicsError
from simulations.datasets import heart

ROOT = Path(__file__).resolve().parents[2] / ".data"
_FETCH: dict[str, Callable[[Path], bool]] = {"heart": heart.fetch}


def main(arguments: list[str] | None = None) -> int:
    """Fetch the data set that is named; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m simulations.datasets", description=__doc__)
    parser.add_argument("action", choices=["fetch"])
    parser.add_argument("name", choices=sorted(_FETCH))
    parser.add_argument("--root", type=Path, default=ROOT, help="folder for all data sets")
    chosen = parser.parse_args(arguments)
    folder = chosen.root / chosen.name
    try:
        fetched = _FETCH[chosen.name](folder)
    except FedethicsError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{folder}: {'fetched' if fetched else 'already there'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
