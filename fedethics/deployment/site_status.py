"""What a site's operator sees: read from the site's own log, ledger and policy, and nothing else.

The live line, the plain lines and the metrics are three renderings of this one object.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fedethics.charter import document
from fedethics.errors import FedethicsError
from fedethics.policy.model import load_policy
from fedethics.privacy.ledger.verify import read_book
from fedethics.site.home import SiteHome
from fedethics.storage.lines import Tail

_QUIET_S = 15.0
_WORKING_S = 10.0
_LONGEST_REASON = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteStatus:
    """One look at a site.

    Attributes:
        state: connecting, loading, ready, working or waiting.
        run: the run that was answered last; empty before the first.
        round_number: the newest round that this run was charged for; 0 before.
        rounds: how many the charter has.
        account: the data set that is nearest to its cap ("train" or "held-out").
        spent: composed epsilon of that data set at `delta`, over all runs ever.
        cap: the policy's cap on it.
        delta: of the policy.
        contact_age_s: seconds since the coordinator answered; None before the first time.
        answered: messages answered since this started.
        refused: messages refused since this started.
        refusal: why the last message was refused; empty once one was answered.
        note: what keeps the node from working, if anything does.
    """

    site: str
    state: str = "connecting"
    run: str = ""
    round_number: int = 0
    rounds: int = 0
    account: str = ""
    spent: float = 0.0
    cap: float = 0.0
    delta: float = 0.0
    contact_age_s: float | None = None
    answered: int = 0
    refused: int = 0
    refusal: str = ""
    note: str = ""

    @property
    def left(self) -> float:
        """A lower bound of what is left: composition is not a plain sum, so more may fit."""
        return max(0.0, self.cap - self.spent)


@dataclass
class SiteWatch:
    """Keeps a `SiteStatus` up to date from a site's files."""

    home: SiteHome
    contact: Path
    status: SiteStatus = field(init=False)
    _tail: Tail = field(init=False)
    _ready: bool = False
    _last_answer: float = float("-inf")
    _ledger_seen: tuple[int, int] = (0, 0)
    _newest_round: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin at the end of the site's log."""
        self.status = SiteStatus(site=self.home.settings.site, rounds=_rounds(self.home))
        self._tail = Tail(self.home.path / "log.jsonl", from_end=True)

    def look(self, *, note: str = "") -> list[dict[str, Any]]:
        """Refresh the status; return the new entries of the site's log."""
        entries = self._tail.new()
        for entry in entries:
            self._take(entry)
        self._budget()
        self.status = replace(
            self.status,
            state=self._state(note),
            round_number=self._newest_round.get(self.status.run, 0),
            contact_age_s=self._contact_age_s(),
            note=note,
        )
        return entries

    def _take(self, entry: dict[str, Any]) -> None:
        event = entry.get("event")
        if event == "executor-started":
            self._ready = False
        elif event == "ready":
            self._ready = True
        elif event == "answered":
            self._last_answer = time.monotonic()
            run = str(entry.get("run", ""))
            self.status = replace(
                self.status, run=run, answered=self.status.answered + 1, refusal=""
            )
        elif event in ("refused", "unexpected"):
            why = _first_reason(str(entry.get("reason") or entry.get("kind") or ""))
            count = self.status.refused + 1
            self.status = replace(
                self.status, refused=count, refusal=f"[{entry.get('code')}] {why}"
            )

    def _state(self, note: str) -> str:
        age = self._contact_age_s()
        if note:
            return "waiting"
        if not self._ready:
            return "loading"
        if self._busy():
            return "working"
        return "connecting" if age is None or age > _QUIET_S else "ready"

    def _busy(self) -> bool:
        # While it works, the node does not ask the coordinator for more; that is no lost contact.
        recent = time.monotonic() - self._last_answer < _WORKING_S
        return recent or self.contact.with_name("working").exists()

    def _contact_age_s(self) -> float | None:
        try:
            return max(0.0, time.time() - self.contact.stat().st_mtime)
        except FileNotFoundError:
            return None

    def _budget(self) -> None:
        """Compose what was spent, when the ledger has changed since the last look."""
        ledger = self.home.path / "ledger.db"
        seen = (_changed(ledger), _changed(ledger.with_name("ledger.db.head")))
        if seen == self._ledger_seen:
            return
        try:
            caps = load_policy(self.home.policy_path).caps
            book = read_book(ledger, None)
        except FedethicsError:
            # An entry may be half written; the next look reads it, and the site itself refuses a
            # ledger or policy that is truly broken.
            return
        self._ledger_seen = seen
        accounts = [(book.spent(each, delta=caps.delta), each.label) for each in book.data_sets()]
        self._newest_round = {charge.run: charge.round_number for charge in book.counted()}
        spent, account = max(accounts, default=(0.0, ""))
        self.status = replace(
            self.status,
            account=account,
            spent=spent,
            cap=caps.epsilon_per_data_set,
            delta=caps.delta,
        )


def _first_reason(text: str) -> str:
    """Return the first reason of a refusal that may list several, on one line."""
    head, *reasons = text.split("\n  - ")
    return " ".join((reasons or [head])[0].split())[:_LONGEST_REASON]


def _rounds(home: SiteHome) -> int:
    try:
        return document.load(home.path / home.settings.charter).training.rounds
    except FedethicsError:
        return 0


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0
