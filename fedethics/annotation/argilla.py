"""Argilla 2: records and settings out; `dataset.records.to_json`, or the same as JSON lines, in.

Source: docs.argilla.io, reference of Record, Response and Settings. The responses of
FeedbackDataset (1.x) differ in form and are read too; older datasets are refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from fedethics.annotation.tool import (
    Annotation,
    LabelTool,
    Question,
    Task,
    json_line,
    named,
    objects,
    one_label,
    required,
)
from fedethics.errors import DataError

_LABEL = "label"
_SUBMITTED = "submitted"


class Argilla(LabelTool):
    """Responses to a question of one label; drafts and discarded ones do not count."""

    name: ClassVar[str] = "argilla"

    def config(self, question: Question) -> Mapping[str, str]:
        """Return what `rg.Settings.from_json` reads."""
        options = [{"value": one, "text": one, "description": None} for one in question.labels]
        settings = {
            "guidelines": question.guideline,
            "allow_extra_metadata": True,
            "fields": [
                {"name": "text", "title": "text", "required": True,
                 "settings": {"type": "text", "use_markdown": False}}
            ],
            "questions": [
                {"name": _LABEL, "title": question.title, "required": True,
                 "settings": {"type": "label_selection", "options": options}}
            ],
            "vectors": [],
            "metadata": [{"name": "record", "title": "record", "settings": {"type": "terms"}}],
        }  # fmt: skip
        return {"settings.json": f"{json.dumps(settings, ensure_ascii=False, indent=1)}\n"}

    def tasks(self, tasks: Iterable[Task]) -> tuple[str, Iterator[str]]:
        """Return records as JSON lines."""
        return "records.jsonl", (
            json_line({"id": one.record, "fields": {"text": one.text},
                       "metadata": {"record": one.record}})
            for one in tasks
        )  # fmt: skip

    def annotations(self, path: Path) -> Iterator[Annotation]:
        """Yield the submitted responses."""
        for where, record in objects(path):
            if "annotation" in record or "annotation_agent" in record:
                raise DataError(
                    f"{where}: a record of an Argilla dataset before FeedbackDataset; move it to "
                    "Argilla 2 and export it again. Nothing was written"
                )
            if "fields" not in record:
                raise DataError(f"{where}: no fields; this is no export of Argilla")
            known = {**_table(record["fields"]), **_table(record.get("metadata"))}
            identity, text = named(known, where)
            for person, status, value in _responses(record.get("responses"), where):
                if status == _SUBMITTED:
                    yield Annotation(
                        record=identity, text=text, label=one_label(value, where), where=where,
                        annotator=required(person, where, "user_id, which says who gave a label"),
                    )  # fmt: skip


def _table(found: object) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def _responses(found: object, where: str) -> Iterator[tuple[object, object, object]]:
    """Yield person, status and value of each response to the question."""
    if isinstance(found, dict):  # Argilla 2: by question
        for one in found.get(_LABEL) or ():
            told = _table(one)
            yield told.get("user_id"), told.get("status") or _SUBMITTED, told.get("value")
        if found and _LABEL not in found:
            raise DataError(f'{where}: no responses to a question "{_LABEL}". Nothing was written')
    elif isinstance(found, list):  # FeedbackDataset: by person
        for one in found:
            told = _table(one)
            value = _table(_table(told.get("values")).get(_LABEL)).get("value")
            yield told.get("user_id"), told.get("status") or _SUBMITTED, value
    elif found is not None:
        raise DataError(f"{where}: responses that are no list and no table. Nothing was written")


ARGILLA = Argilla()
