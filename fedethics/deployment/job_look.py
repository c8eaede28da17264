"""How a job stands: from its event log, its coordinator's home and its gate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fedethics.commands import suggested
from fedethics.deployment.chain import ending
from fedethics.deployment.locking import is_held
from fedethics.deployment.settings import FederationHome
from fedethics.errors import SetupError
from fedethics.release.run_log import RunSeen

# Longer than any leg that goes well: something to look at.
_QUIET_S = 120.0


@dataclass(frozen=True, slots=True)
class JobLook:
    """A run's directory, and the home that it lies in; None where it lies elsewhere."""

    job: Path
    home: FederationHome | None

    @classmethod
    def at(cls, job: Path) -> JobLook:
        """Return the look at a run's directory, in the home around it if that can be read."""
        try:
            return cls(job, FederationHome.open(job.resolve().parent.parent))
        except SetupError:
            return cls(job, None)

    def notes(self, run: RunSeen) -> list[str]:
        """Return what to look at: a certificate's end, a silence, a run that nobody runs."""
        return list(filter(None, (self._certificate(), self._quiet(run))))

    def _certificate(self) -> str:
        end = self.home.first_end() if self.home else None
        near = ending(end) if end else ""
        if not near or self.home is None:
            return ""
        return f"{near}: {suggested('federation', 'renew-certificate', '--home', self.home.path)}"

    def _quiet(self, run: RunSeen) -> str:
        quiet = (datetime.now(UTC) - run.last).total_seconds() if run.last else 0.0
        if run.state in ("closed", "absent"):
            return ""
        if self.home is not None and self._is_present and not self._is_run:
            again = suggested("federation", "resume", "--home", self.home.path)
            return f"No job is running from {self.home.path}; to continue: {again}"
        if quiet <= _QUIET_S:
            return ""
        return (
            f"No entry in the log for {span(quiet)}: the coordinator waits for a site, or has died"
        )

    @property
    def _is_present(self) -> bool:
        return self.home is not None and self.home.job_dir == self.job.resolve()

    @property
    def _is_run(self) -> bool:
        return self.home is not None and is_held(self.home.state_dir / "lock")


def headline(job: Path, run: RunSeen) -> str:
    """Return one line: state, rounds, sites, time left or verdict."""
    if run.state == "absent":
        return f"{job.name}: not begun"
    words = [f"{job.name}: {run.state}"]
    if run.rounds:
        words.append(f"{run.committed} of {run.rounds} rounds committed")
        words.append(f"{len(run.sites)} of {run.expected} sites")
    if run.starts > 1:
        words.append(f"resumed {run.starts - 1} time(s)")
    left = run.left_s
    if run.state == "closed":
        words.append(f"gate: {run.verdict}")
    elif left is not None:
        words.append(f"about {span(left)} of rounds left")
    return ", ".join(words)


def span(seconds: float) -> str:
    """Return a length of time in words."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def estimate(value: float | None, low: float, high: float) -> str:
    """Return an estimate with its interval; noise may leave no estimate."""
    shown = "no estimate" if value is None else f"{value:.3f}"
    return f"{shown} ({low:.3f} to {high:.3f})"
