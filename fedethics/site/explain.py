"""Explain records of a site's own file with an adapter, here and nowhere else.

Explanations in a process of their own, told as one JSON object a line to its parent only.

The command line starts without torch, so it asks this process: `python -m
fedethics.site.explain`, with the question as one JSON object on standard input.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fedethics import memory
from fedethics.canonical import Json
from fedethics.charter.document import load
from fedethics.charter.model import Charter
from fedethics.charter_sums import layout_of
from fedethics.data.file_terms import DataFile, file_of
from fedethics.data.reading import raw_rows, row_identity
from fedethics.data.records import Records
from fedethics.errors import DataError, FedethicsError
from fedethics.explanation.single import Explained, explain_record
from fedethics.site.explanation import score_texts
from fedethics.site.workbench import open_workbench
from fedethics.training.saved_adapter import read_adapter


# Sensitive: tells of one record; for the site's own eyes.
@dataclass(frozen=True, kw_only=True, slots=True)
class ExplainedLine:
    """A line of the site's file, explained.

    Attributes:
        line: of the file, the header being line 1.
        part: "trained on" or "held out": the model may remember what it was trained on.
    """

    line: int
    part: str
    explained: Explained


def explain_lines(
    charter: Charter,
    *,
    data: Path | DataFile,
    adapter: Path,
    lines: Sequence[int],
    model_dir: Path | None = None,
) -> Iterator[ExplainedLine]:
    """Yield each line's explanation.

    Guarantee: reads files and computes; nothing is written, sent or charged.

    Raises:
        DataError: the file is not as the schema says, a line holds no record that is used, or no
            threshold on one score decides.
        ModelError: the model is missing, or the adapter is not one of this charter.
    """
    if not layout_of(charter).measured.thresholded:
        raise DataError(
            "records are explained by what moves one score, and this charter decides between "
            "classes by the highest of several; nothing was read. Explanations of several classes "
            "are not built"
        )
    bench = open_workbench(charter, data=data, model_dir=model_dir)
    read = DataFile.of(data).read
    wanted = {
        line: row_identity(row, charter.data, read)
        for line, row in raw_rows(data, charter.data)
        if line in set(lines)
    }
    vector = read_adapter(bench.learner, adapter)
    score = partial(score_texts, bench.learner, vector)
    parts = (("trained on", bench.records.train), ("held out", bench.records.held_out))
    for line in lines:
        name, records, place = _find(wanted.get(line), line, parts)
        yield ExplainedLine(
            line=line,
            part=name,
            explained=explain_record(
                score,
                records.values[place],
                [int(index) for index in records.groups[place]],
                terms=charter.data,
                threshold=charter.privacy.evaluation.threshold,
            ),
        )


def _find(
    digest: bytes | None, line: int, parts: Sequence[tuple[str, Records]]
) -> tuple[str, Records, int]:
    for name, records in parts:
        if digest in records.row_hashes:
            return name, records, records.row_hashes.index(digest)
    raise DataError(
        f"line {line} of the file holds no record that a run would use: it is not there, is the "
        "header, or was left out for an empty cell. `fedethics data check` counts what is left out"
    )


def main(asked: Mapping[str, Any]) -> int:
    """Explain what is asked, and return the exit code of what went wrong, or 0."""
    model_dir = asked.get("model_dir")
    try:
        for found in explain_lines(
            load(Path(asked["charter"])),
            data=file_of(asked["data"]),
            adapter=Path(asked["adapter"]),
            lines=asked["lines"],
            model_dir=Path(model_dir) if model_dir else None,
        ):
            better = found.explained.faithfulness.better_than_chance
            _say(record=asdict(found), better_than_chance=better)
    except FedethicsError as error:
        _say(code=error.code, exit=error.exit_code, why=str(error))
        return error.exit_code
    return 0


def _say(**line: Json) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    memory.keep_private()
    raise SystemExit(main(json.load(sys.stdin)))
