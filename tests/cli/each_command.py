"""Run commands one after another in one process whose system and terminal are poorer than this one.

`python each_command.py` reads {"without": [modules], "encodings": [names], "commands": [[words]]}
from standard input. For each encoding it writes one list, with {"code", "out", "err", "raised"} of
each command. With `without`, the calls that Windows lacks are taken away as well.
"""

from __future__ import annotations

import io
import json
import os
import sys
import traceback

ABSENT_CALLS = ("geteuid", "getuid", "getegid", "getgid", "killpg", "fork", "chown", "mkfifo")


def main() -> None:
    asked = json.load(sys.stdin)
    for name in asked["without"]:
        sys.modules[name] = None  # type: ignore[assignment]
    if asked["without"]:
        for name in ABSENT_CALLS:
            delattr(os, name)
    real = sys.stdout
    from fedethics import memory
    from fedethics.cli.main import main as fedethics

    memory.keep_private = lambda: None
    told = [
        [_one(fedethics, words, encoding) for words in asked["commands"]]
        for encoding in asked["encodings"]
    ]
    sys.stdout = real
    json.dump(told, real)
    real.flush()


def _one(run: object, words: list[str], encoding: str) -> dict[str, object]:
    out, err = io.BytesIO(), io.BytesIO()
    sys.argv = ["fedethics", *words]
    sys.stdout = io.TextIOWrapper(out, encoding=encoding, write_through=True)
    sys.stderr = io.TextIOWrapper(err, encoding=encoding, write_through=True)
    code, raised = None, ""
    try:
        run()  # type: ignore[operator]
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        raised = traceback.format_exc()
    streams = (out.getvalue().decode(encoding), err.getvalue().decode(encoding))
    return {"code": code, "out": streams[0], "err": streams[1], "raised": raised}


if __name__ == "__main__":
    main()
