"""A site's client entry point: a Flower message in, the site's answer out.

Danger: Flower sends the text of an uncaught exception to the coordinator, and such a text may hold
a record's value. So everything is caught, here and in `fedethics.site.answering`.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from flwr.app import Context, Message

from fedethics.errors import FedethicsError, RunError
from fedethics.flower.wire import parse_request, reply_message
from fedethics.protocol import OF_RECORDS, Reply, refuse, sayable
from fedethics.site import answering

SITES_DIRECTORY = "FEDETHICS_SITES"


def answer(message: Message, context: Context) -> Message:
    """Answer one message at the site whose home this node is configured for."""
    return _leaving(_reply(message, context), to=message)


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
        home = site_home(context)
    except FedethicsError as error:
        return Reply(refusal=refuse(error))
    except Exception:  # no text of it may reach the coordinator
        return Reply(refusal=OF_RECORDS)
    return answering.answer(home, partial(parse_request, message))


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
