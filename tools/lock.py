"""Write the lock files: every package that set-up installs, with the hashes of its files.

    make lock

`requirements.lock` is what a checkout needs, `clients/requirements.lock` what a site or coordinator
needs, `clients/requirements-nf4.lock` what comes on top for base models in four bits and
`clients/requirements-tracking.lock` for TensorBoard and MLflow. Versions come
from `constraints.txt` where it names them, and it is written anew from the locks, so that none
differs. torch is in no lock: which build of it is right depends on the machine (CPU, CUDA), and
each build has files of its own; it is held to its version alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
LOCKS = {
    "requirements.lock": ("simulations", "parquet", "xlsx", "ray", "docs", "dev"),
    "clients/requirements.lock": (),
    "clients/requirements-nf4.lock": ("nf4",),
    "clients/requirements-tracking.lock": ("tracking",),
}
# Locks of what comes on top of `clients/requirements.lock`.
_ON_TOP = ("clients/requirements-nf4.lock", "clients/requirements-tracking.lock")
HEAD = """\
# Every package that set-up or an extra may install, at the version it was tested with; hashes are
# in the lock files. torch is installed apart, as a CPU build where one is offered.
# Renew: delete the lines that may move, run `make lock`, then run the tests.
"""
# What torch itself needs beside what is locked anyway, and what builds fedethics.
BESIDE = "filelock\nfsspec\njinja2\nnetworkx\nsetuptools>=80\nsympy\ntyping-extensions\n"
_ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


def main() -> int:
    """Write the lock files and `constraints.txt`; return the exit code."""
    torch = next(
        line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch==")
    )
    for name, extras in LOCKS.items():
        if code := _compile(ROOT / name, extras):
            return code
    for name in _ON_TOP:
        _keep_what_is_not_in(ROOT / "clients/requirements.lock", ROOT / name)
    pinned = dict(entry for name in LOCKS for entry in _ENTRY.findall((ROOT / name).read_text()))
    lines = sorted([*(f"{name}=={version}" for name, version in pinned.items()), torch])
    CONSTRAINTS.write_text(HEAD + "\n".join(lines) + "\n")
    print(f"{len(pinned)} packages locked")
    return 0


def _compile(lock: Path, extras: tuple[str, ...]) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        beside, never = Path(scratch, "beside.in"), Path(scratch, "never.txt")
        pins = Path(scratch, "pins.txt")
        beside.write_text(BESIDE)
        # torch as a package of the index would bring gigabytes of CUDA into the lock.
        never.write_text('torch ; sys_platform == "never"\n')
        kept = [line for line in CONSTRAINTS.read_text().splitlines() if line[:7] != "torch=="]
        pins.write_text("\n".join(kept) + "\n")
        command = [
            sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal",
            "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header",
            "--no-emit-package", "torch", "--override", str(never), "-c", str(pins),
            *(part for extra in extras for part in ("--extra", extra)),
            "pyproject.toml", str(beside), "-o", str(lock),
        ]  # fmt: skip
        return subprocess.run(command, cwd=ROOT, check=False).returncode


def _keep_what_is_not_in(base: Path, lock: Path) -> None:
    """Leave in `lock` only the packages that `base` has not."""
    blocks = {path: re.split(r"\n(?=\S)", path.read_text().strip()) for path in (base, lock)}
    more = [block for block in blocks[lock] if block not in blocks[base]]
    lock.write_text("\n".join(more) + "\n")


if __name__ == "__main__":
    sys.exit(main())
