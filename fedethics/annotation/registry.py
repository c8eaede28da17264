"""The labelling tools by name."""

from __future__ import annotations

from collections.abc import Mapping

from fedethics.annotation.argilla import ARGILLA
from fedethics.annotation.doccano import DOCCANO
from fedethics.annotation.label_studio import LABEL_STUDIO
from fedethics.annotation.prodigy import PRODIGY
from fedethics.annotation.tool import LabelTool
from fedethics.errors import DataError

TOOLS: Mapping[str, LabelTool] = {
    tool.name: tool for tool in (LABEL_STUDIO, ARGILLA, DOCCANO, PRODIGY)
}
# A file of records with a column for each annotator: it needs no tool.
CSV = "csv"


def find_tool(name: str) -> LabelTool:
    """Return the tool called `name`.

    Raises:
        DataError: there is none.
    """
    if name not in TOOLS:
        raise DataError(f"tool {name!r} is none of {', '.join(TOOLS)}. Nothing was written")
    return TOOLS[name]
