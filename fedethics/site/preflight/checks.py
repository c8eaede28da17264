"""Is this site ready for a run? Every check at once, in under half a minute, touching no budget.

Guarantee: nothing is charged, nothing is trained, and nothing about the records leaves the process;
the one connection made is to the coordinator's address, and it carries no data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from fedethics.errors import FedethicsError
from fedethics.ownership import cannot_read
from fedethics.site.home import SiteHome
from fedethics.site.preflight.agreement import (
    charter,
    model,
    permission,
    policy,
    records,
    under_way,
)
from fedethics.site.preflight.check_result import CheckResult, fail
from fedethics.site.preflight.machine import ledger, libraries, machine, modes, owners
from fedethics.site.preflight.network import coordinator

Check = Callable[[SiteHome], Iterator[CheckResult]]
CHECKS: tuple[tuple[str, Check], ...] = (
    ("keys and files", modes),
    ("file owners", owners),
    ("ledger", ledger),
    ("policy", policy),
    ("charter", charter),
    ("records", records),
    ("model", model),
    ("run", under_way),
    ("budget", permission),
    ("machine", machine),
    ("packages", libraries),
)


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


def preflight(
    path: Path, *, network: bool = True, clock: Callable[[], datetime] = utc_now
) -> Iterator[CheckResult]:
    """Yield what was found, one check after another.

    Args:
        path: the site's home.
        network: try to reach the coordinator too.
        clock: returns the time in UTC.
    """
    try:
        home = SiteHome.open(path, to_look=True)
    except FedethicsError as error:
        yield fail("settings", str(error), fix=f"mend {path / 'site.toml'}, or give another --home")
        return
    for name, check in CHECKS:
        yield from _guarded(name, home, check)
    if network:
        yield from _guarded("coordinator", home, lambda site: coordinator(site, clock=clock))


def _guarded(name: str, home: SiteHome, check: Check) -> Iterator[CheckResult]:
    try:
        yield from check(home)
    except FedethicsError as error:
        yield fail(name, str(error), fix=f"see {error.code} in docs/errors.md")
    except OSError as error:
        place = Path(str(error.filename or home.path))
        yield fail(name, cannot_read(place, error), fix="mend it, or run this as the home's owner")
