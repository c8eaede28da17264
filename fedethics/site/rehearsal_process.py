"""A rehearsal in a process of its own, which writes one JSON object a line.

The command line starts without torch, so it asks this process: `python -m
fedethics.site.rehearsal_process HOME`. The lines hold names of steps and seconds, nothing of a
record.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from fedethics import memory
from fedethics.canonical import Json
from fedethics.errors import FedethicsError
from fedethics.site.home import SiteHome
from fedethics.site.rehearsal import rehearse


def main(home: Path) -> int:
    """Rehearse, and return the exit code of what went wrong, or 0."""
    try:
        done = rehearse(
            SiteHome.open(home), on_step=lambda step, seconds: _say(step=step, seconds=seconds)
        )
    except FedethicsError as error:
        _say(code=error.code, exit=error.exit_code, why=str(error))
        return error.exit_code
    _say(done=asdict(done))
    return 0


def _say(**line: Json) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    memory.keep_private()
    raise SystemExit(main(Path(sys.argv[1])))
