"""`python -m fedethics.flower.supernode ...`: Flower's own SuperNode, asking at a better pace.

Everything is Flower's `flower-supernode` with its own options; what is replaced in it stands in
`fedethics.flower.patches`. It answers its executor on a Unix socket in the place of a port of this
machine. The process ends with its parent.
"""

from __future__ import annotations

import os
import signal
import socket
import traceback
from pathlib import Path

from flwr.supernode.cli import flower_supernode

from fedethics import memory
from fedethics.flower.patches import answers, clients, node_loop, pulls, retries
from fedethics.flower.pin import end_with_parent, require_flower
from fedethics.flower.polling import Polling

CONTACT_FILE = "FEDETHICS_CONTACT"
RUNTIME_SOCKET = "FEDETHICS_RUNTIME_SOCKET"


def listen_on(path: Path) -> socket.socket:
    """Return a Unix socket that listens at `path`, for this account alone (mode 0600).

    What an earlier SuperNode left there is replaced; the site's lock keeps a second one away.
    """
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
    finally:
        os.umask(before)
    return listening


def main() -> None:
    """Run the SuperNode with the options of this command line."""
    require_flower()
    memory.keep_private()
    end_with_parent()
    pulls.install()
    contact = os.environ.get(CONTACT_FILE)
    polling = Polling(fastest_s=0.1, slowest_s=node_loop.FLOWER_IDLE_S)
    node_loop.install(node_loop.PacedTime(polling, contact=Path(contact) if contact else None))
    retries.install()
    answers.install()
    clients.install(proxied=True)
    node_loop.serve_executor_on(listen_on(Path(os.environ[RUNTIME_SOCKET])))
    try:
        flower_supernode()
    except Exception:  # whatever it was, the thread that serves the executor would go on without it
        traceback.print_exc()
    # Flower's loop has ended; it would leave a process without a connection.
    signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
