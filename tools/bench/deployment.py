"""A federation of real processes, timed: our executor against Flower's default isolation.

    python -m tools.bench.deployment --sites 4 [--sites 8] [--rounds 2] [--skip-default]

Both kinds run the same charter, data, ServerApp and secure sums over TLS on this machine, one after
the other. "ours" is `fedethics site run`; "default" is Flower's own SuperNode in its default
isolation, which starts a new process for each message. The minimum cohort of a charter is three, so
there is no federation of two. Prints one Markdown table for each number of sites.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from fedethics.deployment.processes import Child
from fedethics.site.home import SiteHome
from tests.deployment.federation import Federation, deploy, stage
from tests.ports import quiet_port

_LIMIT_S = 3000.0


@dataclass(frozen=True)
class Timing:
    """What one federation took; seconds, mebibytes, kilobytes."""

    leg_s: float
    round_s: float
    run_s: float
    ready_s: float
    kilobytes_up: float
    kilobytes_down: float
    idle_mib: float


def main() -> None:
    """Run the federations that the command line asks for and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sites", type=int, action="append", choices=(4, 8))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--skip-default", action="store_true")
    options = parser.parse_args()
    for sites in options.sites or [4]:
        with tempfile.TemporaryDirectory(prefix="fedethics-bench-") as folder:
            base = Path(folder)
            ours = _time(base / "ours", sites, options.rounds, default=False)
            columns = {"ours": ours}
            if not options.skip_default:
                columns["default"] = _time(base / "default", sites, options.rounds, default=True)
            _print(sites, columns)
            if sites == 4:
                print(f"resume to its first round: {_resume_s(base / 'resume', sites):.1f} s")
    with tempfile.TemporaryDirectory(prefix="fedethics-bench-") as folder:
        print(f"idle site, model not loaded: {_idle_mib(Path(folder)):.0f} MiB")


