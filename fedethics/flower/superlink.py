"""`python -m fedethics.flower.superlink ...`: Flower's own SuperLink, ending with its parent.

It serves behind `gate.py`, on sockets that its parent bound and holds while this one is started
again; what is replaced in it stands in `fedethics.flower.patches`.
"""

from __future__ import annotations

import argparse
import socket
import sys
from pathlib import Path

from flwr.superlink.cli import flower_superlink

from fedethics import memory
from fedethics.flower.gate import Roster
from fedethics.flower.patches import database, server
from fedethics.flower.pin import end_with_parent, require_flower


def main() -> None:
    """Run the SuperLink with the options of this command line."""
    options, flowers = _options()
    require_flower()
    memory.keep_private()
    end_with_parent()
    database.install()
    given = [int(one) for one in options.fleet_sockets.split(",") if one]
    server.install(
        fleet=[socket.socket(fileno=one) for one in given],
        control=(
            None if options.control_socket is None else socket.socket(fileno=options.control_socket)
        ),
        roster=None if options.keys is None else Roster(options.keys),
    )
    sys.argv = [sys.argv[0], *flowers]
    flower_superlink()


def _options() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="fedethics.flower.superlink", allow_abbrev=False)
    parser.add_argument("--fleet-sockets", default="", help="descriptors, with commas")
    parser.add_argument("--control-socket", type=int, help="descriptor of a Unix socket")
    parser.add_argument("--keys", type=Path, help="folder of NAME.pub files")
    return parser.parse_known_args()


if __name__ == "__main__":
    main()
