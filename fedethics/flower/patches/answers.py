"""A SuperNode that answers every message it took, even after its executor has died.

Flower's SuperNode handles one message at a time and waits for its answer without a limit. It gives
up only on a message that an executor had already fetched when it died; one that it died just before
fetching, one that it could not read, and an answer of which it had sent only a part would each
block the site until its operator starts it again. Here the task says when to stop waiting: once no
task is open, no answer will come.
"""

from __future__ import annotations

from collections.abc import Sequence

from flwr.app import Message
from flwr.common.constant import Status
from flwr.supercore.constant import TaskType
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.object_store import NoObjectInStoreError
from flwr.supernode.nodestate import nodestate_factory
from flwr.supernode.nodestate.in_memory_nodestate import (
    CLIENT_APP_CRASHED_ERROR,
    InMemoryNodeState,
    MessageEntry,
)


def install() -> None:
    """Let this process's SuperNode keep its messages in an `AnsweringNodeState`."""
    nodestate_factory.InMemoryNodeState = AnsweringNodeState  # type: ignore[attr-defined]


class AnsweringNodeState(InMemoryNodeState):
    """Flower's memory of messages and tasks, where each message finally has an answer."""

    def get_messages_legacy(
        self,
        *,
        run_ids: Sequence[int] | None = None,
        is_reply: bool | None = None,
        limit: int | None = None,
    ) -> Sequence[Message]:
        """Return messages as Flower does; replies once no task is open, and then for all messages.

        An executor sends its whole answer before it ends its task, so what is not here by then will
        not come: the sender is told that the app crashed, which it counts as a dropout.
        """
        if is_reply:
            with self.lock_task_store:
                self._cleanup_expired_task_tokens_locked()
            if self._is_any_task_open():
                return []
            self._answer_all()
        return super().get_messages_legacy(run_ids=run_ids, is_reply=is_reply, limit=limit)

    def get_message_processing_duration(self, message_id: str) -> float:
        """Return 0: how long a site computed grows with its records, and every reply carries it."""
        return 0.0

    def _is_any_task_open(self) -> bool:
        """Say whether an executor may still answer; of tasks that it never takes, none will come.

        A run can be declared to be of another kind; its tasks would stay open for ever.
        """
        with self.lock_task_store:
            newest_first = reversed(self.task_store.values())
            return any(
                task.type == TaskType.CLIENT_APP and task.status.status != Status.FINISHED
                for task in newest_first
            )

    def _answer_all(self) -> None:
        with self.lock_msg_store:
            for entry in list(self.msg_store.values()):
                message = entry.message.metadata
                if message.reply_to_message_id:
                    self._drop_unless_whole(entry)
                elif not entry.is_retrieved:
                    entry.is_retrieved = True
                    self.record_message_processing_start(message.message_id)
            runs = {entry.message.metadata.run_id for entry in self.msg_store.values()}
            self._store_error_replies(runs, CLIENT_APP_CRASHED_ERROR)

    def _drop_unless_whole(self, entry: MessageEntry) -> None:
        reply_id = entry.message.metadata.message_id
        if not self._is_whole(reply_id):
            self.object_store.delete(reply_id)
            self.delete_messages(message_ids=[reply_id])

    def _is_whole(self, message_id: str) -> bool:
        try:
            tree = self.object_store.get_object_tree(message_id)
        except NoObjectInStoreError:
            return False
        return all(self.object_store.get(part.object_id) for part in iterate_object_tree(tree))
