"""Who the charter is between: its name and version, and each institution with its key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedethics.identity import key_fault
from fedethics.terms import KEY, NAME, term


@dataclass(frozen=True, kw_only=True, slots=True)
class Heading:
    """What the charter is called and which version it is."""

    name: str = term(pattern=NAME)
    version: int = term(at_least=1)
    industry: Literal[
        "healthcare", "finance", "law-enforcement", "content-moderation", "retail", "hiring"
    ] = term()


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One institution of the roster.

    Attributes:
        declared_records: training size the site chooses to publish; it sets the site's weight and
            normalises its gradient sums, so that no count computed from records leaves the site.
        absent_groups: groups ("sex=Female") that the site publishes to have hardly anybody of, so
            that a figure which would be that of one or two sites is not shown as a sum.
    """

    site: str = term(pattern=NAME)
    public_key: str = term(pattern=KEY)
    declared_records: int = term(at_least=1, at_most=10**12)
    absent_groups: tuple[str, ...] = term(default=(), pattern=r"[^=]+=.+")

    def problems(self) -> list[str]:
        """Refuse a key by which anybody could sign in this member's name."""
        fault = key_fault(self.public_key)
        return [f"public-key: the key of {self.site} {fault}"] if fault else []
