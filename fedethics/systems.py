"""Which systems what runs on.

Sites and coordinators run on Linux, where all of it is tested, and on macOS, where it is not. What
officers and auditors use (charter, policy, ledger, budget, release, key, data, doctor) needs
nothing of the system and runs on Windows too.
"""

from __future__ import annotations

import importlib.util
import os
import sys

from fedethics.errors import SetupError

# What keeps two processes off one ledger, others off a home, and ends what was started.
_MODULES = ("fcntl",)
_CALLS = ("geteuid", "killpg")


def require_home_system(what: str) -> None:
    """Refuse a command of a site or coordinator on a system without locks and owners of files.

    Raises:
        SetupError: this system is one; nothing was read or written.
    """
    if all(_is_here(name) for name in _MODULES) and all(hasattr(os, name) for name in _CALLS):
        return
    raise SetupError(
        f"`{what}` is not supported on this system ({sys.platform}), which cannot lock files and "
        "keep them from other accounts as a site or coordinator needs: use Linux or macOS. Nothing "
        "was done. Charter, policy, ledger, budget, release, key, data and doctor work here"
    )


def _is_here(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # it was imported in a way that tells nothing, or kept from being so
        return sys.modules.get(name) is not None
