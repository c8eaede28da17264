"""`python -m fedethics.flower.submission`: admit the roster's nodes, submit a run, follow it.

A process of its own, so that what starts and supervises a federation needs no Flower. It prints
one JSON object a line: `admitted`, `online`, `submitted`, `finished`; it ends with 0 only when the
run has completed. When it is told to end (SIGTERM), it stops the run first.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from fedethics import memory
from fedethics.canonical import Json
from fedethics.errors import FedethicsError, RunError
from fedethics.flower.control_api import FAILURES, Control, Job
from fedethics.flower.pin import end_with_parent, require_flower

_POLL_S = 1.0
_UP_S = 60.0


class Told(Exception):
    """This process was told to end."""


def main() -> None:
    """Submit the run of this command line and follow it to its end."""
    options = _options()
    require_flower()
    memory.keep_private()
    end_with_parent()
    signal.signal(signal.SIGTERM, _told)
    try:
        completed = _submit(options)
    except (FedethicsError, *FAILURES) as error:
        _say("failed", why=f"{type(error).__name__}: {error}")
        sys.exit(1)
    sys.exit(0 if completed else 1)


def _submit(options: argparse.Namespace) -> bool:
    control = Control(options.address)
    sites, config = options.sites.split(","), json.loads(options.config)
    job = Job.of(config)
    own: int | None = None
    try:
        _admit(control, options.keys, sites)
        _await_sites(control, sites, minimum=options.minimum, wait_s=options.wait_s)
        stopped = control.stop_unfinished(job=job)
        config["node-names"] = ",".join(f"{node}={name}" for node, name in control.names().items())
        own, digest = control.start(options.app, config)
        _say("submitted", flower_run=str(own), sha256=digest, stopped=len(stopped))
        return _follow(control, own)
    except Told:
        control.stop_unfinished(job=job) if own is None else control.stop(own)
        _say("stopped")
        return False


def _admit(control: Control, keys: Path, sites: list[str]) -> None:
    """Let exactly these sites in: who left, or has another node key now, is dropped first."""
    deadline = time.monotonic() + _UP_S
    files = {site: keys / f"{site}.pub" for site in sites}
    while True:
        try:
            dropped = control.unregister_others(files.values())
            for site, file in files.items():
                control.register(site, file)
            break
        except FAILURES:
            # The SuperLink is still starting.
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S / 4)
    if dropped:
        _say("dropped", sites=list(dropped))
    _say("admitted", sites=list(sites))


def _await_sites(control: Control, sites: list[str], *, minimum: int, wait_s: float) -> None:
    """Wait for the whole roster; after `wait_s`, start with what is there if it is enough."""
    deadline, before = time.monotonic() + wait_s, None
    while True:
        online = [site for site in control.online() if site in sites]
        if online != before:
            before = online
            _say("online", sites=list(online), of=len(sites))
        if len(online) == len(sites):
            return
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    missing = ", ".join(sorted(set(sites) - set(online)))
    if len(online) < minimum:
        raise RunError(
            f"{len(online)} of {len(sites)} sites are connected after {wait_s:g} s, the minimum "
            f"cohort is {minimum}; missing: {missing}. Nothing was started"
        )
    _say("starting-without", sites=missing)


def _follow(control: Control, run_id: int) -> bool:
    while True:
        try:
            status = control.status(run_id)
        except FAILURES:
            # The SuperLink is being started again; its runs survive a short absence.
            time.sleep(_POLL_S)
            continue
        if status.finished:
            _say(
                "finished",
                outcome=status.sub_status,
                details=status.details,
                bytes_sent=status.bytes_sent,
                bytes_received=status.bytes_received,
            )
            return status.sub_status == "completed"
        time.sleep(_POLL_S)


def _say(event: str, **fields: Json) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def _told(_number: int, _frame: FrameType | None) -> None:
    raise Told


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fedethics.flower.submission")
    parser.add_argument("--address", required=True, help="the SuperLink's own socket: unix:PATH")
    parser.add_argument("--keys", type=Path, required=True, help="folder of NAME.pub files")
    parser.add_argument("--sites", required=True, help="names on the roster, with commas")
    parser.add_argument("--minimum", type=int, required=True)
    parser.add_argument("--wait-s", type=float, required=True)
    parser.add_argument("--app", type=Path, required=True)
    parser.add_argument("--config", required=True, help="run config as a JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
