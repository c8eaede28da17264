"""How a site's own file is read: its format, encoding, marks and dates, in the site's own terms.

Guarantee: what a cell becomes is a function of that cell and of these terms alone, in every column,
so that no charter can give the same records another name in the ledger. Nothing is guessed: what
the terms do not say stays as it is, or is refused.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from fedethics import terms
from fedethics.canonical import Json
from fedethics.charter.spelling import exact_number
from fedethics.data.personal_terms import PersonalTerms
from fedethics.data.records import CellProblem
from fedethics.errors import DataError
from fedethics.terms import kebab, term

Format = Literal["csv", "json-lines", "parquet", "xlsx"]
Delimiter = Literal["comma", "semicolon", "tab", "bar", "colon"]
DELIMITERS: Mapping[Delimiter, str] = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "bar": "|",
    "colon": ":",
}
_MARKS = {"point": r"\.", "comma": ",", "space": "[ \u00a0\u2009\u202f]", "apostrophe": "['\u2019]"}


def _encoding_problem(name: object) -> str:
    try:
        "".encode(str(name))
    except (LookupError, UnicodeError):
        return f"{str(name)[:40]!r} is no encoding; it may be utf-8, utf-16, windows-1252 ..."
    return ""


@dataclass(frozen=True, kw_only=True)
class FileTerms:
    """What a site says of its file: the table `[data]` of site.toml, without the path.

    Attributes:
        format: of the file; absent for what the end of its name says.
        encoding: of CSV: utf-8, utf-16, latin-1, windows-1252 or another of Python's.
        delimiter: of CSV: what separates the cells.
        decimal_mark: before a number's fraction.
        thousands_mark: between groups of three digits.
        date_format: how days are written, in the letters of strptime ("%d/%m/%Y"); a cell that is
            such a day is read as 2026-01-31. With several, no cell may be two days.
        sheet: of a spreadsheet file; it may be left out where there is one.
        remove_invisible: take characters that no screen shows out of cells and headers.
    """

    format: Format | None = term(default=None)
    encoding: str = term(default="utf-8", nonempty=True, check=_encoding_problem)
    delimiter: Delimiter = term(default="comma")
    decimal_mark: Literal["point", "comma"] = term(default="point")
    thousands_mark: Literal["none", "point", "comma", "space", "apostrophe"] = term(default="none")
    date_format: tuple[str, ...] = term(default=(), nonempty=True, pattern=r".*%.*")
    sheet: str = term(default="")
    remove_invisible: bool = term(default=False)

    def problems(self) -> list[str]:
        """Refuse marks that could not be distinguished."""
        if self.decimal_mark == self.thousands_mark:
            return [f"decimal-mark and thousands-mark are both {self.decimal_mark!r}"]
        return []

    @property
    def said(self) -> tuple[str, ...]:
        """The keys that are not as they are by default."""
        return tuple(
            kebab(field.name)
            for field in fields(FileTerms)
            if getattr(self, field.name) != field.default
        )

    @cached_property
    def _number(self) -> re.Pattern[str] | None:
        if self.decimal_mark == "point" and self.thousands_mark == "none":
            return None
        whole = "[0-9]+"
        if self.thousands_mark != "none":
            mark = _MARKS[self.thousands_mark]
            whole = rf"(?:[0-9]{{1,3}}(?:{mark}[0-9]{{3}})+|[0-9]+)"
        fraction = rf"(?:{_MARKS[self.decimal_mark]}([0-9]*))?"
        return re.compile(rf"([+-]?)({whole}){fraction}([eE][+-]?[0-9]+)?", re.ASCII)

    def name(self, header: str) -> str:
        """Return a header as it is compared with the charter's names."""
        return _visible(header) if self.remove_invisible else header

    def cell(self, raw: str) -> str:
        """Return a cell as a file in plain form would hold it.

        Raises:
            CellProblem: two of the date formats read it as different days.
        """
        if self.remove_invisible:
            raw = _visible(raw)
        if self._number is not None and (match := self._number.fullmatch(raw)):
            sign, whole, fraction, exponent = match.groups(default="")
            digits = re.sub("[^0-9]", "", whole)
            return f"{sign}{digits}{'.' if fraction else ''}{fraction}{exponent}"
        return self._day(raw) if self.date_format else raw

    def number_problem(self, raw: str) -> str:
        """Return why a cell of a column of numbers must not be read as it stands, or ""."""
        if self._number is None or exact_number(raw) is None or self._number.fullmatch(raw):
            return ""
        return (
            f"it has a point where decimal-mark is {self.decimal_mark!r} and thousands-mark is "
            f"{self.thousands_mark!r}, so its size is unknown"
        )

    def _day(self, raw: str) -> str:
        found: set[date] = set()
        for way in self.date_format:
            try:
                found.add(datetime.strptime(raw, way).date())
            except ValueError:
                continue
        if len(found) > 1:
            raise CellProblem("two of the formats in date-format read it, as different days")
        return found.pop().isoformat() if found else raw


