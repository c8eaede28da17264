"""How soon Flower asks again for a part of a message that is still on its way.

Flower announces a message before its parts have arrived, and waits 1 s, then 2 s and so on up to 10
s between questions for a part. A node that asks for messages often, as `Polling` does, would wait
so at every leg. Short first pauses make the wait short.
"""

from __future__ import annotations

from flwr.supercore.inflatable import inflatable_utils

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
PULLING = ("pull_objects", "pull_and_inflate_object_from_tree")


def install() -> None:
    """Let this process ask again after 0.05 s, doubling up to 1 s."""
    for name in PULLING:
        defaults = getattr(inflatable_utils, name).__kwdefaults__
        defaults["initial_backoff"] = FIRST_PAUSE_S
        defaults["backoff_cap"] = LONGEST_PAUSE_S
