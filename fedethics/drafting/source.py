"""The records that a draft is made of: of one file, or already those of sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedethics.charter.data_terms import Column, DataTerms
from fedethics.data.file_terms import PLAIN, DataFile, FileTerms
from fedethics.data.reading import raw_rows
from fedethics.errors import DataError
from fedethics.simulation.partition import Row

# Of the records that are not dealt out to sites yet.
UNDEALT = ""


# Sensitive: the rows are records.
@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Records by site.

    Attributes:
        called: as a message names them, such as "data file own.csv".
        rows: of each site, the same columns in each row; all under `UNDEALT` where sites are yet to
            be made.
        not_everywhere: columns that only some sites have, which are left out, and why.
        read: how the files were read.
    """

    called: str
    rows: Mapping[str, Sequence[Row]]
    not_everywhere: Mapping[str, str] = field(default_factory=dict)
    read: FileTerms = PLAIN

    @property
    def dealt(self) -> bool:
        """Whether the records are those of sites already."""
        return UNDEALT not in self.rows

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in their order."""
        return tuple(next(iter(self.rows.values()))[0])


def of_sites(rows: Mapping[str, Sequence[Row]], *, called: str) -> Source:
    """Return the records of sites with the columns that all of them have.

    Raises:
        DataError: a site without a record.
    """
    empty = [site for site, held in rows.items() if not held]
    if empty:
        raise DataError(f"{called}: no record at {', '.join(empty)}. Nothing was written")
    held_by = {site: dict.fromkeys(name for row in held for name in row)
               for site, held in rows.items()}  # fmt: skip
    first = next(iter(held_by.values()))
    everywhere = [name for name in first if all(name in names for names in held_by.values())]
    absent: dict[str, str] = {}
    for name in dict.fromkeys(name for names in held_by.values() for name in names):
        if lacking := [site for site, names in held_by.items() if name not in names]:
            absent[name] = f"not at every site: {', '.join(lacking)} lacks it"
    dealt = {
        site: [{name: row.get(name, "") for name in everywhere} for row in held]
        for site, held in rows.items()
    }
    return Source(called=called, rows=dealt, not_everywhere=absent)


def file_rows(file: Path | DataFile, needed: Sequence[str]) -> list[Row]:
    """Return all rows of a file, with the same columns in each.

    Args:
        file: of any kind that is read; a path alone is read in plain form.
        needed: columns that it must have.

    Raises:
        DataError: unreadable, empty, or a column is absent.
    """
    terms = DataTerms(
        source="-", holdout_fraction=0.5, split_salt="-", sensitive=(),
        columns=tuple(Column(name=name, kind="text") for name in needed),
    )  # fmt: skip
    rows = [row for _, row in raw_rows(file, terms, by="the options ask")]
    if not rows:
        raise DataError(f"data file {DataFile.of(file).path} holds no record. Nothing was written")
    names = dict.fromkeys(name for row in rows for name in row if name)
    return [{name: row.get(name, "") for name in names} for row in rows]


def of_file(file: Path | DataFile, needed: Sequence[str]) -> Source:
    """Return the records of one file, to be dealt out.

    Raises:
        DataError: as `file_rows`.
    """
    own = DataFile.of(file)
    return Source(
        called=f"data file {own.path}", rows={UNDEALT: file_rows(own, needed)}, read=own.read
    )
