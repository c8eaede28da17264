"""`python -m fedethics.flower.executor`: the one long-lived process in which a site computes.

Guarantee: no byte that came over the network is imported, unpacked or run. A task's message goes to
the *installed* `fedethics.flower.client_entry`, its reply goes back. The site's log names the
bundle that the run declared, by its SHA-256; nothing else is done with it. Libraries, records and
base model are loaded once, before the first task is taken.

It keeps no state of its own. When it is killed and started again, it reads from the site's ledger
and journal what was charged and drawn.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from flwr.app import Context, Message

from fedethics import memory
from fedethics.charter import document
from fedethics.errors import FedethicsError, RunError
from fedethics.flower.client_entry import answer, refusal_message
from fedethics.flower.patches import pulls
from fedethics.flower.pin import end_with_parent, require_flower
from fedethics.flower.polling import Polling
from fedethics.flower.runtime_api import FAILURES, Job, SuperNodeQueue, SuperNodeTask
from fedethics.privacy.search import runs_of
from fedethics.secagg import SiteStore
from fedethics.site.home import SiteHome
from fedethics.site.log import SiteLog, write_if_possible
from fedethics.site.request_context import RequestContext

_WAIT_S = 0.5


@dataclass
class Executor:
    """Takes tasks from the SuperNode's queue and answers them with what this site installed.

    Attributes:
        home: the site's home.
        queue: where tasks come from.
        log: the site's own log.
        stopping: set to end after the task in work.
        polling: how often the queue is asked.
        working: a file that exists while a task is in work, for processes that watch.
    """

    home: Path
    queue: SuperNodeQueue
    log: SiteLog
    stopping: threading.Event = field(default_factory=threading.Event)
    polling: Polling = field(default_factory=lambda: Polling(fastest_s=0.03, slowest_s=1.0))
    working: Path | None = None
    _bundles: set[tuple[int, str]] = field(default_factory=set)

    def run(self) -> None:
        """Answer tasks until `stopping` is set; finish the current task first."""
        while not self.stopping.is_set():
            task = self._acquire()
            if task is None:
                self.stopping.wait(self.polling.pause_s())
                continue
            with self._marked():
                self._answer(task)
            self.polling.busy()

    @contextmanager
    def _marked(self) -> Iterator[None]:
        if self.working is None:
            yield
            return
        with suppress(OSError):  # for watchers only
            self.working.touch(mode=0o600)
        try:
            yield
        finally:
            self.working.unlink(missing_ok=True)

    def _acquire(self) -> SuperNodeTask | None:
        try:
            task = self.queue.acquire()
        except FAILURES:
            # The SuperNode is not up yet, or is being started again.
            return None
        if task is not None:
            task.start()
        return task

    def _answer(self, task: SuperNodeTask) -> None:
        lost = ""
        try:
            task, job = self._pulled(task)
            if job is None:
                lost = "stopping"
                return
            task.push(self._reply(job), job.context)
        except FAILURES as error:
            # Its text may quote what was sent; the log holds the kind only.
            lost = type(error).__name__
            write_if_possible(self.log, "task-lost", code=FedethicsError.code, kind=lost)
        finally:
            task.end(why=lost)

    def _pulled(self, task: SuperNodeTask) -> tuple[SuperNodeTask, Job | None]:
        """Wait for the task's message; return a newer task in its place if one comes meanwhile.

        A SuperNode handles one message at a time, so a newer task means that the older one's
        message will never be whole: its run ended while the parts were on their way.
        """
        while not self.stopping.is_set():
            job = task.job(timeout_s=_WAIT_S)
            if job is not None:
                return task, job
            newer = self._acquire()
            if newer is not None:
                task.end(why="superseded")
                write_if_possible(self.log, "task-superseded")
                task = newer
        return task, None

    def _reply(self, job: Job) -> Message:
        try:
            self._note_bundle(job.run_id, job.bundle_sha256)
        except RunError as error:
            # The log cannot be written: what no log can hold is not begun.
            return refusal_message(error, to=job.message)
        return answer(job.message, self._own(job.context))

    def _own(self, context: Context) -> Context:
        """Return the context with this site's home, whatever came with the message."""
        return Context(
            run_id=context.run_id,
            node_id=context.node_id,
            node_config={"site-home": str(self.home)},
            state=context.state,
            run_config={},
        )

    def _note_bundle(self, run_id: int, sha256: str) -> None:
        if (run_id, sha256) not in self._bundles:
            self.log.write("bundle", flower_run=str(run_id), sha256=sha256, executed=False)
            self._bundles.add((run_id, sha256))


def preload(home: Path) -> None:
    """Load records and base model and cache the frozen prefix, to shorten the first task.

    Raises:
        FedethicsError: a file is missing; the executor keeps running and the site refuses each
            request.
    """
    site = SiteHome.open(home)
    charter = document.load(home / site.settings.charter)
    first = next(runs_of(charter))  # records and model are those of every run
    context = RequestContext.open(site, document.hash_of(first), SiteStore(site.opened_sums))
    for part in (context.workbench.records.train, context.workbench.records.held_out):
        context.workbench.activations(part)


def main() -> None:
    """Run the executor for the home and SuperNode named on the command line."""
    options = _options()
    require_flower()
    memory.keep_private()
    end_with_parent()
    pulls.install()
    secret = options.secret_file.read_bytes()
    log = SiteLog(options.home / "log.jsonl")
    queue = SuperNodeQueue(options.supernode, secret=secret)
    working = options.secret_file.with_name("working")
    working.unlink(missing_ok=True)
    executor = Executor(options.home, queue, log, working=working)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: executor.stopping.set())
    write_if_possible(log, "executor-started")
    if not options.no_preload:
        _preload(options.home, log)
    write_if_possible(log, "ready")
    executor.run()
    write_if_possible(log, "executor-stopped")
    sys.exit(0)


def _preload(home: Path, log: SiteLog) -> None:
    began = time.monotonic()
    try:
        preload(home)
    except FedethicsError as error:
        write_if_possible(log, "not-preloaded", code=error.code, reason=str(error))
        return
    write_if_possible(log, "preloaded", seconds=round(time.monotonic() - began, 1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fedethics.flower.executor")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--supernode", required=True, help="unix: and the path of its socket")
    parser.add_argument("--secret-file", type=Path, required=True)
    parser.add_argument("--no-preload", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
