"""`fedethics doctor`: are the right versions here, and is the machine set to stay offline?"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import typer
from rich.console import Console

from fedethics import __version__
from fedethics.cli.output import AsJson, answer, table
from fedethics.errors import EXIT_ENVIRONMENT

# Read from the installed metadata: importing torch would take many seconds.
_PINNED = {"flwr": "1.41.", "opacus": "1.6.", "peft": "0.21.", "dp-accounting": "0.6."}
_NEEDED = ("torch", "transformers", "numpy", "scipy", "cryptography", "safetensors", "matplotlib")
_FLAGS = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `ok` is False only for what would stop a run."""

    what: str
    value: str
    ok: bool
    advice: str = ""


def doctor(as_json: AsJson = False) -> None:
    """Check versions and offline flags. Exit code 7 if a needed package is missing or wrong."""
    found = [*_packages(), *_flags()]
    healthy = all(finding.ok for finding in found)
    document = {
        "fedethics": __version__,
        "python": platform.python_version(),
        "healthy": healthy,
        "findings": [
            {"what": f.what, "value": f.value, "ok": f.ok, "advice": f.advice} for f in found
        ],
    }

    def render(console: Console) -> None:
        title = f"fedethics {__version__}, Python {platform.python_version()}"
        rows = [(f.what, f.value, "ok" if f.ok else "wrong", f.advice) for f in found]
        console.print(table(title, ("what", "found", "state", "advice"), rows))

    answer(document, render, as_json=as_json)
    if not healthy:
        raise typer.Exit(EXIT_ENVIRONMENT)


def _packages() -> Iterator[Finding]:
    supported = sys.version_info >= (3, 11)
    yield Finding("python", platform.python_version(), supported, "" if supported else "3.11+")
    for name in (*_PINNED, *_NEEDED):
        wanted = _PINNED.get(name, "")
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Finding(name, "missing", False, f"install fedethics again; it needs {name}")
            continue
        right = found.startswith(wanted)
        yield Finding(name, found, right, "" if right else f"needs {wanted}*")


def _flags() -> Iterator[Finding]:
    for name, wanted in _FLAGS.items():
        value = os.environ.get(name, "")
        advice = "" if value == wanted else f"a deployed node should set {name}={wanted}"
        # fedethics' own commands never reach out, so a missing flag is advice and not an error.
        yield Finding(name, value or "not set", True, advice)
