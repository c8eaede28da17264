"""One thread at a time at the SuperLink's database.

Flower answers up to forty requests at once, each in a thread with its own connection to one SQLite
file, where only one may write; the others poll for their turn for 5 s and then fail with "database
is locked". Most of these failures are asked again by the node. One is not: a part of a reply that
could not be stored counts as refused, the node drops the reply, and the coordinator learns this
after three minutes (seen with fifty sites on two cores).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flwr.supercore.sql_mixin import SqlMixin
from sqlalchemy.orm import Session


def install() -> None:
    """Let this process's threads wait for each other before they open a transaction."""
    crowded, turn = SqlMixin.session, threading.RLock()

    @contextmanager
    def session(self: SqlMixin) -> Iterator[Session]:
        with turn, crowded(self) as opened:
            yield opened

    SqlMixin.session = session  # type: ignore[method-assign]
