"""What the console was given to show: coordinators' homes, sites' homes, and runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fedethics.deployment import settings
from fedethics.errors import FedethicsError, RunError
from fedethics.release import folder
from fedethics.release.run_log import EVENTS

_SITE, _SITES = "site.toml", "sites"
_JOB = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Directories by what they hold. Jobs and sites come and go: homes are looked at each time.

    Attributes:
        coordinators: homes with federation.toml.
        runs: directories of runs by themselves, such as a simulation's.
        sites: homes with site.toml.
    """

    coordinators: tuple[Path, ...] = ()
    runs: tuple[Path, ...] = ()
    sites: tuple[Path, ...] = ()

    def jobs(self) -> dict[str, Path]:
        """Return every job's directory by the name under which its pages are asked for."""
        found = [job for home in self.coordinators for job in _directories(home / "jobs")]
        return _named([*found, *self.runs])

    def watched(self) -> dict[str, Path]:
        """Return each folder that windows of a monitoring may lie in, by what it belongs to."""
        homes = [home / "jobs" for home in self.coordinators]
        runs = [run.with_name(f"{run.name}-monitoring") / "windows" for run in self.runs]
        return _named([*homes, *runs], told=lambda path: path.parent.name)

    def site_homes(self) -> dict[str, Path]:
        """Return every site's home by the name under which its files are asked for."""
        found = [each for run in self.runs for each in _directories(run / _SITES)]
        return _named([*self.sites, *(each for each in found if (each / _SITE).exists())])


def places(paths: Iterable[Path]) -> Places:
    """Return what lies at these paths.

    Raises:
        RunError: nothing that the console can show.
    """
    kinds: dict[str, list[Path]] = {"coordinators": [], "runs": [], "sites": []}
    for path in paths:
        kinds[_kind(path)].append(path.resolve())
    return Places(**{kind: tuple(dict.fromkeys(found)) for kind, found in kinds.items()})


def _kind(path: Path) -> str:
    if (path / settings.FILE).is_file():
        return "coordinators"
    if (path / _SITE).is_file():
        return "sites"
    if (path / EVENTS).is_file() or (path / folder.EVIDENCE).is_file():
        return "runs"
    raise RunError(
        f"{path} holds nothing that the console shows: neither {settings.FILE} (a coordinator's "
        f"home) nor {_SITE} (a site's home) nor {EVENTS} (a run's directory). Nothing was started"
    )


def _directories(path: Path) -> list[Path]:
    try:
        return sorted((each for each in path.iterdir() if each.is_dir()), key=_began, reverse=True)
    except OSError:
        return []


def _began(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _last(path: Path) -> str:
    return path.name


def _named(found: Iterable[Path], *, told: Callable[[Path], str] = _last) -> dict[str, Path]:
    """Return paths by their names, in letters of an address; equal ones are numbered."""
    named: dict[str, Path] = {}
    for path in found:
        name = plain = _JOB.sub("-", told(path)) or "job"
        number = 2
        while name in named:
            name, number = f"{plain}.{number}", number + 1
        named[name] = path
    return named


def fault_of(error: FedethicsError) -> str:
    """Return what a page says in place of a home or a run that cannot be read."""
    return f"[{error.code}] {error}"
