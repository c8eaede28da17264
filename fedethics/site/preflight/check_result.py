"""One thing that the preflight looked at: what was found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """One line of the preflight.

    Attributes:
        check: what was looked at.
        state: "fail" would stop a run, "warn" may.
        found: what was found, without any fact of a record.
        fix: what to do; never empty unless the state is "ok".
        local: facts of this site's records, for the terminal only. Sensitive: never written to a
            file, a log or the JSON answer.
    """

    check: str
    state: State
    found: str
    fix: str = ""
    local: str = ""


def ok(check: str, found: str, *, local: str = "") -> CheckResult:
    """Return a line where all is well."""
    return CheckResult(check=check, state="ok", found=found, local=local)


def warn(check: str, found: str, *, fix: str) -> CheckResult:
    """Return a line that should be looked at."""
    return CheckResult(check=check, state="warn", found=found, fix=fix)


def fail(check: str, found: str, *, fix: str) -> CheckResult:
    """Return a line that would stop a run."""
    return CheckResult(check=check, state="fail", found=found, fix=fix)
