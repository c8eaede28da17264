"""What is installed: which packages fedethics needs, in which versions, and where its app lies.

Versions are read from the installed metadata: importing torch would take many seconds.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PINNED = {"flwr": "1.41.", "opacus": "1.6.", "peft": "0.21.", "dp-accounting": "0.6."}
_NEEDED = ("torch", "transformers", "numpy", "scipy", "cryptography", "safetensors", "matplotlib")

_PACKAGE = Path(__file__).resolve().parent
PACKAGED_APP = _PACKAGE / "app"  # in a wheel only; see setup.py


def app_folder() -> Path:
    """Return the folder with the Flower app: pyproject.toml, server/ and clients/.

    It is part of the wheel; an editable install has the checkout that it was made from.
    """
    return PACKAGED_APP if PACKAGED_APP.is_dir() else _PACKAGE.parent


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
