"""A site's answer to one request, whatever carried it here: the handler's, or a bare refusal.

Danger: the text of an exception may hold a record's value, and what carries messages may send such
a text on. So everything is caught here; the text goes to the site's own log and the coordinator
learns a code.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from fedethics.errors import FedethicsError
from fedethics.protocol import OF_RECORDS, Reply, Request, refuse
from fedethics.site.handler import SiteHandler
from fedethics.site.log import write_if_possible

_LONGEST_REASON = 4000


def answer(home: Path, read: Callable[[], Request], *, handler: SiteHandler | None = None) -> Reply:
    """Answer one request at the site whose home is `home`; never raises an Exception.

    Args:
        home: the site's home directory.
        read: returns the request, or raises why what came is none.
        handler: answers in place of the home's own, for tests and simulated attacks.
    """
    try:
        return _reply(handler or _handler(home), read)
    except Exception:  # even the log could not be written; see the module's docstring
        return Reply(refusal=OF_RECORDS)


def _reply(handler: SiteHandler, read: Callable[[], Request]) -> Reply:
    try:
        return handler.handle(read())
    except FedethicsError as error:
        write_if_possible(handler.log, "refused", code=error.code, reason=_short(str(error)))
        return Reply(refusal=refuse(error, site=handler.site))
    except Exception as error:  # see the module's docstring: no text may reach the coordinator
        # Not its text either, which may quote a record: the log holds names and places only.
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        kind, code = type(error).__name__, FedethicsError.code
        write_if_possible(handler.log, "unexpected", code=code, kind=kind, where=where)
        return Reply(refusal=refuse(error, site=handler.site))


def _short(reason: str) -> str:
    """Cut a reason that quotes what was sent at length: the sender does not fill this disk."""
    return reason if len(reason) <= _LONGEST_REASON else reason[:_LONGEST_REASON] + "..."


@lru_cache(maxsize=64)
def _handler(home: Path) -> SiteHandler:
    return SiteHandler(home)
