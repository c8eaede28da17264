"""Commands that a message suggests, spelled so that a shell takes them as they are."""

from __future__ import annotations

import shlex
from pathlib import Path


def command(*words: object) -> str:
    """Return a command line: each word quoted as a POSIX shell needs it.

    A path that begins with a hyphen gets "./" before it, since it would be read as an option.
    """
    return " ".join(_word(word) for word in words)


def suggested(*words: object) -> str:
    """Return a command of `fedethics`. Give every option that it needs, values as they are."""
    return command("fedethics", *words)


def join_again(home: Path) -> str:
    """Return the command by which a site joins, also another time."""
    return suggested(
        "site", "join", "--home", home, "--fingerprint", "FINGERPRINT-TOLD", "INVITATION"
    )


def _word(word: object) -> str:
    text = str(word)
    if isinstance(word, Path) and text.startswith("-"):
        text = f"./{text}"
    if text.isprintable():
        return shlex.quote(text)
    # A line break or an escape in a path must not reach the terminal as one.
    escaped = text.encode("unicode_escape").decode("ascii").replace("'", "\\'")
    return f"$'{escaped}'"
