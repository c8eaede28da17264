"""Fifty sites on one machine: every site its own SuperNode and its own executor, one coordinator.

    python -m tools.bench.crowd --sites 50 --rounds 3

A site of its own holds some 0.55 GiB, nearly all of it imported libraries, and takes 10 s of CPU to
start; fifty would not fit here. So one process imports the libraries once and forks into the very
mains of `fedethics site run`'s two processes, with the same command lines; pages that nobody writes
to are shared. Everything else is as in a federation of fifty machines: homes, keys, TLS, node
authentication, SuperLink, ServerApp, secure sums over all. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from fedethics.deployment import site_node
from fedethics.deployment.locking import write_secret
from fedethics.deployment.processes import OFFLINE, Child
from fedethics.flower import executor, supernode
from fedethics.site.home import SiteHome
from tests.deployment.federation import Federation, deploy, stage

_LIMIT_S = 5400.0
_MAINS = {"supernode": supernode.main, "executor": executor.main}


@dataclass(frozen=True)
class Site:
    """The process ids of one site."""

    supernode: int
    executor: int


@dataclass(frozen=True)
class Crowd:
    """All sites before the first round and after the last one, and who serves them."""

    sites: list[Site]
    ready_s: float
    idle: list[float]
    working: list[float]
    all_gib: float
    serving: list[str]


def main() -> None:
    """Run the crowd and print what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sites", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fedethics-crowd-") as folder:
        federation = deploy(
            stage(
                Path(folder) / "b",
                rounds=options.rounds,
                copies=-(-options.sites // 4),
                most=options.sites,
            ),
            wait_s=_LIMIT_S,
            leg_timeout_s=_LIMIT_S,
        )
        forked: list[int] = []
        try:
            _run(federation, forked)
        finally:
            federation.end()
            for process in forked:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)


def _run(federation: Federation, forked: list[int]) -> None:
    began = time.monotonic()
    children = [_children(SiteHome.open(home)) for home in federation.stage.homes.values()]
    for _, worker in children:
        forked.append(_forked(worker))
    _wait(lambda: all(_logged(federation, name, "ready") for name in federation.stage.homes))
    ready_s = time.monotonic() - began
    coordinator = federation.coordinate()
    # `site run` would start a SuperNode again that came before the roster was admitted.
    _wait(lambda: "admitted" in federation.said(federation.coordinator), coordinator)
    sites = []
    for (node, _), worker_id in zip(children, tuple(forked), strict=True):
        forked.append(_forked(node))
        sites.append(Site(forked[-1], worker_id))
    nodes = [node for node, _ in children]
    _wait(
        lambda: _events(federation, "run") or _revive(sites, nodes, forked),
        coordinator,
    )
    _wait(lambda: _events(federation, "round-started"), coordinator)
    idle = _held(sites)
    _wait(lambda: _events(federation, "fairness-started"), coordinator)
    crowd = Crowd(
        sites, ready_s, idle, _held(sites), _shared_once(sites), _serving(coordinator.pid)
    )
    if coordinator.wait(timeout=_LIMIT_S) != 0:
        logs = ("superlink/serverapp.log", "superlink/superlink.log")
        said = [(federation.coordinator / name).read_text()[-3000:] for name in logs]
        sys.exit("\n".join([federation.said(federation.coordinator)[-2000:], *said]))
    print(f"{len(sites)} sites, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    _print_legs(federation)
    _print_processes(crowd)


def _children(home: SiteHome) -> tuple[Child, Child]:
    """Return a site's SuperNode and executor, not started."""
    folder = home.path / "node"
    folder.mkdir(mode=0o700)
    secret = folder / "superexec.secret"
    write_secret(secret)
    table = home.settings.node
    if table is None:
        sys.exit(f"{home.path} has no [node]")
    return (
        site_node._supernode(home, table, folder, secret),
        site_node._executor(home, folder, secret, True),
    )


def _forked(child: Child) -> int:
    """Fork into the main that `child` would start, with its arguments, log and environment."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    os.environ.update({**OFFLINE, "OMP_NUM_THREADS": "1", **child.environment})
    os.chdir(child.folder)
    log = os.open(child.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = list(child.command[3:])
    try:
        _MAINS[child.name]()
    finally:
        os._exit(1)


def _held(sites: list[Site]) -> list[float]:
    """Return what each site holds for itself (unique set size), in MiB."""
    return [
        sum(psutil.Process(pid).memory_full_info().uss for pid in (site.supernode, site.executor))
        / 2**20
        for site in sites
    ]


def _revive(sites: list[Site], nodes: list[Child], forked: list[int]) -> None:
    """Start SuperNodes again whose port was taken since it was chosen, as `site run` does."""
    for place, site in enumerate(sites):
        if os.waitpid(site.supernode, os.WNOHANG)[0]:
            forked.remove(site.supernode)
            forked.append(_forked(nodes[place]))
            sites[place] = Site(forked[-1], site.executor)


def _shared_once(sites: list[Site]) -> float:
    """Return what all sites hold together, each shared page counted once, in GiB."""
    pids = [pid for site in sites for pid in (site.supernode, site.executor)]
    return sum(psutil.Process(pid).memory_full_info().pss for pid in pids) / 2**30


def _serving(coordinator: int) -> list[str]:
    """Return memory and CPU so far of the coordinator's processes, a line each."""
    names = ("fedethics.flower.superlink", "flwr-serverapp")
    lines = []
    for child in psutil.Process(coordinator).children(recursive=True):
        for name in names:
            if name in " ".join(child.cmdline()):
                times, held = child.cpu_times(), child.memory_full_info().uss / 2**20
                lines.append(f"{name}: {held:.0f} MiB, {times.user + times.system:.0f} s of CPU")
    return lines


def _cpu_s(site: Site) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in (site.supernode, site.executor)]
    return sum(each.user + each.system for each in times)


