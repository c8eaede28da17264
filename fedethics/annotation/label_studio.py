"""Label Studio: tasks and a labelling configuration out, its JSON export in.

Source: labelstud.io/guide/task_format (annotations with `completed_by`, `was_cancelled` and
`ground_truth`; before version 1.0 they were `completions`), labelstud.io/tags/choices.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from xml.sax.saxutils import quoteattr

from fedethics.annotation.tool import (
    Annotation,
    LabelTool,
    Question,
    Task,
    named,
    objects,
    one_label,
    required,
)
from fedethics.errors import DataError

_LABEL = "label"


class LabelStudio(LabelTool):
    """The "JSON" export; not "JSON-MIN", which leaves out who cancelled what."""

    name: ClassVar[str] = "label-studio"

    def config(self, question: Question) -> Mapping[str, str]:
        """Return the labelling configuration."""
        choices = "".join(f"    <Choice value={quoteattr(one)}/>\n" for one in question.labels)
        return {
            "config.xml": "<View>\n"
            f"  <Header value={quoteattr(question.title)}/>\n"
            f'  <Header value={quoteattr(question.guideline)} size="5"/>\n'
            '  <Text name="text" value="$text"/>\n'
            f'  <Choices name="{_LABEL}" toName="text" choice="single" required="true">\n'
            f"{choices}  </Choices>\n</View>\n"
        }

    def tasks(self, tasks: Iterable[Task]) -> tuple[str, Iterator[str]]:
        """Return an array of tasks."""
        return "tasks.json", _array(tasks)

    def annotations(self, path: Path) -> Iterator[Annotation]:
        """Yield the labels that were not cancelled."""
        for where, task in objects(path):
            if "annotations" not in task:
                raise DataError(f"{where}: {_other(task)}. Nothing was written")
            data = task.get("data")
            record, text = named(data if isinstance(data, dict) else {}, where)
            listed = task["annotations"]
            if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
                raise DataError(f"{where}: annotations that are no list of tables")
            for one in listed:
                if one.get("was_cancelled"):
                    continue
                yield Annotation(
                    record=record, text=text, annotator=_person(one, where),
                    label=_choice(one, where), settled=one.get("ground_truth") is True,
                    where=where,
                )  # fmt: skip


def _array(tasks: Iterable[Task]) -> Iterator[str]:
    before = "[\n"
    for task in tasks:
        data = {"data": {"text": task.text, "record": task.record}}
        yield before + json.dumps(data, ensure_ascii=False)
        before = ",\n"
    yield "\n]\n" if before != "[\n" else "[]\n"


def _other(task: Mapping[str, Any]) -> str:
    if "completions" in task:
        return "completions, as Label Studio wrote them before version 1.0; export it again"
    if {"annotator", "annotation_id"} & set(task):
        return 'the form "JSON-MIN"; choose "JSON" in Label Studio\'s export'
    return "no annotations; this is no JSON export of Label Studio"


def _person(annotation: Mapping[str, Any], where: str) -> str:
    person = annotation.get("completed_by")
    if isinstance(person, dict):
        person = person.get("email") or person.get("id")
    return required(person, where, "completed_by, which says who gave a label")


def _choice(annotation: Mapping[str, Any], where: str) -> str:
    found = []
    for part in annotation.get("result") or ():
        if not isinstance(part, dict) or part.get("type") != "choices":
            raise DataError(
                f"{where}: a result that is no choice, as a marked span is. Nothing was written"
            )
        if part.get("from_name") == _LABEL:
            value = part.get("value")
            found.append(value.get("choices") if isinstance(value, dict) else None)
    if annotation.get("result") and not found:
        raise DataError(
            f'{where}: no choice named "{_LABEL}", as the configuration of `data export` names it. '
            "Nothing was written"
        )
    return one_label([one for listed in found for one in listed or ()], where)


LABEL_STUDIO = LabelStudio()
