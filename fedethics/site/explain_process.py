"""Explanations in a process of their own, told as one JSON object a line to its parent only.

The command line starts without torch, so it asks this process: `python -m
fedethics.site.explain_process`, with the question as one JSON object on standard input.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedethics import memory
from fedethics.canonical import Json
from fedethics.charter.document import load
from fedethics.errors import FedethicsError
from fedethics.site.explain import explain_lines


def main(asked: Mapping[str, Any]) -> int:
    """Explain what is asked, and return the exit code of what went wrong, or 0."""
    model_dir = asked.get("model_dir")
    try:
        for found in explain_lines(
            load(Path(asked["charter"])),
            data=Path(asked["data"]),
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
