"""How long to wait between two questions whether there is work.

Flower's SuperNode asks every 3 s and its launcher every second, whatever happens; with eight legs
a round that is most of a small round's time. Here the pause is a share of how long nothing has
happened, so that waiting adds at most that share to a leg and an idle site asks seldom.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Polling:
    """Pauses that grow with the quiet since the last `busy()`."""

    def __init__(
        self,
        *,
        fastest_s: float,
        slowest_s: float,
        share: float = 0.2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Pause between `fastest_s` and `slowest_s`, `share` of the quiet in between."""
        self._fastest_s = fastest_s
        self._slowest_s = slowest_s
        self._share = share
        self._clock = clock
        self._last_busy = clock()

    def busy(self) -> None:
        """Note that something happened just now."""
        self._last_busy = self._clock()

    def pause_s(self) -> float:
        """Return the pause before the next question, in seconds."""
        quiet = self._clock() - self._last_busy
        return min(self._slowest_s, max(self._fastest_s, self._share * quiet))
