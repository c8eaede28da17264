"""A release's scores of new records: the release verified first, the file written whole or not.

Guarantee: a release that is withheld, withdrawn, altered or not whole scores nothing; and a score
is the number that a site computes of the same record, to the last bit, on the same machine.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedethics.canonical import Json
from fedethics.charter.model import Charter
from fedethics.charter_sums import layout_of
from fedethics.data.file_terms import DataFile
from fedethics.data.forms import PROMPTS, read_prompt
from fedethics.errors import DataError, ModelError, ReleaseError
from fedethics.fairness.measured import Deciding
from fedethics.policy.model import Compute
from fedethics.release import folder
from fedethics.release.folder import ADAPTER_DIR, EVIDENCE, MANIFEST, Folder
from fedethics.release.standing import require_released
from fedethics.scoring.new_records import NewRecord, read_new, unanswered
from fedethics.site.workbench import learner_for
from fedethics.storage import files
from fedethics.training.generation import answers
from fedethics.training.learner import Learner
from fedethics.training.saved_adapter import read_adapter

_PORTION = 512
Line: TypeAlias = Mapping[str, Json]
Write: TypeAlias = Callable[[IO[str], Sequence[str], Iterable[Line]], None]
_LINE, _NOT_SCORED, _ANSWER = "line", "not_scored", "answer"
# Prompts between two looks at the progress.
_TOGETHER = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """What was written.

    Attributes:
        records: lines written.
        left_out: of them, records that the charter leaves out, by reason.
        decided: records by decision.
    """

    records: int
    left_out: Mapping[str, int]
    decided: Mapping[str, int]


def score_release(
    run_dir: Path,
    *,
    data: Path | DataFile,
    out: Path,
    model_dir: Path | None = None,
    compute: Compute | None = None,
    keep: Sequence[str] = (),
    most_tokens: int = 256,
    advanced: Callable[[int, int], None] = lambda _done, _of: None,
) -> Scored:
    """Verify a release and write its scores of the records in `data`, or its answers to them.

    Args:
        run_dir: the release.
        data: the records, with the charter's columns except for the label.
        out: the file to write, .csv or .jsonl; it must not exist.
        model_dir: folder of the base model; None for one that comes with a package.
        compute: where it runs; the CPU, if not given.
        keep: columns of `data` to hand through.
        most_tokens: of one answer, where the model writes answers.
        advanced: called with how many records are done, and of how many.

    Raises:
        ReleaseError: the release does not verify, is not released, or was withdrawn; or `out`
            exists, has another ending, or would lie in a release.
        DataError: the file is not as the charter says. Nothing was written.
        ModelError: the base model is missing or another, or the adapter does not fit.
    """
    write = _writer(out)
    opened = require_released(run_dir)
    work = _work_of(opened.charter, most_tokens)
    fields = _fields(keep, work.fields)
    # All of it is read once before anything is computed: a wrong last line costs no hour.
    count = sum(1 for _ in work.read(data, keep))
    learner, vector = released_adapter(opened, model_dir, compute or Compute())
    tally = _Tally()
    lines = work.lines(learner, vector, work.read(data, keep))
    try:
        with files.written(out) as file:
            write(file, fields, tally.counted(lines, count, advanced))
    except OSError as error:
        raise ReleaseError(f"{out} cannot be written: {error.strerror}") from error
    return Scored(records=tally.records, left_out=tally.left_out, decided=tally.decided)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    """What is made of new records: fields, how records are read, and the line of each."""

    fields: Sequence[str]
    read: Callable[[Path | DataFile, Sequence[str]], Iterator[NewRecord]]
    lines: Callable[[Learner, NDArray[np.float32], Iterable[NewRecord]], Iterator[Line]]


def _work_of(charter: Charter, most_tokens: int) -> _Work:
    content = charter.data.content
    if _decided(charter) is None and content is not None and content.form in PROMPTS:
        asked = unanswered(charter.data)
        return _Work(
            fields=(_ANSWER,),
            read=lambda data, keep: read_new(data, asked, keep=keep, read=read_prompt),
            lines=partial(answered, most=most_tokens),
        )
    decide = deciding(charter)
    return _Work(
        fields=decide.fields,
        read=lambda data, keep: read_new(data, charter.data, keep=keep),
        lines=partial(scored, decide=decide),
    )


def answered(
    learner: Learner, vector: NDArray[np.float32], records: Iterable[NewRecord], *, most: int
) -> Iterator[Line]:
    """Yield what the model answers to each record, in their order: greedy, each computed alone.

    Args:
        learner: of the charter's model.
        vector: the adapter, shape (p,).
        records: prompts, read by the charter.
        most: tokens of an answer.
    """
    waiting = iter(records)
    while portion := list(islice(waiting, _TOGETHER)):
        contents = [one.content for one in portion if one.content is not None]
        fits = [bool(prompt.ids) for prompt in learner.prompts(contents)]
        asked = [content for content, fit in zip(contents, fits, strict=True) if fit]
        said, fitting = iter(answers(learner, vector, asked, most=most)), iter(fits)
        for record in portion:
            line: dict[str, Json] = {**record.kept, _LINE: record.line}
            if record.content is None:
                yield line | {_NOT_SCORED: record.left_out}
            elif not next(fitting):
                yield line | {_NOT_SCORED: "longer than the charter's model.max-tokens"}
            else:
                yield line | {_ANSWER: next(said)[0]}


def scored(
    learner: Learner,
    vector: NDArray[np.float32],
    records: Iterable[NewRecord],
    decide: Deciding,
) -> Iterator[Line]:
    """Yield what is written of each record, in their order.

    Args:
        learner: of the charter's model.
        vector: the adapter, shape (p,).
        records: read by the charter.
        decide: what follows from one record's scores.
    """
    waiting = iter(records)
    while portion := list(islice(waiting, _PORTION)):
        contents = [one.content for one in portion if one.content is not None]
        found = iter(learner.scores(vector, learner.activations(contents, records=_PORTION)))
        for record in portion:
            line: dict[str, Json] = {**record.kept, _LINE: record.line}
            if record.content is None:
                yield line | {_NOT_SCORED: record.left_out}
                continue
            scores = np.asarray(next(found))
            if not np.isfinite(scores).all():
                yield line | {_NOT_SCORED: "the model gives no finite score"}
                continue
            yield {**line, **decide.of(scores)}


def deciding(charter: Charter) -> Deciding:
    """Return what a charter makes of one record's scores.

    Raises:
        DataError: the charter's task decides nothing of a record.
    """
    found = _decided(charter)
    if found is None:
        raise DataError(
            f"task {charter.model.task!r} decides nothing of a record, and its records ask "
            "nothing, so there is nothing to score. Nothing was read or written"
        )
    return found


def _decided(charter: Charter) -> Deciding | None:
    return layout_of(charter).measured.deciding(
        charter.data.labels.names, threshold=charter.privacy.evaluation.threshold
    )


def released_adapter(
    opened: Folder, model_dir: Path | None, compute: Compute
) -> tuple[Learner, NDArray[np.float32]]:
    """Return the learner of a verified release, and the vector of the adapter that was verified.

    Raises:
        ModelError: the base model is missing or another, or the adapter does not fit.
    """
    learner = learner_for(opened.charter, model_dir, compute)
    vector = read_adapter(learner, opened.path / ADAPTER_DIR)
    # Of what was read: the file may have changed since it was verified.
    digest = hashlib.sha256(learner.adapter_bytes(vector)).hexdigest()
    if digest != opened.evidence.model_hash:
        raise ModelError(
            f"{opened.path / folder.ADAPTER} changed while it was read, and is not the adapter "
            "that was approved; nothing was scored"
        )
    return learner, vector


class _Tally:
    def __init__(self) -> None:
        self.records = 0
        self.left_out: dict[str, int] = {}
        self.decided: dict[str, int] = {}

    def counted(
        self, lines: Iterable[Line], of: int, advanced: Callable[[int, int], None]
    ) -> Iterator[Line]:
        for line in lines:
            self.records += 1
            kind = self.left_out if _NOT_SCORED in line else self.decided
            name = str(line.get(_NOT_SCORED, line.get("decision", "answered")))
            kind[name] = kind.get(name, 0) + 1
            advanced(self.records, of)
            yield line


def _as_json(file: IO[str], _fields: Sequence[str], lines: Iterable[Line]) -> None:
    for line in lines:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


class _Rows:
    """Rows of csv.writer, which writes each at once, with a line feed alone at their end."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: str) -> int:
        """Write one row."""
        return self._file.write(row.removesuffix("\r\n") + "\n")


