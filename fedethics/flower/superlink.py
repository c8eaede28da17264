"""`python -m fedethics.flower.superlink ...`: Flower's own SuperLink, ending with its parent.

It serves behind `gate.py`, on sockets that its parent bound and holds while this one is started
again. Its database is asked by one thread at a time, see `database.py`. Private parts of flwr 1.41.
"""

from __future__ import annotations

import argparse
import importlib
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flwr.superlink.cli import flower_superlink

from fedethics import memory
from fedethics.address import Address
from fedethics.deployment.ports import bound
from fedethics.flower import gate
from fedethics.flower.database import take_turns
from fedethics.flower.pin import end_with_parent, require_flower


def main() -> None:
    """Run the SuperLink with the options of this command line."""
    options, flowers = _options()
    require_flower()
    memory.keep_private()
    end_with_parent()
    take_turns()
    _serve_behind_gate(options)
    sys.argv = [sys.argv[0], *flowers]
    flower_superlink()


def _serve_behind_gate(options: argparse.Namespace) -> None:
    def run(*, app: Any, host: str, port: int, **others: Any) -> None:  # noqa: ANN401  uvicorn's
        given = [int(one) for one in options.fleet_sockets.split(",") if one]
        fleet = [socket.socket(fileno=one) for one in given] or bound(Address(host, port))
        near = options.control_socket
        gate.serve(
            app,
            fleet=fleet,
            control=None if near is None else socket.socket(fileno=near),
            roster=None if options.keys is None else gate.Roster(options.keys),
            **others,
        )

    command = importlib.import_module("flwr.superlink.cli.flower_superlink")
    command.uvicorn = SimpleNamespace(run=run)  # type: ignore[attr-defined]


def _options() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="fedethics.flower.superlink", allow_abbrev=False)
    parser.add_argument("--fleet-sockets", default="", help="descriptors, with commas")
    parser.add_argument("--control-socket", type=int, help="descriptor of a Unix socket")
    parser.add_argument("--keys", type=Path, help="folder of NAME.pub files")
    return parser.parse_known_args()


if __name__ == "__main__":
    main()
