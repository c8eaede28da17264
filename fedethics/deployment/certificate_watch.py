"""A site's look at the end of its coordinator's certificate, so that both sides know in time.

One TLS connection now and then, as `site check` makes it; what was seen is kept in node/, for
`site status`. A site can renew nothing: it tells its operator whom to call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from fedethics.deployment.chain import ending
from fedethics.site.home import SiteHome
from fedethics.site.preflight_network import certificates_end

_SEEN = "certificate-end"
_AGAIN_S = 6 * 3600.0
_SOON_S = 600.0
CALL = "call the coordinator's operator, who renews it; this site need not join again"


@dataclass
class CertificateWatch:
    """Looks every few hours, aside; `look` returns what there is to tell, once for each look."""

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
        """Connect once and keep what was seen; nothing is told of a line that is cut."""
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
