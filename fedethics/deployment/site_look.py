"""How a site stands: from its own files, without its key and without a byte written.

Guarantee: nothing of a record; no number of records.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from fedethics.charter import document
from fedethics.deployment.chain import ending
from fedethics.deployment.locking import holder
from fedethics.deployment.site_status import CALL, seen_end
from fedethics.policy.model import Caps, load_policy
from fedethics.privacy.ledger.book import Book
from fedethics.site.home import SiteHome
from fedethics.site.runs import refused_since, runs_under_way


@dataclass(frozen=True, slots=True)
class AccountLook:
    """One data set: what was spent of its cap for life, at delta."""

    name: str
    spent: float
    cap: float
    delta: float

    @property
    def left(self) -> float:
        """A lower bound of what is left: composed epsilons do not add up."""
        return max(0.0, self.cap - self.spent)


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteLook:
    """One look at a site.

    Attributes:
        facts: what is shown first, name -> words.
        accounts: every data set that was ever charged.
        runs: run -> training rounds that it was charged for.
    """

    facts: dict[str, str]
    accounts: tuple[AccountLook, ...]
    runs: dict[str, int]


def roster_key(site: SiteHome) -> str:
    """Return the key that the charter's roster gives this site; empty without a charter.

    Raises:
        CharterError: the charter cannot be read.
    """
    if not site.charter_path.exists():
        return ""
    member = document.load(site.charter_path).member(site.settings.site)
    return member.public_key if member else ""


def look(site: SiteHome, book: Book, *, caps: Caps | None = None) -> SiteLook:
    """Return how a site stands.

    Args:
        site: its home.
        book: what its ledger holds.
        caps: of its policy; read where they are not given.

    Raises:
        CharterError: the charter cannot be read.
        PolicyError: the policy cannot be read.
    """
    limits = caps or load_policy(site.policy_path).caps
    return SiteLook(
        facts={**_facts(site), **_standing(site, book)},
        accounts=tuple(
            AccountLook(
                f"{each.label} ({each.fingerprint[:12]})",
                book.spent(each, delta=limits.delta),
                limits.epsilon_per_data_set,
                limits.delta,
            )
            for each in book.data_sets()
        ),
        runs={
            run: sum(charge.kind == "update" for charge in book.counted(run=run))
            for run in book.runs()
        },
    )


def _facts(site: SiteHome) -> dict[str, str]:
    charter = document.load(site.charter_path) if site.charter_path.exists() else None
    node = site.settings.node
    contact = site.path / "node" / "contact"
    end = seen_end(site)
    near = ending(end) if end else ""
    age = f"{time.time() - contact.stat().st_mtime:.0f} s ago" if contact.exists() else "never"
    return {
        "site": site.settings.site,
        "charter": f"{charter.name} version {charter.charter.version}" if charter else "none",
        "charter-hash": document.hash_of(charter) if charter else "",
        "coordinator": node.superlink if node else "none",
        "node": "running" if holder(site.path / "node" / "lock") else "not running",
        "last-contact": age,
        "certificate": f"{near}: {CALL}" if near else f"until {end.date()}" if end else "not seen",
    }


def _standing(site: SiteHome, book: Book) -> dict[str, str]:
    """Say which runs are under way, and what keeps this site from taking part."""
    kept = refused_since(site)
    runs = [
        each.run
        if each.same_records
        else f"{each.run} (began with other records than the file holds now: it cannot continue)"
        for each in runs_under_way(site, book)
    ]
    told = f"since {kept}: see `fedethics site check`" if kept else ""
    return {
        "under-way": ", ".join(runs) or "none",
        **({"records-refused": told} if told else {}),
    }
