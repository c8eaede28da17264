"""Which kind of file a site's records are in, by the end of its name; each kind has its reader.

Guarantee: whatever the kind, a record comes out as cells of text by field, so that the schema, the
split, row identity and every check are the same for all. A list or table within a field is its
canonical JSON text: in a CSV file, such a cell is the same JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fedethics.charter.data_terms import DataTerms
from fedethics.data.file_terms import PLAIN, FileTerms, Format
from fedethics.errors import DataError

# Each record's first line and its cells by field.
Rows: TypeAlias = Iterator[tuple[int, dict[str, str]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class FileKind:
    """One kind of file.

    Attributes:
        format: as a site's `data.format` names it.
        name: as messages call it.
        endings: of file names, in small letters; none for the kind that any other file is.
        keys: of a site's file terms that only some kinds of file have, and this one has.
        rows: reads a file by a charter's schema and a site's terms. It raises OSError,
            UnicodeDecodeError, `records.CellProblem` or csv.Error, and never quotes a value.
    """

    format: Format
    name: str
    endings: tuple[str, ...]
    keys: frozenset[str] = frozenset()
    rows: Callable[[Path, DataTerms, FileTerms], Rows]


_BY_ENDING: dict[str, FileKind] = {}
# Of the files in a folder that are taken for records.
ENDINGS = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".xlsx"})
_OTHER = ""
# Kinds that are known and not read: what to do instead.
_NOT_READ = {
    ".json": "one JSON document is not read, because all of it would have to be in memory. Write "
    "one record per line and name the file .jsonl",
    ".xls": "a spreadsheet of the old form is not read. Save it as .xlsx, or export it as CSV",
    ".gz": "a packed file is not read. Unpack it",
    ".zip": "a packed file is not read. Unpack it",
}


def register(kind: FileKind) -> None:
    """Make a kind of file known.

    Raises:
        DataError: another kind has one of its endings.
    """
    for ending in kind.endings or (_OTHER,):
        if _BY_ENDING.setdefault(ending, kind) != kind:
            raise DataError(f"kind of file {kind.name!r}: files {ending!r} have a reader already")


# Keys that belong to some kinds of file only.
_OF_SOME = frozenset({"encoding", "delimiter", "sheet"})


def kind_of(path: Path, read: FileTerms = PLAIN) -> FileKind:
    """Return the kind of a file: the site's, or by the end of its name; else CSV.

    Raises:
        DataError: a kind that is not read, or terms that it has no use for; says what to do.
    """
    ending = path.suffix.lower()
    if read.format is not None:
        kind = next(one for one in _BY_ENDING.values() if one.format == read.format)
    elif ending in _NOT_READ:
        raise DataError(f"data file {path} cannot be used: {_NOT_READ[ending]}")
    else:
        kind = _BY_ENDING.get(ending, _BY_ENDING[_OTHER])
    if idle := [key for key in read.said if key in _OF_SOME - kind.keys]:
        raise DataError(
            f"data file {path} is read as {kind.name}, which has no {' and no '.join(idle)}; take "
            "that out of the site's [data], or say another format"
        )
    return kind


def needed_fields(terms: DataTerms) -> list[str]:
    """Return the fields that every record must have, empty or not, by the charter."""
    needed = [column.name for column in terms.columns]
    needed += [terms.labels.column] if terms.labels.column else []
    needed += [terms.person] if terms.person else []
    content = terms.content
    if content is not None:
        # Alpaca's files often leave an empty input away.
        optional = {content.input} if content.form == "instruction" else set[str]()
        needed += [name for name in content.fields if name not in optional]
    return needed
