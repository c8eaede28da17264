"""Explain records of a site's own file with an adapter, here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fedethics.charter.model import Charter
from fedethics.data.reading import raw_rows
from fedethics.data.records import Records, row_hash
from fedethics.errors import DataError
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
    data: Path,
    adapter: Path,
    lines: Sequence[int],
    model_dir: Path | None = None,
) -> Iterator[ExplainedLine]:
    """Yield each line's explanation.

    Guarantee: reads files and computes; nothing is written, sent or charged.

    Raises:
        DataError: the file is not as the schema says, or a line holds no record that is used.
        ModelError: the model is missing, or the adapter is not one of this charter.
    """
    bench = open_workbench(charter, data=data, model_dir=model_dir)
    wanted = {
        line: row_hash(row) for line, row in raw_rows(data, charter.data) if line in set(lines)
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
