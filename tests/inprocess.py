"""What running Flower apps inside one process needs of flwr's private modules; for tests.

Kept apart so that one contract test fails loudly when flwr moves them.
"""

from __future__ import annotations

from flwr.app import Message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

COORDINATOR_NODE = 1


def enter_task(*, run_id: int, node_id: int) -> None:
    """Say which run and node this process now acts for; Flower's Message needs it."""
    TaskIdentity.run_id = run_id
    TaskIdentity.node_id = node_id
    TaskIdentity.task_id = node_id


def wire_copy(message: Message, *, message_id: str) -> Message:
    """Return `message` as it would arrive over the wire: encoded, decoded, and given its id.

    Sharing record objects between sender and receiver hides bugs and leaks state.
    """
    proto = ProtoMessage.FromString(message_to_proto(message).SerializeToString())
    copied = message_from_proto(proto)
    copied.metadata.__dict__["_message_id"] = message_id
    return copied


def empty_run(run_id: int) -> Run:
    """Return the run record of an in-process run."""
    return Run.create_empty(run_id=run_id)
