"""Preflight: disk, memory, device and packages; are keys private, and is the ledger all there?"""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from fedethics import ownership
from fedethics.commands import command
from fedethics.enrolment.papers import public_half
from fedethics.errors import FedethicsError
from fedethics.installation import packages
from fedethics.policy.model import load_policy
from fedethics.privacy.ledger import verify_files
from fedethics.site.home import SiteHome
from fedethics.site.preflight.check_result import CheckResult, fail, ok, warn

_GIB = 1 << 30
_LEAST_DISK = _GIB // 4
_GOOD_DISK = 2 * _GIB
# Torch and the libraries around it, before a model is loaded (measured: 0.9 GiB).
_GOOD_MEMORY = 2 * _GIB
_DEVICE_TIMEOUT_S = 25.0
_ASK_CUDA = (
    "import torch; count = torch.cuda.device_count() if torch.cuda.is_available() else 0; "
    "[print(torch.cuda.get_device_name(one)) for one in range(count)]"
)


def machine(home: SiteHome) -> Iterator[CheckResult]:
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


def libraries(_home: SiteHome) -> Iterator[CheckResult]:
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


def _memory() -> CheckResult:
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


def _device(home: SiteHome) -> CheckResult:
    compute = load_policy(home.policy_path).compute
    if compute.device == "cpu":
        parts = len(compute.places)
        where = "cpu" if parts == 1 else f"cpu, in {parts} parts with a model each"
        return ok("device", f"{where}, {compute.dtype}; PyTorch was not started for this")
    try:
        # In a process of its own: this one needs neither the seconds nor the memory.
        done = subprocess.run(
            [sys.executable, "-c", _ASK_CUDA],
            capture_output=True,
            text=True,
            timeout=_DEVICE_TIMEOUT_S,
            check=False,
        )
        names = list(filter(None, done.stdout.splitlines()))
    except subprocess.TimeoutExpired:
        names = []
    there = {f"cuda:{number}": name for number, name in enumerate(names)}
    if names and not compute.devices:
        there["cuda"] = names[0]
    if absent := [one for one in compute.places if one not in there]:
        return fail(
            "device",
            f"policy.toml asks for {', '.join(absent)}, but PyTorch sees "
            f"{', '.join(there) or 'no such device'}",
            fix='set compute.device = "cpu" in policy.toml, correct compute.devices, or mend the '
            "driver",
        )
    found = {one: there[one] for one in compute.places}
    said = ", ".join(f"{one} ({name})" for one, name in found.items())
    if len(set(found.values())) > 1:
        return fail(
            "device",
            f"{said}: devices of several models; a record's last bits would follow from which of "
            "them computes it",
            fix="name devices of one model in compute.devices in policy.toml",
        )
    return ok("device", f"{said}, {compute.dtype}")


_PRIVATE = ("identity.key", "ledger.db", "ledger.db.head", "secagg.db", "journal.db", "log.jsonl")


def modes(home: SiteHome) -> Iterator[CheckResult]:
    """Check that nobody else may read the home, and that both keys are what they should be."""
    open_to_others = [
        f"{path} {_mode(path):04o}"
        for path in _looked_at(home)
        if path.exists() and _mode(path) & 0o077
    ]
    if open_to_others:
        yield fail(
            "file modes",
            f"others may read: {', '.join(open_to_others)}",
            fix=f"{command('chmod', '700', home.path)}; chmod 600 on each file named",
        )
    else:
        yield ok("file modes", f"{home.path} and its keys are this account's alone")
    yield from _keys(home)


def owners(home: SiteHome) -> Iterator[CheckResult]:
    """Check that nobody else may change, or put another file in the place of, what counts here."""
    if not ownership.knows_owners():
        yield warn(
            "file owners",
            "this system's files have no owners that could be read",
            fix="run a site on Linux or macOS",
        )
        return
    # A secret that others may only read is in "file modes"; here is what they may change.
    found = ownership.of_all((path, False) for path, _ in home.rests_on())
    if found:
        yield fail(
            "file owners",
            "others could change or replace files on which this site depends: "
            + "; ".join(f"{fault.path} {fault.found}" for fault in found),
            fix="\n".join(dict.fromkeys(fault.fix for fault in found)),
        )
    else:
        yield ok("file owners", f"no other account may change {home.path}, from the root on")


def ledger(home: SiteHome) -> Iterator[CheckResult]:
    """Verify the ledger offline, its head file, and that opened sums are remembered."""
    try:
        report = verify_files(home.ledger_path, home.identity().public_key)
    except FedethicsError as error:
        yield fail(
            "ledger", str(error), fix="stop, keep the files, and compare them with your backup"
        )
        return
    if report.head_checked:
        yield ok("ledger", f"{report.entries} entries verify, and its head file agrees")
    else:
        yield fail(
            "ledger",
            f"{home.ledger_path}.head is missing: a rollback could not be seen",
            fix="restore ledger.db and ledger.db.head together from your backup",
        )
    try:
        yield ok("opened sums", f"{home.opened_sums} is in place")
    except FedethicsError as error:
        yield fail("opened sums", str(error), fix=f"restore {home.path / 'secagg.db'}")


def _looked_at(home: SiteHome) -> Iterator[Path]:
    yield home.path
    yield from (home.path / name for name in _PRIVATE)
    if home.settings.node is not None:
        yield home.path / home.settings.node.key


def _keys(home: SiteHome) -> Iterator[CheckResult]:
    key = home.path / (home.settings.node.key if home.settings.node else "node.key")
    try:
        home.identity()
        public_half(key.read_bytes())
    except FedethicsError as error:
        yield fail("keys", str(error), fix="restore the keys of this home from your backup")
    except OSError as error:
        yield fail(
            "keys",
            ownership.cannot_read(key, error),
            fix="restore it from your backup; else a new home, see clients/README.md",
        )
    else:
        yield ok("keys", "identity and node key are there and of the right kind")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
