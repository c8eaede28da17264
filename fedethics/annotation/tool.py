"""What every labelling tool answers: how tasks are written for it, and how its export is read.

A new tool is a file with one object, and a line in `registry`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from fedethics.errors import DataError
from fedethics.ownership import cannot_read

# One task; bounds memory.
_MOST_READ = 16 * 2**20
_BLOCK = 1 << 16


# Sensitive: a text is a record.
@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One record to be labelled.

    Attributes:
        record: its identity, which the tool gives back.
        text: what the annotator reads.
    """

    record: str
    text: str


# Sensitive: a label and who gave it.
@dataclass(frozen=True, kw_only=True, slots=True)
class Annotation:
    """One annotator's label of one record.

    Attributes:
        record: identity of the record; empty where the tool did not keep it.
        text: what the annotator read; used where there is no identity.
        annotator: as the tool names the person.
        label: as the tool has it; empty where the annotator gave none.
        settled: whether the tool marks it as the truth, which a person decided there.
        where: in the file, for messages.
    """

    record: str
    text: str
    annotator: str
    label: str
    settled: bool = False
    where: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What annotators are asked.

    Attributes:
        title: of the question.
        guideline: its text, or a sentence with its hash.
        labels: in their order.
    """

    title: str
    guideline: str
    labels: tuple[str, ...]


class LabelTool(ABC):
    """One tool. It holds no state.

    Attributes:
        name: as `--to` and `--from` name it.
        exports: whether tasks can be written for it.
    """

    name: ClassVar[str]
    exports: ClassVar[bool] = True

    @abstractmethod
    def annotations(self, path: Path) -> Iterator[Annotation]:
        """Yield every label of an export, one task in memory at a time.

        Raises:
            DataError: unreadable, of another version or kind of project, a task without a record,
                or a label without an annotator; names the place and never what a record says.
        """

    def config(self, _question: Question) -> Mapping[str, str]:
        """Return the files that set a project up, by name."""
        return {}

    def tasks(self, _tasks: Iterable[Task]) -> tuple[str, Iterator[str]]:
        """Return the name of the file of tasks, and its content in pieces.

        Raises:
            DataError: no tasks can be written for this tool.
        """
        raise DataError(f"--to {self.name}: no tasks are written for it. Nothing was written")


def objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the tables of a JSON array, or of JSON lines, with the place of each.

    Raises:
        DataError: unreadable, no JSON, or something else than tables.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            start = file.read(_BLOCK)
            pieces = _array(file, start) if start.lstrip().startswith("[") else _lines(file, start)
            for place, value in pieces:
                if not isinstance(value, dict):
                    raise DataError(
                        f"{path.name}, {place}: no table of fields. Nothing was written"
                    )
                yield f"{path.name}, {place}", value
    except DataError:  # is a ValueError, too
        raise
    except OSError as error:
        raise DataError(f"annotations {cannot_read(path, error)}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"annotations {path} are not UTF-8. Nothing was written") from error
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits
        raise DataError(f"annotations {path} are no JSON. Nothing was written") from error


def _array(file: Any, start: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  a text file
    decoder, number = json.JSONDecoder(), 0
    rest = start.lstrip()[1:]
    while True:
        rest = rest.lstrip().removeprefix(",").lstrip()
        if rest.startswith("]"):
            return
        try:
            value, end = decoder.raw_decode(rest)
            # A number at the end of a block may go on in the next.
            if end == len(rest):
                raise json.JSONDecodeError("cut", rest, end)
        except json.JSONDecodeError:
            block = file.read(max(_BLOCK, len(rest)))
            if not block or len(rest) > _MOST_READ:
                raise
            rest += block
            continue
        number += 1
        yield f"task {number}", value
        rest = rest[end:]


def _lines(file: Any, start: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  a text file
    begun = (start + file.readline(_MOST_READ)).split("\n")
    more = iter(lambda: file.readline(_MOST_READ + 1), "")
    for number, line in enumerate(chain(begun, more), start=1):
        if len(line) > _MOST_READ:
            raise json.JSONDecodeError("too long", line[:1], 0)
        if line.strip():
            yield f"line {number}", json.loads(line)


def required(found: object, where: str, what: str) -> str:
    """Return a text or number as text.

    Raises:
        DataError: it is absent, empty, or of another type.
    """
    if isinstance(found, bool) or not isinstance(found, str | int) or not str(found).strip():
        raise DataError(f"{where}: no {what}. Nothing was written")
    return str(found).strip()


def named(data: Mapping[str, Any], where: str) -> tuple[str, str]:
    """Return the identity of a task's record and its text, one of which may be empty.

    Raises:
        DataError: both are.
    """
    record, text = data.get("record"), data.get("text")
    found = (record if isinstance(record, str) else "", text if isinstance(text, str) else "")
    if not any(one.strip() for one in found):
        raise DataError(f"{where}: an empty task, with no record and no text. Nothing was written")
    return found


def one_label(given: object, where: str) -> str:
    """Return the one label of an annotation; "" for none.

    Raises:
        DataError: several, or something that is no label.
    """
    listed = given if isinstance(given, list) else [given]
    if not listed or listed == [None]:
        return ""
    if len(listed) > 1:
        raise DataError(
            f"{where}: {len(listed)} labels by one annotator; a record has one label. Nothing was "
            "written"
        )
    return required(listed[0], where, "label that is a text")


def json_line(table: Mapping[str, object]) -> str:
    """Return a table as one line of JSON."""
    return f"{json.dumps(table, ensure_ascii=False)}\n"
