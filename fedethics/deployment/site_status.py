"""What a site's operator sees: read from the site's own log, ledger and policy, and nothing else.

The live line, the plain lines and the metrics are three renderings of this one object.

A site's status as Prometheus text, on loopback only and only when asked for.

Nothing here that the site's operator does not see on the screen; no count of records, no label that
comes from data.

A site's look at the end of its coordinator's certificate, so that both sides know in time.

One TLS connection now and then, as `site check` makes it; what was seen is kept in node/, for `site
status`. A site can renew nothing: it names to its operator the person to call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fedethics import texts
from fedethics.charter import document
from fedethics.deployment.chain import ending
from fedethics.errors import FedethicsError, RunError
from fedethics.policy.model import load_policy
from fedethics.privacy.ledger.verify import read_book
from fedethics.site.home import SiteHome
from fedethics.site.preflight.network import certificates_end
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


_STATES = ("connecting", "loading", "ready", "working", "waiting")


def render(status: SiteStatus) -> str:
    """Return the text exposition (version 0.0.4) of one status."""
    site = f'site="{texts.label(status.site)}"'
    account = texts.label(status.account)
    spent = f'{{{site},data_set="{account}",delta="{status.delta:g}"}}'
    lines = [
        "# HELP fedethics_site_state What the node does now; 1 for the state that holds.",
        "# TYPE fedethics_site_state gauge",
        *(
            f'fedethics_site_state{{{site},state="{state}"}} {int(state == status.state)}'
            for state in _STATES
        ),
        *_gauge("round", "Newest round charged in the current run.", site, status.round_number),
        *_gauge("rounds", "Rounds of the charter.", site, status.rounds),
        "# HELP fedethics_site_epsilon_spent Composed epsilon of the data set nearest its cap.",
        "# TYPE fedethics_site_epsilon_spent gauge",
        f"fedethics_site_epsilon_spent{spent} {status.spent:g}",
        "# HELP fedethics_site_epsilon_left Lower bound of what the policy's cap leaves.",
        "# TYPE fedethics_site_epsilon_left gauge",
        f"fedethics_site_epsilon_left{spent} {status.left:g}",
        *_counter("answered", "Messages answered.", site, status.answered),
        *_counter("refused", "Messages refused.", site, status.refused),
    ]
    if status.contact_age_s is not None:
        age = round(status.contact_age_s, 1)
        lines += _gauge("contact_age_seconds", "Since the coordinator last answered.", site, age)
    return "\n".join(lines) + "\n"


@contextmanager
def served(port: int | None, status: Callable[[], SiteStatus]) -> Iterator[int]:
    """Answer GET /metrics on 127.0.0.1:`port` while the block runs; nothing when it is None.

    Yields the port that is listened on.

    Raises:
        RunError: the port is taken.
    """
    if port is None:
        yield 0
        return
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), _handler(status))
    except OSError as error:
        raise RunError(f"metrics port {port} cannot be used: {error.strerror}") from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True, name="metrics")
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def _handler(status: Callable[[], SiteStatus]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/metrics":
                self.send_error(404)
                return
            body = render(status()).encode("utf-8")
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the screen for the status."""

    return Handler


def _gauge(name: str, words: str, labels: str, value: float) -> list[str]:
    return _family(f"fedethics_site_{name}", "gauge", words, labels, value)


def _counter(name: str, words: str, labels: str, value: float) -> list[str]:
    return _family(f"fedethics_site_{name}_total", "counter", words, labels, value)


def _family(name: str, kind: str, words: str, labels: str, value: float) -> list[str]:
    return [f"# HELP {name} {words}", f"# TYPE {name} {kind}", f"{name}{{{labels}}} {value}"]


_SEEN = "certificate-end"
_AGAIN_S = 6 * 3600.0
_SOON_S = 600.0
CALL = "call the coordinator's operator, who renews it; this site need not join again"


@dataclass
class CertificateWatch:
    """Looks every few hours, aside; `look` returns what there is to report, once for each look."""

    home: SiteHome
    probe: Callable[[SiteHome], datetime | None] = certificates_end
    _due: float = float("-inf")
    _told: list[dict[str, Any]] = field(default_factory=list)

    def look(self, *, now: datetime | None = None) -> list[dict[str, Any]]:
        """Begin a look if one is due, and return what earlier ones found."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _AGAIN_S
            threading.Thread(target=self.look_now, args=(now,), daemon=True).start()
        told, self._told = self._told, []
        return told

    def look_now(self, now: datetime | None = None) -> None:
        """Connect once and keep what was seen; nothing is reported of a line that is cut."""
        end = self.probe(self.home)
        if end is None:
            self._due = time.monotonic() + _SOON_S
            return
        with suppress(OSError):  # for people only
            _path(self.home).write_text(end.isoformat())
        why = ending(end, now=now)
        if why:
            self._told = [{"event": "certificate-ends", "why": f"{why}: {CALL}"}]


def seen_end(home: SiteHome) -> datetime | None:
    """Return the end that was seen last; None before the first look."""
    try:
        return datetime.fromisoformat(_path(home).read_text().strip())
    except (OSError, ValueError):
        return None


def _path(home: SiteHome) -> Path:
    return home.path / "node" / _SEEN
