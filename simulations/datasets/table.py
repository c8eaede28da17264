"""CSV bytes to rows and back, the same way for every data set."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

Row = dict[str, str]


def read_csv(
    data: bytes, *, encoding: str = "utf-8", names: Sequence[str] | None = None
) -> list[Row]:
    """Return the rows of a CSV file, cells stripped; `names` where the file has no header.

    Where a header names a column twice, the last one counts.
    """
    text = io.StringIO(data.decode(encoding), newline="")
    reader = csv.DictReader(text, names, skipinitialspace=True)
    return [
        {name: cell.strip() for name, cell in row.items() if name} for row in reader if any(row)
    ]


def write_csv(rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> bytes:
    """Return `columns` of the rows as CSV bytes: UTF-8, one header line, newline at line ends."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")
