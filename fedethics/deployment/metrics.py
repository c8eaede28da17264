"""A site's status as Prometheus text, on loopback only and only when asked for.

Nothing here that the site's operator does not see on the screen; no count of records, no label that
comes from data.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fedethics import texts
from fedethics.deployment.site_status import SiteStatus
from fedethics.errors import RunError

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
