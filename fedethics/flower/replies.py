"""A reply that cannot be rebuilt is the loss of the site that sent it. Private parts of flwr 1.41.

Flower's grid takes all replies that have come in one loop and rebuilds each from parts that its
sender chose. What cannot be rebuilt raises whatever it raises; that would end the ServerApp, and
take with it the replies of other sites in the same loop. Here each is tried first, and one that
fails counts as unavailable, which is Flower's own word for a reply that never became whole.
"""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Message
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    inflate_object_from_contents,
    pull_objects,
)
from flwr.superlink.grid import http_grid


def contain_bad_replies() -> None:
    """Let this process's grid survive any reply."""

    def checked(object_ids: list[str], pull_object_fn: Callable[[str], bytes]) -> dict[str, bytes]:
        contents = pull_objects(object_ids, pull_object_fn)
        _rebuild(object_ids[-1], contents)  # children first, so the last one is the whole
        return contents

    http_grid.pull_objects = checked  # type: ignore[attr-defined,assignment]


def _rebuild(root: str, contents: dict[str, bytes]) -> None:
    try:
        whole = inflate_object_from_contents(root, dict(contents), keep_object_contents=True)
    except Exception as error:  # nobody lists in how many ways a part may be wrong
        raise ObjectPullError(root, f"it cannot be rebuilt ({type(error).__name__})") from error
    if not isinstance(whole, Message):
        raise ObjectPullError(root, "it is no message")