PLAIN = FileTerms()


@dataclass(frozen=True, kw_only=True)
class DataTable(FileTerms):
    """The table `[data]` of site.toml.

    Attributes:
        path: of the records; relative to the site's home.
    """

    path: str = term(nonempty=True)

    def file(self, base: Path) -> DataFile:
        """Return the file, its path relative to `base`."""
        kept = {field.name: getattr(self, field.name) for field in fields(FileTerms)}
        return DataFile(base / self.path, FileTerms(**kept))


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of records, and how it is read.

    Attributes:
        path: where it lies.
        read: the site's terms.
        personal: what the site's policy says of personal data in texts; the operator cannot.
    """

    path: Path
    read: FileTerms = PLAIN
    personal: PersonalTerms | None = None

    @classmethod
    def of(cls, file: Path | DataFile) -> DataFile:
        """Return a file that is read as its name says, or one with terms as it is."""
        return file if isinstance(file, DataFile) else cls(file)

    def under(self, personal: PersonalTerms | None) -> DataFile:
        """Return the file as it is read under a policy's terms."""
        return replace(self, personal=personal)

    @property
    def said(self) -> Json:
        """What a site's file says of it: the path, or a table with what is not by default."""
        return (
            replace(self, path=self.path.resolve()).table
            if self.read.said
            else str(self.path.resolve())
        )

    @property
    def table(self) -> dict[str, Json]:
        """The same as a table, with the path as it is."""
        values = {kebab(field.name): getattr(self.read, field.name) for field in fields(FileTerms)}
        return {"path": str(self.path)} | {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in values.items()
            if key in self.read.said
        }


def single_byte(encoding: str) -> bool:
    """Say whether every byte is a character in this encoding, so that no file would be refused."""
    return codecs.lookup(encoding).name.startswith(("iso8859", "cp", "mac", "koi8", "latin"))


def _visible(text: str) -> str:
    return "".join(one for one in text if unicodedata.category(one) != "Cf")


def file_of(said: str | Mapping[str, Any]) -> DataFile:
    """Return the file that `DataFile.said` tells of.

    Raises:
        DataError: it is no such table.
    """
    if isinstance(said, str):
        return DataFile(Path(said))
    problems: list[str] = []
    table = terms.read(DataTable, said, path="data", problems=problems)
    if table is None or problems:
        raise DataError("; ".join(problems))
    return data_file(table, Path())


def data_file(said: str | DataTable, base: Path) -> DataFile:
    """Return the file that a site's or a scenario's `data` names, relative to `base`."""
    return DataFile(base / said) if isinstance(said, str) else said.file(base)


def terms_of(pairs: Sequence[str]) -> FileTerms:
    """Return the terms that options `key=value` say; date-format may stand more than once.

    Raises:
        DataError: no such key or value; each problem at once.
    """
    table: dict[str, Any] = {}
    for key, _, value in (pair.partition("=") for pair in pairs):
        said: Any = {"true": True, "false": False}.get(value, value)
        if key == "date-format":
            said = [*table.get(key, []), value]
        table[key] = said
    problems: list[str] = []
    found = terms.read(FileTerms, table, path="", problems=problems)
    if problems or found is None:
        raise DataError(f"--read: {'; '.join(problems)}. Nothing was read")
    return found
