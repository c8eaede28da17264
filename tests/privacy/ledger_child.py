"""A process that uses a ledger and kills itself at the n-th durable step, as kill -9 would.

Every line it writes to `told` is something that it was granted, after which a mechanism would
have run: `reserved N`, `confirmed N`; at the end, `steps N`.
"""

import os
import signal
from pathlib import Path

from fedethics.identity import Identity
from fedethics.privacy.events import SkellamRelease
from fedethics.privacy.ledger import Cap, DataSet, Ledger, store
from fedethics.storage import databases, files


class Deadly:
    """Counts the durable steps, before and after each, and dies at one of them."""

    def __init__(self, kill_at: int) -> None:
        self.steps, self.kill_at = 0, kill_at

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, function):
        def call(*args, **kwargs):
            self.step()
            result = function(*args, **kwargs)
            self.step()
            return result

        return call

    def __getattr__(self, name):
        # Stands in for the os module as fedethics.storage sees it.
        found = getattr(os, name)
        return self(found) if name in {"open", "fdopen", "fsync", "replace", "close"} else found


def live(folder: Path, kill_at: int) -> None:
    """Open a ledger, reserve, confirm, reserve. Runs in a process of its own."""
    deadly = Deadly(kill_at)
    files.os = databases.os = deadly
    for method in ("begin", "insert", "commit", "create"):
        setattr(store.Transaction, method, deadly(getattr(store.Transaction, method)))
    told = os.open(folder / "told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    identity = Identity.load(folder / "identity.key")
    ledger = Ledger.open(folder / "ledger.db", identity=identity, create=True)
    for number in (1, 2):
        reservation = ledger.reserve(
            data_set=DataSet(fingerprint="aa", label="train"),
            run="run",
            round_number=number,
            kind="progress",
            events=[SkellamRelease(10.0)],
            charter_hash="c" * 64,
            cap=Cap(epsilon=3.0, delta=1e-4),
        )
        os.write(told, f"reserved {number}\n".encode())
        if number == 1:
            ledger.confirm(reservation, note="sent")
            os.write(told, f"confirmed {number}\n".encode())
    os.write(told, f"steps {deadly.steps}\n".encode())
