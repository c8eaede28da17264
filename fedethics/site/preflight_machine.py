"""Preflight: disk, memory, the device that the policy names, and the installed packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from fedethics.installation import packages
from fedethics.policy.model import load_policy
from fedethics.site.finding import Finding, fail, ok, warn
from fedethics.site.home import SiteHome

_GIB = 1 << 30
_LEAST_DISK = _GIB // 4
_GOOD_DISK = 2 * _GIB
# Torch and the libraries around it, before a model is loaded (measured: 0.9 GiB).
_GOOD_MEMORY = 2 * _GIB
_DEVICE_TIMEOUT_S = 25.0
_ASK_CUDA = (
    "import torch; ok = torch.cuda.is_available(); "
    "print(torch.cuda.get_device_name(0) if ok else '')"
)


def machine(home: SiteHome) -> Iterator[Finding]:
    """Check free disk and memory, and that the device of the policy is there."""
    free = shutil.disk_usage(home.path).free
    rule = f"at least {_LEAST_DISK / _GIB:g} GiB, better {_GOOD_DISK / _GIB:g}"
    line = f"{free / _GIB:.2f} GiB free at {home.path} ({rule})"
    fix = (
        f"make room until {_GOOD_DISK / _GIB:g} GiB are free: a full disk stops the ledger, and "
        "with it all work"
    )
    if free < _LEAST_DISK:
        yield fail("disk", line, fix=fix)
    elif free < _GOOD_DISK:
        yield warn("disk", line, fix=fix)
    else:
        yield ok("disk", line)
    yield _memory()
    yield _device(home)


def libraries(_home: SiteHome) -> Iterator[Finding]:
    """Compare the installed packages with what fedethics pins."""
    found = list(packages())
    wrong = [package for package in found if not package.ok]
    for package in wrong:
        advice = package.advice or "supported: 3.11 or newer"
        yield fail("packages", f"{package.name} {package.found}", fix=advice)
    if not wrong:
        yield ok(
            "packages", f"{len(found)} packages in the versions that fedethics was tested with"
        )


def _memory() -> Finding:
    available = available_memory()
    if available is None:
        return warn("memory", "cannot be read on this system", fix="see that 2 GiB are free")
    line = f"{available / _GIB:.1f} GiB available (better {_GOOD_MEMORY / _GIB:g})"
    if available < _GOOD_MEMORY:
        return warn("memory", line, fix="end other programs, or give the node more memory: 2 GiB")
    return ok("memory", line)


def available_memory(
    meminfo: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Return the bytes that this process could still get, within its container; None if unknown."""
    try:
        table = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        free = int(table["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no container, or no limit ("max")
        return free
    return min(free, max(0, limit - used))


def _device(home: SiteHome) -> Finding:
    compute = load_policy(home.policy_path).compute
    if compute.device == "cpu":
        return ok("device", f"cpu, {compute.dtype}; PyTorch was not started for this")
    try:
        # In a process of its own: this one needs neither the seconds nor the memory.
        done = subprocess.run(
            [sys.executable, "-c", _ASK_CUDA],
            capture_output=True,
            text=True,
            timeout=_DEVICE_TIMEOUT_S,
            check=False,
        )
        name = done.stdout.strip()
    except subprocess.TimeoutExpired:
        name = ""
    if not name:
        return fail(
            "device",
            f"policy.toml asks for {compute.device}, but PyTorch sees no such device",
            fix='set compute.device = "cpu" in policy.toml, or mend the driver',
        )
    return ok("device", f"{compute.device} ({name}), {compute.dtype}")
