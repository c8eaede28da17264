r"""The way to the terminal: what it cannot show is spelled, and who went away is no error.

A terminal or log may know ASCII or Latin-1 only, a file name may hold bytes that are no text, and
`head` closes a pipe before all was written. None of them may end a command in a traceback, or with
half of its work undone. What cannot be shown is spelled as in a Python string: `\xe4`, `\udcff`.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import sys
from typing import TextIO

_AS_JSON = "fedethics-as-json"


def prepare() -> None:
    """Let this process's output spell what it cannot show; call this before anything is printed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started this: there is nobody to tell
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        else:
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                reconfigure(errors="backslashreplace")


def showable_json(text: str, stream: TextIO) -> str:
    """Return JSON whose every character `stream` can show; a reader gets the same document."""
    # A stream that is not of the system (a test's) has no encoding and takes everything.
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, _AS_JSON).decode(encoding)


def let_go() -> bool:
    """Write out what is left, and forget what nobody takes; return whether all was taken.

    Without this, Python itself would complain at its end, after our last word.
    """
    whole = True
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            stream.flush()
        except (OSError, ValueError):
            whole = whole and name != "stdout"
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
    return whole


def _as_json(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    refused = error.object[error.start : error.end]
    return json.dumps(refused)[1:-1], error.end


codecs.register_error(_AS_JSON, _as_json)
