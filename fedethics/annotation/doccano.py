"""Doccano: JSON lines and label configuration out; its JSONL, a file for each annotator, in.

Source: doccano.github.io/doccano, text classification: `{"text": .., "label": ["positive"]}`, with
further fields as metadata; an export of a project that is not shared has a file for each user.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from fedethics.annotation.tool import (
    Annotation,
    LabelTool,
    Question,
    Task,
    json_line,
    named,
    objects,
    one_label,
)
from fedethics.errors import DataError


class Doccano(LabelTool):
    """A file's name is its annotator, unless a line has the field `username`."""

    name: ClassVar[str] = "doccano"

    def config(self, question: Question) -> Mapping[str, str]:
        """Return the labels and the guideline."""
        labels = [{"text": one} for one in question.labels]
        return {
            "labels.json": f"{json.dumps(labels, ensure_ascii=False, indent=1)}\n",
            "guideline.md": f"# {question.title}\n\n{question.guideline}\n",
        }

    def tasks(self, tasks: Iterable[Task]) -> tuple[str, Iterator[str]]:
        """Return texts as JSON lines, the identity as metadata."""
        return "tasks.jsonl", (
            json_line({"text": one.text, "label": [], "record": one.record}) for one in tasks
        )

    def annotations(self, path: Path) -> Iterator[Annotation]:
        """Yield each line's label."""
        for where, line in objects(path):
            if "annotations" in line:
                raise DataError(
                    f"{where}: annotations by number, as doccano wrote them before version 1.5; "
                    "export it again as JSONL. Nothing was written"
                )
            if "label" not in line:
                raise DataError(f"{where}: no label; this is no JSONL of doccano")
            label = line["label"]
            if isinstance(label, list) and any(isinstance(one, list) for one in label):
                raise DataError(
                    f"{where}: marked spans; only projects of text classification are read. "
                    "Nothing was written"
                )
            record, text = named({"text": line.get("data"), **line}, where)
            who = line.get("username")
            yield Annotation(
                record=record, text=text, label=one_label(label, where), where=where,
                annotator=who if isinstance(who, str) and who else path.stem,
            )  # fmt: skip


DOCCANO = Doccano()
