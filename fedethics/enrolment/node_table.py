"""Write how to reach the coordinator into site.toml without touching anything else in it."""

from __future__ import annotations

import json
import re
import tomllib

from fedethics.errors import EnrolmentError

_HEADER = re.compile(r"^\[node\][ \t]*(#.*)?$", re.MULTILINE)
_NEXT = re.compile(r"^\[", re.MULTILINE)


def with_node_table(text: str, *, superlink: str, ca: str) -> str:
    """Return site.toml with `superlink` and `ca` of the table `[node]` set; comments stay.

    Raises:
        EnrolmentError: the file is written in a way that this cannot edit; edit it by hand.
    """
    lines = {"superlink": json.dumps(superlink), "ca": json.dumps(ca)}
    header = _HEADER.search(text)
    if header is None:
        table = "".join(f"{key} = {value}\n" for key, value in lines.items())
        edited = f"{text.rstrip()}\n\n[node]\n{table}"
    else:
        following = _NEXT.search(text, header.end())
        end = following.start() if following else len(text)
        body = text[header.end() : end]
        for key, value in lines.items():
            body = _set(body, key, value)
        edited = text[: header.end()] + body + text[end:]
    _check(text, edited, superlink=superlink, ca=ca)
    return edited


def _set(body: str, key: str, value: str) -> str:
    line = re.compile(rf"^{key}[ \t]*=.*$", re.MULTILINE)
    if line.search(body):
        return line.sub(lambda _: f"{key} = {value}", body, count=1)
    return f"\n{key} = {value}{body}"


def _check(before: str, after: str, *, superlink: str, ca: str) -> None:
    """Refuse an edit that did more or less than it should have."""
    try:
        was, now = tomllib.loads(before), tomllib.loads(after)
    except tomllib.TOMLDecodeError as error:
        raise EnrolmentError(f"site.toml is not valid TOML: {error}") from error
    node = {**was.pop("node", {}), "superlink": superlink, "ca": ca}
    if now.pop("node", None) != node or now != was:
        raise EnrolmentError(
            "site.toml could not be edited; nothing was written. Add by hand: [node] with "
            f"superlink = {json.dumps(superlink)} and ca = {json.dumps(ca)}"
        )
