"""How many requests were answered, how, and how long it took; never what they held."""

from __future__ import annotations

from collections import Counter

# Upper ends of the histogram's bins, seconds.
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class Counts:
    """Counts of one process. All are asked for on the event loop, so no lock is needed."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._answered: Counter[tuple[str, int]] = Counter()
        self._within: Counter[tuple[str, float]] = Counter()
        self._seconds: Counter[str] = Counter()

    def add(self, path: str, status: int, seconds: float) -> None:
        """Count one answer of a known path.

        Args:
            path: of the route; never what a client wrote.
            status: of HTTP.
            seconds: until the answer, or a stream's start.
        """
        self._answered[path, status] += 1
        self._seconds[path] += seconds  # type: ignore[assignment]
        for end in _SECONDS:
            self._within[path, end] += seconds <= end

    def text(self, *, waiting: int) -> str:
        """Return Prometheus' text format, version 0.0.4.

        Args:
            waiting: requests that wait for the model.
        """
        lines = ["# TYPE fedethics_requests_total counter"]
        for (path, status), count in sorted(self._answered.items()):
            labels = f'path="{path}",status="{status}"'
            lines.append(f"fedethics_requests_total{{{labels}}} {count}")
        lines.append("# TYPE fedethics_request_seconds histogram")
        for path in sorted(self._seconds):
            total = sum(count for (one, _), count in self._answered.items() if one == path)
            for end in _SECONDS:
                labels = f'path="{path}",le="{end:g}"'
                found = self._within[path, end]
                lines.append(f"fedethics_request_seconds_bucket{{{labels}}} {found}")
            lines += [
                f'fedethics_request_seconds_bucket{{path="{path}",le="+Inf"}} {total}',
                f'fedethics_request_seconds_sum{{path="{path}"}} {self._seconds[path]:.6f}',
                f'fedethics_request_seconds_count{{path="{path}"}} {total}',
            ]
        lines += ["# TYPE fedethics_waiting gauge", f"fedethics_waiting {waiting}"]
        return "\n".join(lines) + "\n"
