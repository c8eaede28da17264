"""`fedethics doctor`: are the right versions here, and is the machine set to stay offline?"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass

import typer
from rich.console import Console

from fedethics import __version__
from fedethics.cli.output import AsJson, answer, table
from fedethics.errors import EXIT_ENVIRONMENT
from fedethics.installation import packages

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
    found = [*(Finding(p.name, p.found, p.ok, p.advice) for p in packages()), *_flags()]
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


def _flags() -> Iterator[Finding]:
    for name, wanted in _FLAGS.items():
        value = os.environ.get(name, "")
        advice = "" if value == wanted else f"site run and federation start set {wanted}"
        # fedethics' own commands never reach out, so a missing flag is advice and not an error.
        yield Finding(name, value or "not set", True, advice)
