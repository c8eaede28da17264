"""What writes the pages, as one hash: where two machines have the same, pages come out the same."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import fedethics
from fedethics import canonical

# All that figures, words and drawings are computed with, beside this package.
_PACKAGES = ("dp-accounting", "jinja2", "markupsafe", "matplotlib", "numpy", "scipy")
_SOURCES = frozenset({".py", ".j2", ".css"})


@cache
def renderer_sha256() -> str:
    """Return the SHA-256 over the installed sources, templates, packages, Python and machine."""
    root = Path(fedethics.__file__).parent
    files = sorted(path for path in root.rglob("*") if path.suffix in _SOURCES)
    table: dict[str, canonical.Json] = {
        "sources": {
            path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        },
        "packages": {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    return canonical.sha256_hex(canonical.encode(table))
