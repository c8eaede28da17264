"""Which kind of file a site's records are in, told by the end of its name; each has its reader.

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
from fedethics.errors import DataError

# Each record's first line and its cells by field.
Rows: TypeAlias = Iterator[tuple[int, dict[str, str]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class FileKind:
    """One kind of file.

    Attributes:
        name: as messages call it.
        endings: of file names, in small letters; none for the kind that any other file is.
        rows: reads a file by a charter's schema. It raises OSError, UnicodeDecodeError,
            `records.CellProblem` or csv.Error, and never tells a value.
    """

    name: str
    endings: tuple[str, ...]
    rows: Callable[[Path, DataTerms], Rows]


_BY_ENDING: dict[str, FileKind] = {}
_OTHER = ""
# Kinds that are known and not read: what to do instead.
_NOT_READ = {
    ".parquet": "Parquet is not read here, since no reader of it is among the pinned packages. "
    "Write it as JSON lines: pandas.read_parquet(...).to_json(..., orient='records', lines=True)",
    ".json": "one JSON document is not read, since it would have to be held whole. Write one "
    "record a line and name the file .jsonl",
    ".xlsx": "a spreadsheet is not read. Export it as CSV in UTF-8",
    ".xls": "a spreadsheet is not read. Export it as CSV in UTF-8",
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


def kind_of(path: Path) -> FileKind:
    """Return the kind of a file by the end of its name; CSV where the name says nothing.

    Raises:
        DataError: a kind that is not read; says what to do.
    """
    ending = path.suffix.lower()
    if ending in _NOT_READ:
        raise DataError(f"data file {path} cannot be used: {_NOT_READ[ending]}")
    return _BY_ENDING.get(ending, _BY_ENDING[_OTHER])


def needed_fields(terms: DataTerms) -> list[str]:
    """Return the fields that every record must have, empty or not, by the charter."""
    needed = [column.name for column in terms.columns]
    needed += [terms.label.column] if terms.label else []
    needed += [terms.person] if terms.person else []
    content = terms.content
    if content is not None:
        # Alpaca's files often leave an empty input away.
        optional = {content.input} if content.form == "instruction" else set[str]()
        needed += [name for name in content.fields if name not in optional]
    return needed
