"""Which packages fedethics needs and in which versions, read from what is installed.

Read from the installed metadata: importing torch would take many seconds.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

PINNED = {"flwr": "1.41.", "opacus": "1.6.", "peft": "0.21.", "dp-accounting": "0.6."}
_NEEDED = ("torch", "transformers", "numpy", "scipy", "cryptography", "safetensors", "matplotlib")


@dataclass(frozen=True, slots=True)
class Package:
    """One package looked at; `ok` is False for what would stop a run."""

    name: str
    found: str
    ok: bool
    advice: str = ""


def packages() -> Iterator[Package]:
    """Yield Python and every package that a run needs, with what to do where one is wrong."""
    supported = sys.version_info >= (3, 11)
    yield Package("python", platform.python_version(), supported, "" if supported else "3.11+")
    for name in (*PINNED, *_NEEDED):
        wanted = PINNED.get(name, "")
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Package(name, "missing", False, f"install fedethics again; it needs {name}")
            continue
        right = found.startswith(wanted)
        yield Package(name, found, right, "" if right else f"needs {wanted}*")
