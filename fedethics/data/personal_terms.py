"""What a site's policy says of personal data in free text: refuse the file, redact it, or allow it.

Guarantee: what becomes of a text is a function of its record and of the policy alone. The row's
identity is taken before, so that no such policy gives a record another name in the ledger.

A text without these forms is not anonymous: names, places and events are not looked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from fedethics import terms
from fedethics.data.content import Content, rewritten
from fedethics.errors import DataError
from fedethics.quality.personal_data import KINDS, Kind, Placeholders, own_kind
from fedethics.terms import term


def _unknown_kind(name: object) -> str:
    return "" if name in KINDS else f"{str(name)[:40]!r} is unknown; known: {', '.join(KINDS)}"


def _no_pattern(said: object) -> str:
    try:
        _ = own_kind(str(said)) if said else None
    except DataError as error:
        return str(error).removeprefix("--")
    return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonalTerms:
    """What this site does with personal data in texts before anything is computed of them.

    Attributes:
        found: "refuse": a file with such data is refused as one that cannot be read; "redact": each
            value becomes a placeholder, the same for one value within a record; "allow": texts
            stay as they are, and are counted on the site's own screen.
        kinds: what is looked for.
        record_number: a regular expression: the form of this site's own record numbers.
    """

    found: Literal["refuse", "redact", "allow"] = term()
    kinds: tuple[str, ...] = term(default=(), check=_unknown_kind)
    record_number: str = term(default="", check=_no_pattern)

    def problems(self) -> list[str]:
        """Refuse terms that promise something and look for nothing."""
        if self.found != "allow" and not self.kinds and not self.record_number:
            return [
                f"found = {self.found!r} with nothing to look for: list kinds (of "
                f"{', '.join(KINDS)}), or set record-number"
            ]
        return []

    @property
    def looked_for(self) -> tuple[Kind, ...]:
        """The kinds, the site's own first."""
        return _kinds(self.kinds, self.record_number)


@lru_cache(maxsize=64)
def _kinds(names: tuple[str, ...], record_number: str) -> tuple[Kind, ...]:
    own = (own_kind(record_number),) if record_number else ()
    return (*own, *(KINDS[name] for name in names))


def found_in(count: int, policy: PersonalTerms) -> str:
    """Say in how many records something was found; for the site's own screen."""
    done = "redacted" if policy.found == "redact" else "left as they are"
    return f"{count} records with personal data of the policy's kinds, {done}"


def personal_of(said: Mapping[str, Any] | None) -> PersonalTerms | None:
    """Return the terms that a document of them tells of; None where there are none.

    Raises:
        DataError: it is no such table.
    """
    if said is None:
        return None
    problems: list[str] = []
    found = terms.read(PersonalTerms, said, path="personal", problems=problems)
    if found is None or problems:
        raise DataError("; ".join(problems))
    return found


class PersonalData:
    """Personal data in the texts of one record, found and treated as the policy says.

    Sensitive: it holds what was found.
    """

    def __init__(self, policy: PersonalTerms | None) -> None:
        self._terms, self._names = policy, Placeholders()
        self._found: dict[str, set[str]] = {}

    @property
    def found(self) -> bool:
        """Whether a text of the record held personal data."""
        return bool(self._found)

    def text(self, said: str, where: str) -> str:
        """Return a text of the record as it may be used.

        Args:
            said: as it was written.
            where: its column or field, for messages.
        """
        if self._terms is None:
            return said
        redacted, found = self._names.redacted(said, self._terms.looked_for)
        if found:
            self._found.setdefault(where, set()).update(mark.kind for mark in found)
        return redacted if self._terms.found == "redact" else said

    def content(self, said: Content, where: str) -> Content:
        """Return what the record says as it may be used, each piece or turn apart."""
        return rewritten(said, lambda piece: self.text(piece, where))

    def refused(self, line: int) -> Iterator[str]:
        """Yield why the policy refuses the record; never a value."""
        if self._terms is None or self._terms.found != "refuse":
            return
        for where, kinds in self._found.items():
            yield (
                f"line {line}, {where}: personal data ({', '.join(sorted(kinds))}), which the "
                "policy's [personal] refuses"
            )