def _logged(federation: Federation, name: str, event: str) -> bool:
    return any(entry["event"] == event for entry in federation.log_of(name))


def _events(federation: Federation, name: str) -> list[dict[str, object]]:
    return [entry for entry in federation.events() if entry["event"] == name]


def _wait(true: object, running: object = None) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while not true():  # type: ignore[operator]
        if time.monotonic() > deadline or (running is not None and running.poll() is not None):  # type: ignore[attr-defined]
            sys.exit("the crowd did not get there")
        time.sleep(1.0)


def _print_legs(federation: Federation) -> None:
    ended = _events(federation, "leg-ended")
    print("| leg | seconds: sums of updates | other sums | without a sum | fewest answers |")
    print("|---|---:|---:|---:|---:|")
    for leg in dict.fromkeys(str(entry["leg"]) for entry in ended):
        mine = [entry for entry in ended if entry["leg"] == leg]
        columns: dict[str, list[str]] = {"update": [], "others": [], "": []}
        for entry in mine:
            task = str(entry.get("task", ""))
            columns[task if task in columns else "others"].append(f"{entry['seconds']:.0f}")
        least = min(len(entry["answered"]) for entry in mine)  # type: ignore[arg-type]
        cells = " | ".join(", ".join(found) for found in columns.values())
        print(f"| {leg} | {cells} | {least} |")


def _print_processes(crowd: Crowd) -> None:
    print(f"\nall sites forked to all ready: {crowd.ready_s:.0f} s")
    print(
        f"a site holds for itself: {statistics.median(crowd.idle):.0f} MiB before the first round, "
        f"{statistics.median(crowd.working):.0f} (largest {max(crowd.working):.0f}) MiB after the "
        f"last; all of them {crowd.all_gib:.1f} GiB, shared pages counted once"
    )
    print("\n".join(crowd.serving))
    site_s = statistics.median(map(_cpu_s, crowd.sites))
    print(f"CPU of a site, start included: {site_s:.1f} s, median")


if __name__ == "__main__":
    main()
