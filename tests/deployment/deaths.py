"""One federation in which a process dies, again and again, each time in another phase.

The phases are the legs of the protocol, as the run's event log names them. A leg is waited for, the
process is ended without warning (SIGKILL) while that leg is under way, and what an operator would
do is done: nothing where it comes back by itself, `site run` again, or `federation resume`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field

import psutil

from fedethics.errors import EXIT_BAD_INPUT
from fedethics.protocol import Action
from tests.deployment.federation import Federation

# The counts of a light evaluation, or of the last one: the last round has only the latter.
KIND = {"progress": "counts", "fairness": "counts"}
RELAYS = (Action.FORWARD, Action.SURVIVORS, Action.PROOF, Action.RESULT, Action.SLICE)
IN_A_ROUND = (
    *(("update", str(leg)) for leg in (Action.TRAIN, *RELAYS)),
    *(("counts", str(leg)) for leg in (Action.EVALUATE, *RELAYS)),
)
# Kept for a resumed job that has all its sums: a site that misses an enrolment before the first
# training sum is left out of all of them, and this is about the sums.
AT_THE_ENDS = tuple(
    ("", str(leg)) for leg in (Action.ANNOUNCE, Action.JOIN, Action.RECEIPT, Action.WITNESS)
)
Phase = tuple[str, str]

OF_THE_COORDINATOR = {
    "superlink": "fedethics.flower.superlink",
    "launcher": "fedethics.flower.superexec",
    "serverapp": "fedethics.flower.serverapp",
}
OF_A_SITE = {"executor": "fedethics.flower.executor", "supernode": "fedethics.flower.supernode"}
VICTIMS = (*OF_THE_COORDINATOR, "coordinator", *OF_A_SITE, "site")
_GONE_S = 20.0
_RESUMES = 3


def kill(parent: int, word: str) -> int:
    """Kill -9 the one descendant of `parent` whose command line holds `word`; return its id."""
    found = [process for process in descendants(parent) if word in " ".join(_command(process))]
    assert len(found) == 1, (word, found)
    os.kill(found[0].pid, signal.SIGKILL)
    return found[0].pid


def descendants(parent: int) -> list[psutil.Process]:
    """Return the processes that `parent` and its children have started and that run."""
    return [each for each in psutil.Process(parent).children(recursive=True) if _runs(each)]


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


@dataclass
class Reaper:
    """Kills processes of a federation, each in its phase.

    Attributes:
        federation: whose sites and coordinator are not started yet.
        due: who has yet to be killed in which phase; of a site's processes, another site's each
            time.
        deaths: who was killed where, in that order.
        at_work: sites whose process died while they may have been at work, and on what: a charge
            may be on disk, and what it was for not yet.
    """

    federation: Federation
    due: set[tuple[str, Phase]]
    deaths: list[tuple[str, Phase]] = field(default_factory=list)
    at_work: set[tuple[str, str]] = field(default_factory=set)
    _sites: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _coordinator: subprocess.Popen[bytes] | None = None
    _read: int = 0
    _resumes: int = 0

    def run(self, *, timeout_s: float) -> None:
        """Run the job to its end, with every death that is due; it must end well."""
        deadline = time.monotonic() + timeout_s
        self._sites = self.federation.sites()
        self._coordinator = self.federation.coordinate()
        while self.due or self._coordinator.poll() != 0:
            assert time.monotonic() < deadline, (self.due, self.federation.told())
            if self._coordinator.poll() is not None:
                self._resume()
            for phase in self._new_phases()[-1:]:  # those before it are over
                victim = self._victim_of(phase)
                if victim:
                    self._dies(victim, phase)
            time.sleep(0.05)

    def _resume(self) -> None:
        assert self._coordinator is not None
        if self._coordinator.poll() == 0:  # it is resumed only because there are deaths to come
            assert self._only_the_ends_are_left(), f"too few rounds for {self.due}"
        self._resumes += 1
        assert self._resumes <= _RESUMES, self.federation.told()
        self._until_all_are_up()
        self._coordinator = self.federation.coordinate("resume")

    def _new_phases(self) -> list[Phase]:
        events = self.federation.events()
        new, self._read = events[self._read :], len(events)
        return [
            (KIND.get(task := str(event.get("task", "")), task), str(event["leg"]))
            for event in new
            if event["event"] == "leg-started"
        ]

    def _victim_of(self, phase: Phase) -> str:
        """Return who is to die in a phase that has just begun; nobody while one is still away."""
        victims = [victim for victim in VICTIMS if (victim, phase) in self.due]
        in_time = bool(phase[0]) or self._only_the_ends_are_left()
        return victims[0] if victims and in_time and self._all_are_up() else ""

    def _only_the_ends_are_left(self) -> bool:
        return {phase for _, phase in self.due} <= set(AT_THE_ENDS)

    def _dies(self, victim: str, phase: Phase) -> None:
        self.due.discard((victim, phase))
        self._resumes = 0
        if victim in OF_THE_COORDINATOR:
            kill(self._coordinator_pid(), OF_THE_COORDINATOR[victim])
            if victim == "serverapp":  # Flower would notice after a minute; an operator need not
                self._stop()
        elif victim == "coordinator":
            self._with_all_it_started(self._coordinator)
        else:
            self._a_site_dies(victim, phase)
        self.deaths.append((victim, phase))

    def _stop(self) -> None:
        home = self.federation.coordinator
        words = ("federation", "stop", "--home", str(home))
        before = len(self.federation.said(home))
        assert self.federation.command(*words, log=home / "stop.out").wait(timeout=120) == 0
        assert self._coordinator is not None
        assert self._coordinator.wait(timeout=30) == EXIT_BAD_INPUT
        assert "was stopped" in self.federation.said(home)[before:]

    def _a_site_dies(self, victim: str, phase: Phase) -> None:
        names = sorted(self._sites)
        name = names[len(self.deaths) % len(names)]
        if phase[1] in (Action.TRAIN, Action.EVALUATE):
            self.at_work.add((name, phase[0]))
        working = self.federation.stage.homes[name] / "node" / "working"
        late = time.monotonic() + 1.0  # the leg has begun; let this site have begun it too
        while not working.exists() and time.monotonic() < late:
            time.sleep(0.01)
        if victim in OF_A_SITE:
            kill(self._sites[name].pid, OF_A_SITE[victim])
        else:
            self._with_all_it_started(self._sites[name])
            self._sites[name] = self.federation.site(name)

    def _with_all_it_started(self, process: subprocess.Popen[bytes] | None) -> None:
        """Kill a parent; whatever it had started ends by itself, soon."""
        assert process is not None
        orphans = descendants(process.pid)
        process.kill()
        process.wait()
        gone, alive = psutil.wait_procs(orphans, timeout=_GONE_S)
        assert not alive, [_command(each) for each in alive]
        assert gone

    def _coordinator_pid(self) -> int:
        assert self._coordinator is not None
        return self._coordinator.pid

    def _until_all_are_up(self) -> None:
        self.federation.until(self._all_are_up, timeout_s=150, what="all sites are up again")

    def _all_are_up(self) -> bool:
        return all(self._is_up(name) for name in self._sites)

    def _is_up(self, name: str) -> bool:
        """Say whether a site's two processes run, are ready, and the coordinator has answered."""
        assert self._sites[name].poll() is None, self.federation.told()
        if len(descendants(self._sites[name].pid)) != len(OF_A_SITE):
            return False
        events = [str(entry["event"]) for entry in self.federation.log_of(name)]
        if "ready" not in events or "executor-started" in events[_last(events, "ready") :]:
            return False
        if self._coordinator is None or self._coordinator.poll() is not None:
            return True
        node = self.federation.stage.homes[name] / "node"
        return (node / "working").exists() or _age_s(node / "contact") < 8.0


def _last(events: list[str], name: str) -> int:
    return len(events) - 1 - events[::-1].index(name)


def _age_s(path: os.PathLike[str]) -> float:
    try:
        return time.time() - os.stat(path).st_mtime
    except FileNotFoundError:
        return float("inf")
