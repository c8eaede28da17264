"""Explain records of a site's own file with an adapter, here and nowhere else.

Explanations in a process of their own, written as one JSON object a line, to its parent only.

The command line starts without torch, so it asks this process: `python -m
fedethics.site.explain`, with the question as one JSON object on standard input.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedethics import memory
from fedethics.canonical import Json
from fedethics.charter.document import load
from fedethics.charter.model import Charter
from fedethics.charter_sums import layout_of
from fedethics.counterfactuals import WordSwap
from fedethics.data.content import Content, rewritten
from fedethics.data.file_terms import DataFile, file_of
from fedethics.data.personal_terms import personal_of
from fedethics.data.reading import raw_rows, row_identity
from fedethics.data.records import Records
from fedethics.errors import DataError, FedethicsError
from fedethics.explanation.single import Explained, Faithfulness, explain_record
from fedethics.explanation.words import ExplainedWords, explain_words, explained_targets
from fedethics.learning_tasks import find_task
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
    explained: Explained | WordsTold


# Sensitive: as above.
@dataclass(frozen=True, kw_only=True, slots=True)
class SwappedWords:
    """The same record with the words of a list of the charter swapped.

    Attributes:
        name: of the list.
        score: of the answer that is explained.
        flips: whether another answer is taken; None where nothing is decided.
    """

    name: str
    score: float
    flips: bool | None


# Sensitive: as above.
@dataclass(frozen=True, kw_only=True, slots=True)
class WordsTold:
    """A record explained by its words.

    Attributes:
        answer: whose score is explained.
        by_words: the explanation.
        swaps: for each list of swapped words of the charter that changes the record.
    """

    answer: str
    by_words: ExplainedWords
    swaps: tuple[SwappedWords, ...]

    @property
    def faithfulness(self) -> Faithfulness:
        """Return what the order is worth."""
        return self.by_words.faithfulness


def by_columns(charter: Charter) -> bool:
    """Say whether a record is explained by its columns: one score decides, and several are told."""
    told = [column for column in charter.data.columns if column.phrase]
    return (
        layout_of(charter).measured.thresholded and charter.data.content is None and len(told) > 1
    )


def explain_lines(
    charter: Charter,
    *,
    data: Path | DataFile,
    adapter: Path,
    lines: Sequence[int],
    model_dir: Path | None = None,
    words: bool = False,
) -> Iterator[ExplainedLine]:
    """Yield each line's explanation: by its columns, or by its words.

    Args:
        charter: the agreed terms.
        data: the site's file.
        adapter: folder of the adapter.
        lines: of the file.
        model_dir: folder of the base model; None for an embedded one.
        words: whether the words are asked for where columns could be told.

    Guarantee: reads files and computes; nothing is written, sent or charged.

    Raises:
        DataError: the file is not as the schema says, a line holds no record that is used or one
            that cannot be put into tokens, or the task learns texts and gives no answer.
        ModelError: the model is missing, or the adapter is not one of this charter.
    """
    if not find_task(charter.model.task).explained:
        raise DataError(
            f"model.task {charter.model.task!r} learns whole texts and answers nothing, so there "
            "is no answer to explain; nothing was read"
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
        bench.learner.tokens([records.texts[place]])  # refuses what cannot be put into tokens
        if by_columns(charter) and not words:
            told: Explained | WordsTold = explain_record(
                score,
                records.values[place],
                [int(index) for index in records.groups[place]],
                terms=charter.data,
                threshold=charter.privacy.evaluation.threshold,
            )
        else:
            label = int(records.labels[place])
            told = _words_of(charter, score, records.texts[place], label)
        yield ExplainedLine(line=line, part=name, explained=told)


def _words_of(
    charter: Charter,
    score: Callable[[Sequence[Content]], NDArray[np.float64]],
    content: Content,
    label: int,
) -> WordsTold:
    """Explain a record by its words: the score of what is decided, or of the record's answer."""
    measured = layout_of(charter).measured
    threshold, labelled = charter.privacy.evaluation.threshold, charter.data.label is not None

    def decided(scores: NDArray[np.float64]) -> int:
        return int(measured.chosen(scores, threshold=threshold)[0])

    own = score([content])
    target = decided(own) if labelled else label
    (explained,) = explained_targets(
        measured, own, np.array([label]), threshold=threshold, labelled=labelled
    )

    def told(contents: Sequence[Content]) -> NDArray[np.float64]:
        scores = score(contents)
        return measured.sureness(np.full(len(scores), explained), scores)

    found = explain_words(told, content, positive=bool(target == explained))
    swaps = []
    for words in (charter.measures and charter.measures.counterfactuals) or ():
        changed = rewritten(content, WordSwap(words.swaps))
        if changed != content:
            flips = decided(score([changed])) != target if labelled else None
            number = float(told([changed])[0])
            swaps.append(SwappedWords(name=words.name, score=number, flips=flips))
    answer = charter.data.labels.names[target] if labelled else "the record's own answer"
    return WordsTold(answer=answer, by_words=found, swaps=tuple(swaps))


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
            data=file_of(asked["data"]).under(personal_of(asked.get("personal"))),
            adapter=Path(asked["adapter"]),
            lines=asked["lines"],
            model_dir=Path(model_dir) if model_dir else None,
            words=bool(asked.get("words")),
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
