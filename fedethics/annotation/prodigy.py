"""Prodigy: the JSON lines of `prodigy db-out`, of the interface for choices.

Source: prodi.gy/docs/api-interfaces#choice (`accept`, `answer`) and prodi.gy/docs/api-database
(`_annotator_id`; before version 1.12, `_session_id` alone).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from fedethics.annotation.tool import Annotation, LabelTool, named, objects, one_label, required
from fedethics.errors import DataError


class Prodigy(LabelTool):
    """Answers that were accepted; those that were ignored or rejected give no label."""

    name: ClassVar[str] = "prodigy"
    exports: ClassVar[bool] = False

    def annotations(self, path: Path) -> Iterator[Annotation]:
        """Yield each accepted choice."""
        for where, line in objects(path):
            if "answer" not in line:
                raise DataError(f"{where}: no answer; this is no db-out of Prodigy")
            if "accept" not in line or line.get("spans"):
                raise DataError(
                    f'{where}: not of the interface "choice"; ask for one of the labels with it. '
                    "Nothing was written"
                )
            meta = line.get("meta")
            kept = meta.get("record") if isinstance(meta, dict) else None
            record, text = named({"record": kept, **line}, where)
            person = line.get("_annotator_id") or line.get("_session_id")
            yield Annotation(
                record=record, text=text, where=where,
                label=one_label(line["accept"], where) if line["answer"] == "accept" else "",
                annotator=required(person, where, "_annotator_id, which says who gave a label"),
            )  # fmt: skip


PRODIGY = Prodigy()
