"""What is installed: which packages fedethics needs, in which versions, and where its app lies.

Versions are read from the installed metadata: importing torch would take many seconds.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

# The release lines that each pinned package may be of, as in pyproject.toml.
PINNED: Final[Mapping[str, tuple[str, ...]]] = {
    "flwr": ("1.41", "1.42"),
    "opacus": ("1.6",),
    "peft": ("0.21",),
    "dp-accounting": ("0.6",),
}
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
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Package(name, "missing", False, f"install fedethics again; it needs {name}")
            continue
        right = fits(name, found)
        lines = " or ".join(f"{line}.*" for line in PINNED.get(name, ()))
        yield Package(name, found, right, "" if right else f"needs {lines}")


def fits(name: str, found: str) -> bool:
    """Return whether this version of a package is one that fedethics runs with."""
    lines = PINNED.get(name)
    return lines is None or f"{found}.".startswith(tuple(f"{line}." for line in lines))
