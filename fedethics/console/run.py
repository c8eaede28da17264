"""Show a console until stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fedethics.console.http import application
from fedethics.console.places import places
from fedethics.listening import Listening


def show(paths: Sequence[Path], where: Listening, *, ready: Callable[[str, str], None]) -> None:
    """Answer until interrupted.

    Args:
        paths: homes and runs.
        where: address, token, certificate.
        ready: told the address and the token once pages are shown.

    Raises:
        RunError: a path holds nothing to show; the address is in use or not this machine's; the
            token or certificate is missing or not safe.
    """
    found = places(paths)
    with where.opened() as listener:
        shown = application(found, token=listener.token, port=listener.port, secure=listener.secure)
        listener.answer(shown, ready=lambda address: ready(address, listener.token))
