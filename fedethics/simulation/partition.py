"""A pooled data set, dealt out to sites: by hash, with skew, or by a column.

A partition that is dealt out here is simulated, whatever the column: only where the column is the
institution itself (a precinct) is it natural, and the charter's `data.source` says which. Where a
record goes follows from the key and the record alone, so adding a record moves no other.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fedethics import canonical, terms
from fedethics.data.records import row_hash
from fedethics.errors import RunError
from fedethics.storage import files
from fedethics.terms import term

SOURCE = "SOURCE.json"  # of a data set: where it comes from, with the hash of every other file
ALL = "all.csv"
_FOLDER = "partitions"
Row = dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Partitioner:
    """How the records of `all.csv` become sites.

    Attributes:
        kind: "by-hash": equal chances for every site, so sites are alike;
            "dirichlet": the records of each value of `column` (the label, say) are dealt out in
            proportions from a Dirichlet distribution (Hsu et al. 2019, arXiv 1909.06335);
            "by-column": each site has the records whose `column` is among what it `holds`.
        alpha: of the Dirichlet distribution; 0.1 is strong skew, 100 hardly any.
        keep: share of the records that is used at all, chosen by hash.
        key: another key is another partition and another choice.
    """

    kind: Literal["by-hash", "dirichlet", "by-column"] = term()
    column: str = term(default="")
    alpha: float = term(default=1.0, above=0)
    keep: float = term(default=1.0, above=0, at_most=1)
    key: str = term(nonempty=True)

    def problems(self) -> list[str]:
        """Check what spans fields."""
        if (self.kind == "by-hash") == bool(self.column):
            return [f"kind {self.kind} {'uses no' if self.column else 'needs a'} column"]
        return []


@dataclass(frozen=True, kw_only=True, slots=True)
class Taker:
    """A site that takes part in the deal, and the values of the column that it holds."""

    name: str
    holds: tuple[str, ...] = ()


def deal(
    rows: Iterable[Row], partition: Partitioner, takers: Sequence[Taker]
) -> dict[str, list[Row]]:
    """Return each site's rows, in the order of `rows`.

    Raises:
        RunError: no such column, a value that no site or several hold, a site without rows.
    """
    dealt: dict[str, list[Row]] = {taker.name: [] for taker in takers}
    chosen = _chooser(partition, takers)
    for row in rows:
        if partition.column and partition.column not in row:
            raise RunError(f"partition.column: the data set has no column {partition.column!r}")
        digest = row_hash(row)
        if _uniform(partition.key, "keep", digest) < partition.keep:
            dealt[chosen(row, _uniform(partition.key, "site", digest))].append(row)
    empty = [name for name, held in dealt.items() if not held]
    if empty:
        raise RunError(
            f"partition: no record is left for {', '.join(empty)}; nothing was started. Use a "
            "larger alpha or keep, fewer sites, or another key"
        )
    return dealt


def prepare(
    partition: Partitioner, takers: Sequence[Taker], *, dataset: str, data_dir: Path
) -> Path:
    """Return the folder with one CSV file a site, `<site>.csv`; made once, then used again.

    Raises:
        RunError: the data set is not there, or cannot be dealt out like this.
    """
    try:
        named = (
            canonical.encode([terms.document(partition), [[t.name, list(t.holds)] for t in takers]])
            + (data_dir / SOURCE).read_bytes()
        )
        data = (data_dir / ALL).read_bytes()
    except OSError as error:
        raise RunError(
            f"{data_dir} does not hold the data set; nothing was started. To get it: "
            f"python -m simulations.datasets fetch {dataset}"
        ) from error
    folder = data_dir / _FOLDER / canonical.sha256_hex(named)[:16]
    if not folder.is_dir():
        _write(folder, deal(read_csv(data), partition, takers))
    return folder


def _write(folder: Path, dealt: Mapping[str, list[Row]]) -> None:
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    for name, rows in dealt.items():
        (partial / f"{name}.csv").write_bytes(write_csv(rows, tuple(rows[0])))
    try:
        files.move(partial, folder)
    except OSError as error:
        shutil.rmtree(partial)
        # Else another run made the same files meanwhile.
        if not folder.is_dir():
            raise RunError(f"{folder} cannot be written: {error.strerror}") from error


def _chooser(partition: Partitioner, takers: Sequence[Taker]) -> Callable[[Row, float], str]:
    """Return what names a row's site, given a number uniform on [0, 1) that is the row's own."""
    names = [taker.name for taker in takers]
    if partition.kind == "by-hash":
        return lambda _, uniform: names[int(uniform * len(names))]
    if partition.kind == "dirichlet":
        limits: dict[str, list[float]] = {}

        def drawn(row: Row, uniform: float) -> str:
            value = row[partition.column]
            if value not in limits:
                limits[value] = _limits(partition, value, len(names))
            return names[bisect_right(limits[value], uniform)]

        return drawn
    holder = _holders(takers)

    def held(row: Row, _: float) -> str:
        if row[partition.column] not in holder:
            raise RunError(
                f"partition: no site holds a value of {partition.column} that occurs in the data; "
                f"held: {', '.join(holder)}"
            )
        return holder[row[partition.column]]

    return held


def _holders(takers: Sequence[Taker]) -> dict[str, str]:
    pairs = [(value, taker.name) for taker in takers for value in taker.holds]
    holder = dict(pairs)
    if len(holder) < len(pairs):
        raise RunError("partition: a value is held by two sites; each record has one site")
    return holder


def _limits(partition: Partitioner, value: str, sites: int) -> list[float]:
    """Return the upper limits, on [0, 1), of all sites' shares but the last."""
    seed = canonical.encode([partition.key, "shares", value])
    drawn = np.random.default_rng(int.from_bytes(hashlib.sha256(seed).digest(), "big"))
    shares = drawn.dirichlet([partition.alpha] * sites)
    return [float(limit) for limit in np.cumsum(shares)[:-1]]


def _uniform(key: str, purpose: str, digest: bytes) -> float:
    keyed = hashlib.sha256(canonical.encode([key, purpose, digest.hex()])).digest()
    return int.from_bytes(keyed[:6], "big") / 2.0**48


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
