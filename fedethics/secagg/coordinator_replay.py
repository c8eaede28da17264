"""Taking up an epoch or a session from its log: every message goes through the doors again.

A message of a site is handed to the method that took it; one of the coordinator's own stands for
the end of a stage, which is closed again and must give the same bytes (`CoordinatorLog.append`
compares them). So a log that was tampered with leads nowhere, or to where it led before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fedethics.errors import RunError, SecaggReject
from fedethics.secagg import framing
from fedethics.secagg.coordinator_log import CoordinatorLog
from fedethics.secagg.framing import MAGIC, Kind

if TYPE_CHECKING:
    from fedethics.secagg.coordinator import CoordinatorSecagg
    from fedethics.secagg.coordinator_round import CoordinatorRound

_KIND_AT = len(MAGIC) + 1


def replay_epoch(epoch: CoordinatorSecagg, log: CoordinatorLog) -> None:
    """Bring a fresh epoch to where its log ends.

    Raises:
        SecaggReject, SecaggAbort, RunError: the log does not lead there.
    """
    _replay(
        log,
        {
            Kind.EPOCH: epoch.add_announcement,
            Kind.ROSTER: lambda _: epoch.roster_message(),
            Kind.EPOCH_ACK: epoch.add_acknowledgement,
            Kind.JOINED: lambda _: epoch.joined_messages(),
        },
    )


def replay(session: CoordinatorRound, log: CoordinatorLog) -> None:
    """Bring a session whose OPEN was just replayed to where its log ends.

    Raises:
        SecaggReject, SecaggAbort, RunError: the log does not lead there.
    """
    _replay(
        log,
        {
            Kind.SHARE: session.add_share,
            Kind.FORWARD: lambda _: session.forward(),
            Kind.MASKED: session.add_masked,
            Kind.SURVIVORS: lambda _: session.survivors(),
            Kind.CONFIRM: session.add_confirm,
            Kind.PROOF: lambda _: session.proof(),
            Kind.REVEAL: session.add_reveal,
            Kind.RESULT: lambda _: session.result(),
        },
    )


def epoch_of(kept: Path) -> str | None:
    """Return the id of the epoch that the session in `kept` belongs to; None if it never began.

    Raises:
        RunError: what is in the file does not begin with an OPEN.
    """
    message = CoordinatorLog.open(kept).upcoming()
    if message is None:
        return None
    try:
        header = framing.decode(message, kind=Kind.OPEN, max_body_bytes=0).header
        return str(header["epoch"])
    except (SecaggReject, KeyError) as fault:
        raise RunError(f"{kept} does not hold a session: {fault}") from fault


def _replay(log: CoordinatorLog, doors: Mapping[Kind, Callable[[bytes], object]]) -> None:
    while (message := log.upcoming()) is not None:
        before = log.position
        door = doors.get(_kind(message))
        if door is None:
            raise SecaggReject(f"it holds a {_kind(message).name} message, which is out of place")
        door(message)
        if log.position == before:
            raise SecaggReject(f"its {_kind(message).name} message changes nothing")


def _kind(message: bytes) -> Kind:
    try:
        return Kind(message[_KIND_AT])
    except (IndexError, ValueError) as error:
        raise SecaggReject("it holds what is no message") from error