def _time(folder: Path, sites: int, rounds: int, *, default: bool) -> Timing:
    federation = deploy(stage(folder, rounds=rounds, copies=sites // 4), wait_s=300)
    children: list[Child] = []
    try:
        began = time.time()
        if default:
            children = [_default_node(federation, name) for name in federation.stage.homes]
            ready_s = 0.0
        else:
            processes = federation.sites()
            names = list(federation.stage.homes)
            _wait(lambda: all(_at(federation, n, "ready") for n in names))
            ready_s = statistics.median(_at(federation, n, "ready") - began for n in names)
            idle_mib = _mib(processes[names[0]].pid)
        coordinator = federation.coordinate()
        if default:
            _wait(lambda: "submitted" in federation.said(federation.coordinator))
            idle_mib = _mib(children[0].pid)
        if coordinator.wait(timeout=_LIMIT_S) != 0:
            sys.exit(federation.told())
        return _read(federation, rounds, ready_s, idle_mib)
    finally:
        for child in children:
            child.stop(grace_s=5)
        federation.end()


def _default_node(federation: Federation, name: str) -> Child:
    """Start Flower's own SuperNode as Flower's documentation does."""
    home = SiteHome.open(federation.stage.homes[name])
    folder = home.path / "node"
    folder.mkdir(mode=0o700)
    assert home.settings.node is not None
    command = (
        str(Path(sys.executable).parent / "flower-supernode"),
        *("--superlink", home.settings.node.superlink),
        *("--root-certificates", str(home.path / "ca.crt")),
        *("--auth-supernode-private-key", str(home.path / "node.key")),
        *("--host", "127.0.0.1", "--port", str(quiet_port())),
        *("--node-config", f'site-home="{home.path}"'),
    )
    own = {"FLWR_HOME": str(folder / "flwr"), "OMP_NUM_THREADS": "1"}
    child = Child(name, command, folder / "supernode.log", folder, own)
    child.start()
    return child


def _read(federation: Federation, rounds: int, ready_s: float, idle_mib: float) -> Timing:
    events = federation.events()
    times = {
        what: [_when(e) for e in events if e["event"] == what]
        for what in ("enrolling", "round-started", "round-committed", "closed")
    }
    legs = [float(str(e["seconds"])) for e in events if e["event"] == "leg-ended"]
    said = (federation.coordinator / "superlink" / "submission.log").read_text()
    (end,) = [json.loads(row) for row in said.splitlines() if '"finished"' in row]
    parts = len(federation.stage.homes) * rounds * 1000
    pairs = zip(times["round-started"], times["round-committed"], strict=True)
    return Timing(
        leg_s=statistics.median(legs),
        round_s=statistics.median(committed - started for started, committed in pairs),
        run_s=times["closed"][0] - times["enrolling"][0],
        ready_s=ready_s,
        kilobytes_up=end["bytes_received"] / parts,
        kilobytes_down=end["bytes_sent"] / parts,
        idle_mib=idle_mib,
    )


def _resume_s(folder: Path, sites: int) -> float:
    """Return the seconds from `federation resume` to the round that it continues with."""
    federation = deploy(stage(folder, rounds=2, copies=sites // 4), wait_s=300)
    try:
        federation.sites()
        coordinator = federation.coordinate()
        _wait(lambda: _rounds_started(federation) == 2)
        coordinator.terminate()
        coordinator.wait(timeout=120)
        began = time.monotonic()
        federation.coordinate("resume")
        _wait(lambda: _rounds_started(federation) == 3)
        return time.monotonic() - began
    finally:
        federation.end()


def _idle_mib(folder: Path) -> float:
    federation = deploy(stage(folder / "b", rounds=1))
    name, home = next(iter(federation.stage.homes.items()))
    try:
        words = ("site", "run", "--home", str(home), "--no-preload")
        process = federation.command(*words, log=home / "run.out")
        _wait(lambda: _at(federation, name, "ready"))
        time.sleep(5)
        return _mib(process.pid)
    finally:
        federation.end()


def _rounds_started(federation: Federation) -> int:
    return sum(entry["event"] == "round-started" for entry in federation.events())


def _mib(pid: int) -> float:
    """Return what a process and its children hold for themselves (unique set size)."""
    root = psutil.Process(pid)
    processes = [root, *root.children(recursive=True)]
    return sum(process.memory_full_info().uss for process in processes) / 2**20


def _at(federation: Federation, name: str, event: str) -> float:
    found = [_when(entry) for entry in federation.log_of(name) if entry["event"] == event]
    return found[-1] if found else 0.0


def _when(entry: dict[str, object]) -> float:
    return datetime.fromisoformat(str(entry["time"])).timestamp()


def _wait(true: object) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while not true():  # type: ignore[operator]
        if time.monotonic() > deadline:
            sys.exit("the benchmark took too long")
        time.sleep(0.2)


def _print(sites: int, columns: dict[str, Timing]) -> None:
    load = os.getloadavg()[0]
    print(f"\n{sites} sites, load average at the end {load:.1f} on {os.cpu_count()} cores\n")
    names = list(columns)
    print(f"| {'':38} | " + " | ".join(f"{name:>8}" for name in names) + " |")
    print(f"|{'-' * 40}|" + "|".join("-" * 9 + ":" for _ in names) + "|")
    rows = (
        ("one leg, median (s)", "leg_s"),
        ("one round of training, median (s)", "round_s"),
        ("the whole run, enrolment to report (s)", "run_s"),
        ("site run to ready (s)", "ready_s"),
        ("a site sends, per round (kB)", "kilobytes_up"),
        ("a site receives, per round (kB)", "kilobytes_down"),
        ("an idle site's memory (MiB)", "idle_mib"),
    )
    for words, field in rows:
        shown = " | ".join(f"{getattr(columns[name], field):8.1f}" for name in names)
        print(f"| {words:38} | {shown} |")


if __name__ == "__main__":
    main()
