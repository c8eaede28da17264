"""A process that answers for sites of a simulation: `python -m fedethics.simulation.worker RUN`.

It reads requests from its standard input and writes replies to its standard output
(`fedethics.simulation.workers`), and ends where its input ends. Everything else that is printed
goes to standard error.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import BinaryIO

from fedethics import memory
from fedethics.protocol import Reply
from fedethics.simulation import staging
from fedethics.simulation.faults import kept
from fedethics.simulation.workers import read_frame, read_request, reply_header, write_frame
from fedethics.site import answering


def serve(run_dir: Path, asked: BinaryIO, answered: BinaryIO) -> None:
    """Answer requests for the sites of a run until there are no more.

    Args:
        run_dir: the run's directory, with the sites' homes and the faults that are kept.
        asked: frames of requests.
        answered: where frames of replies go.
    """
    stage = staging.existing(run_dir)
    faults = kept(stage.coordinator)
    handlers = {site: faults.handler(site, home) for site, home in stage.homes.items()}
    while True:
        try:
            header, payloads = read_frame(asked)
        except EOFError:
            return
        site: str = header["site"]
        request = read_request(header, payloads)
        reply: Reply = answering.answer(
            stage.homes[site],
            lambda request=request: request,  # type: ignore[misc]
            handler=handlers[site],
        )
        write_frame(answered, reply_header(reply), reply.payloads)


def main() -> None:
    """Serve on the standard streams."""
    memory.keep_private()
    # The terminal's Ctrl-C is for the coordinator; a worker ends with its input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answered = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(Path(sys.argv[1]), sys.stdin.buffer, answered)


if __name__ == "__main__":
    main()
