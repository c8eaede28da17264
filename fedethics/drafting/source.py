"""The records that a draft is made of: of one file or several, or already those of sites."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedethics.charter.data_terms import Column, ContentTerms, DataTerms
from fedethics.data.file_terms import DataFile
from fedethics.data.files import ENDINGS
from fedethics.data.reading import raw_rows
from fedethics.data.records import row_hash
from fedethics.errors import DataError
from fedethics.simulation.partition import Row

# Of the records that are not dealt out to sites yet.
UNDEALT = ""
_NO_NAME = re.compile(r"[^a-z0-9]+")
# Two institutions have hardly ever so many records in common; one file is then part of another.
_MOST_SHARED = 0.5


# Sensitive: the rows are records.
@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Records by site.

    Attributes:
        called: as a message names them, such as "data file own.csv".
        rows: of each site, the same columns in each row; all under `UNDEALT` where sites are yet to
            be made.
        not_everywhere: columns that only some sites have, which are left out, and why.
        files: that the records came from, and how each is read; none for data frames.
        shared: records that stand at two sites or more, counted at each but the first.
    """

    called: str
    rows: Mapping[str, Sequence[Row]]
    not_everywhere: Mapping[str, str]
    files: tuple[DataFile, ...] = ()
    shared: int = 0

    @property
    def dealt(self) -> bool:
        """Whether the records are those of sites already."""
        return UNDEALT not in self.rows

    def each(self) -> Iterator[Row]:
        """Yield the records of all sites."""
        for held in self.rows.values():
            yield from held


def of_sites(rows: Mapping[str, Sequence[Row]], *, called: str) -> Source:
    """Return the records of sites with the columns that all of them have.

    Raises:
        DataError: a site without a record.
    """
    empty = [site for site, held in rows.items() if not held]
    if empty:
        raise DataError(f"{called}: no record at {', '.join(empty)}. Nothing was written")
    dealt, absent = _alike(rows)
    return Source(called=called, rows=dealt, not_everywhere=absent)


def _alike(rows: Mapping[str, Sequence[Row]]) -> tuple[dict[str, list[Row]], dict[str, str]]:
    """Return the records with the columns that all sites have, and why the others are left out."""
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
    return dealt, absent


def file_rows(
    file: Path | DataFile, needed: Sequence[str], content: ContentTerms | None = None
) -> list[Row]:
    """Return all rows of a file, with the same columns in each.

    Args:
        file: of any kind that is read; a path alone is read in plain form.
        needed: columns that it must have.
        content: where free text stands, which keeps its blanks.

    Raises:
        DataError: unreadable, empty, or a column is absent.
    """
    rows = [row for _, row in raw_rows(file, _asked(needed, content), by="the options ask")]
    if not rows:
        raise DataError(f"data file {DataFile.of(file).path} holds no record. Nothing was written")
    names = dict.fromkeys(name for row in rows for name in row if name)
    return [{name: row.get(name, "") for name in names} for row in rows]


def first_row(file: DataFile) -> Row:
    """Return the first record of a file, for its fields.

    Raises:
        DataError: unreadable, or there is none.
    """
    for _, row in raw_rows(file, _asked((), None), by="the options ask"):
        return row
    raise DataError(f"data file {file.path} holds no record. Nothing was written")


def _asked(needed: Sequence[str], content: ContentTerms | None) -> DataTerms:
    return DataTerms(
        source="-", holdout_fraction=0.5, split_salt="-", sensitive=(), content=content,
        columns=tuple(Column(name=name, kind="text") for name in needed),
    )  # fmt: skip


def data_files(given: Sequence[Path]) -> tuple[Path, ...]:
    """Return the files that are named; of a folder, those in it that hold records.

    Raises:
        DataError: a folder without any, or a file that is named twice.
    """
    found: list[Path] = []
    for path in given:
        if not path.is_dir():
            found.append(path)
            continue
        inside = [one for one in sorted(path.iterdir()) if one.suffix.lower() in ENDINGS]
        if not inside:
            raise DataError(
                f"{path} has no file of records ({', '.join(sorted(ENDINGS))}). Nothing was written"
            )
        found += inside
    if len({path.resolve() for path in found}) < len(found):
        raise DataError("--data: a file is named twice. Nothing was written")
    return tuple(found)


def of_files(
    files: Sequence[DataFile], needed: Sequence[str], *, pooled: bool,
    content: ContentTerms | None = None,
) -> Source:  # fmt: skip
    """Return the records of files: of one, or of several pooled, to be dealt out; else by file.

    Args:
        files: one a site, unless `pooled`.
        needed: columns that each must have.
        pooled: put the records of all files together.
        content: where free text stands.

    Raises:
        DataError: as `file_rows`; two files with the name of one site, or with the same records.
    """
    listed = [file.path.name for file in files]
    called = f"data file {files[0].path}" if len(files) == 1 else f"data files {', '.join(listed)}"
    by_site: dict[str, list[Row]] = {}
    for file in files:
        site = _NO_NAME.sub("-", file.path.stem.lower()).strip("-")[:50] or "site"
        if site in by_site:
            raise DataError(
                f"{called}: two of them would be site {site!r}, as a site is named by its file. "
                "Rename one. Nothing was written"
            )
        by_site[site] = file_rows(file, needed, content)
    shared = _shared(by_site, called)
    rows, absent = _alike(by_site)
    if pooled or len(files) == 1:
        rows = {UNDEALT: [row for held in rows.values() for row in held]}
    return Source(
        called=called, rows=rows, not_everywhere=absent, files=tuple(files), shared=shared
    )


def _shared(by_site: Mapping[str, Sequence[Row]], called: str) -> int:
    """Return how many records stand in two files.

    Raises:
        DataError: most records of a file stand in another one.
    """
    holders: dict[bytes, set[str]] = {}
    for site, rows in by_site.items():
        for row in rows:
            holders.setdefault(row_hash(row), set()).add(site)
    both = Counter(
        (one, other)
        for sites in holders.values() if len(sites) > 1
        for one in sites for other in sites if one != other
    )  # fmt: skip
    for (one, other), count in sorted(both.items()):
        if count > _MOST_SHARED * len(by_site[one]):
            raise DataError(
                f"{called}: {count} of the {len(by_site[one])} records of {one} stand in {other} "
                "too. Name the files of the sites one by one, without the one that holds them "
                "together. Nothing was written"
            )
    return sum(len(sites) - 1 for sites in holders.values())
