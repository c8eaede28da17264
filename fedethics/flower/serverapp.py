"""`python -m fedethics.flower.serverapp ...`: Flower's own ServerApp process, told its token aside.

Its token comes on standard input, since a command line is there for every account to read; it
speaks to the coordinator's own SuperLink only, past any proxy.
"""

from __future__ import annotations

import sys

from flwr.superlink.cli.flwr_serverapp import flwr_serverapp

from fedethics import memory
from fedethics.flower.patches import clients
from fedethics.flower.pin import require_flower


def main() -> None:
    """Run the ServerApp whose token is the one line of standard input."""
    require_flower()
    memory.keep_private()
    clients.install(proxied=False)
    # What the system shows as this process's command line does not change by this.
    sys.argv += ["--token", sys.stdin.readline().strip()]
    flwr_serverapp()


if __name__ == "__main__":
    main()
