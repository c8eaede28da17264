"""A site's door: a Flower message in, the site handler's answer out.

Danger: Flower sends the text of an uncaught exception to the coordinator, and such a text may hold
a record's value. So everything is caught here; the text goes to the site's own log and the
coordinator learns a code.
"""

from __future__ import annotations

import os
import traceback
from functools import lru_cache
from pathlib import Path

from flwr.app import Context, Message

from fedethics.errors import FedethicsError, RunError
from fedethics.flower.wire import parse_request, reply_message
from fedethics.protocol import OF_RECORDS, Reply, refuse, sayable
from fedethics.site.handler import SiteHandler
from fedethics.site.log import write_if_possible

SITES_DIRECTORY = "FEDETHICS_SITES"
_LONGEST_REASON = 4000


def answer(message: Message, context: Context) -> Message:
    """Answer one message at the site whose home this node is configured for."""
    try:
        reply = _reply(message, context)
    except Exception:  # even the log could not be written; see the module's docstring
        reply = Reply(refusal=OF_RECORDS)
    return _leaving(reply, to=message)


def refusal_message(error: Exception, *, to: Message) -> Message:
    """Return the refusal of a message that no handler was asked to answer."""
    return _leaving(Reply(refusal=refuse(error)), to=to)


def _leaving(reply: Reply, *, to: Message) -> Message:
    """Return what leaves this site: a listed answer of its handler, or a refusal of the table."""
    if reply.refusal is not None:
        reply = Reply(refusal=sayable(reply.refusal))
    return reply_message(reply, to=to)


def _reply(message: Message, context: Context) -> Reply:
    try:
        handler = _handler(site_home(context))
    except FedethicsError as error:
        return Reply(refusal=refuse(error))
    try:
        return handler.handle(parse_request(message))
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


def site_home(context: Context) -> Path:
    """Return the home directory of the site that this node serves.

    A deployed node is started with `--node-config 'site-home="/path"'`. In Flower's own simulation
    runtime, the environment variable FEDETHICS_SITES of the machine names a directory of homes and
    the node takes the one at its partition id. Neither comes over the network.
    """
    configured = context.node_config.get("site-home")
    if isinstance(configured, str) and configured:
        return Path(configured)
    directory, partition = os.environ.get(SITES_DIRECTORY), context.node_config.get("partition-id")
    if directory and isinstance(partition, int):
        homes = sorted(path for path in Path(directory).iterdir() if path.is_dir())
        if partition < len(homes):
            return homes[partition]
    raise RunError(
        "this node does not know its site: start it with --node-config 'site-home=\"/path\"'"
    )


@lru_cache(maxsize=64)
def _handler(home: Path) -> SiteHandler:
    return SiteHandler(home)
