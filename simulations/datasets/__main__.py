"""`python -m simulations.datasets fetch NAME`: get a data set, or all of them, into `.data/`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fedethics import texts
from fedethics.errors import FedethicsError
from simulations.datasets.adult import ADULT
from simulations.datasets.compas import COMPAS
from simulations.datasets.credit import CREDIT
from simulations.datasets.dataset import Dataset
from simulations.datasets.diversity_medqa import DIVERSITY_MEDQA
from simulations.datasets.gap import GAP
from simulations.datasets.heart import HEART
from simulations.datasets.mpls_stops import MPLS_STOPS
from simulations.datasets.panda import PANDA
from simulations.datasets.redditbias import REDDITBIAS
from simulations.datasets.resume import RESUME
from simulations.datasets.support2 import SUPPORT2

ROOT = Path(__file__).resolve().parents[2] / ".data"
DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        ADULT,
        COMPAS,
        CREDIT,
        DIVERSITY_MEDQA,
        GAP,
        HEART,
        MPLS_STOPS,
        PANDA,
        REDDITBIAS,
        RESUME,
        SUPPORT2,
    )
}
_EVERY = "all"


def main(arguments: list[str] | None = None) -> int:
    """Fetch the data sets that are named; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m simulations.datasets", description=__doc__)
    parser.add_argument("action", choices=["fetch"])
    parser.add_argument("name", choices=[*DATASETS, _EVERY])
    parser.add_argument("--root", type=Path, default=ROOT, help="folder for all data sets")
    chosen = parser.parse_args(arguments)
    every = tuple(name for name, one in DATASETS.items() if not one.by_name_only)
    names = every if chosen.name == _EVERY else (chosen.name,)
    for name in names:
        folder = chosen.root / name
        try:
            fetched = DATASETS[name].fetch(folder)
        except FedethicsError as error:
            sys.stderr.write(texts.message(f"{error.code}: {error}") + "\n")
            return error.exit_code
        sys.stdout.write(f"{folder}: {'fetched' if fetched else 'already there'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