def _as_csv(file: IO[str], fields: Sequence[str], lines: Iterable[Line]) -> None:
    # Up to Python 3.12, csv quotes a carriage return only where it ends a line.
    writer = csv.writer(_Rows(file), lineterminator="\r\n")
    writer.writerow(map(cell, fields))
    for line in lines:
        writer.writerow([cell(line.get(field, "")) for field in fields])


# What spreadsheets take for a formula, in both widths, and the mark itself, so that it can be
# taken off again.
_FORMULA = frozenset("=+-@\t\r\n＝＋－＠'")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def cell(value: Json) -> Json:
    """Return a cell of a CSV file that no spreadsheet takes for a formula.

    A text that begins like a formula or with an apostrophe gets an apostrophe before it. A reader
    takes one off each cell that begins with one, and has every text as it was. A number is no
    formula, with its sign as well.

    Source: OWASP, "CSV Injection".
    """
    if isinstance(value, str) and value[:1] in _FORMULA and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


_WRITERS: Mapping[str, Write] = {".csv": _as_csv, ".jsonl": _as_json}


def _fields(keep: Sequence[str], found: Sequence[str]) -> tuple[str, ...]:
    fields = (*keep, _LINE, *found, _NOT_SCORED)
    twice = sorted({name for name in fields if fields.count(name) > 1})
    if twice:
        raise ReleaseError(
            f"--keep {', '.join(twice)}: the scores have a field of that name; rename the column. "
            "Nothing was scored"
        )
    return fields


def _release_around(out: Path) -> Path | None:
    """Return the release's folder that a file would lie in, at whatever depth; None outside."""
    inside = out.parent.resolve()
    signed = (one for one in (inside, *inside.parents) if (one / MANIFEST).exists())
    return next((one for one in signed if (one / EVIDENCE).exists()), None)


def _writer(out: Path) -> Write:
    if out.suffix.lower() not in _WRITERS:
        raise ReleaseError(
            f"--out {out}: scores are written as {' or '.join(_WRITERS)}, by the file's ending. "
            "Nothing was scored"
        )
    if os.path.lexists(out):
        raise ReleaseError(f"--out {out} exists already and is kept; give another name")
    if not out.parent.is_dir():
        raise ReleaseError(f"--out {out}: {out.parent} is no folder. Nothing was scored")
    if release := _release_around(out):
        raise ReleaseError(
            f"--out {out}: it would lie in the release {release}, which would not verify any more. "
            "Give a place outside. Nothing was scored"
        )
    return _WRITERS[out.suffix.lower()]
