"""Where the SuperLink serves: behind `fedethics.flower.gate`, on sockets of its parent."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from fedethics.address import Address
from fedethics.deployment.ports import bound
from fedethics.flower import gate


def install(
    *,
    fleet: Sequence[socket.socket],
    control: socket.socket | None,
    roster: gate.Roster | None,
) -> None:
    """Let this process's SuperLink serve behind the gate.

    Args:
        fleet: sockets that sites reach; none for one at the address of the command line.
        control: the home's own socket.
        roster: whose nodes may come in; None for all.
    """

    def run(*, app: Any, host: str, port: int, **others: Any) -> None:  # noqa: ANN401  uvicorn's
        gate.serve(
            app,
            fleet=fleet or bound(Address(host, port)),
            control=control,
            roster=roster,
            **others,
        )

    command = importlib.import_module("flwr.superlink.cli.flower_superlink")
    command.uvicorn = SimpleNamespace(run=run)  # type: ignore[attr-defined]
