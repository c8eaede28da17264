"""The SuperNode's Runtime API, as the executor needs it.

One object for the queue (which asks for the secret of the site's own SuperNode), one for each task
(which asks for the task's token). Both speak over a Unix socket in a folder that only this account
may enter, so that no other account can take the SuperNode's place when it has died.
"""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

import httpx
from flwr.app import Context, Message
from flwr.common.constant import SubStatus
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.constant import TaskType
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError, ObjectPushError
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from fedethics.flower.patches.clients import RuntimeHttpClient

ACQUIRE = "/flwr.proto.Runtime/AcquireTask"
# What a call over loopback can end with, when the SuperNode is gone or was started anew: no
# connection, a status such as 401 for a token it does not know, half a message, a missing part.
FAILURES = (
    httpx.HTTPError,
    ObjectPullError,
    ObjectPushError,
    RuntimeError,
    ValueError,
    KeyError,
)
_BEAT_S = 15.0


@dataclass(frozen=True, slots=True)
class Job:
    """One message to answer, and the fingerprint of the bundle that its run declared."""

    message: Message
    context: Context
    run_id: int
    bundle_sha256: str


class TaskNotPulled(RuntimeError):
    """A task's message could not be taken in, for a reason that is not one of FAILURES."""


class SuperNodeQueue:
    """The tasks of the site's own SuperNode, at `address`: `unix:` and the path of its socket."""

    def __init__(self, address: str, *, secret: bytes) -> None:
        self._address = address
        self._client = RuntimeHttpClient.from_server_address(
            server_address=address,
            insecure=True,
            root_certificates=None,
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperExec"),
                SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods={ACQUIRE}),
            ],
        )

    def acquire(self) -> SuperNodeTask | None:
        """Claim the oldest task; raises one of FAILURES when the SuperNode is not there."""
        answer = self._client.AcquireTask(
            AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
        )
        if not answer.HasField("task") or not answer.token:
            return None
        return SuperNodeTask(self._address, token=answer.token)


class SuperNodeTask:
    """One claimed task; from `start` to `end` the SuperNode is told that it is worked on."""

    def __init__(self, address: str, *, token: str) -> None:
        self._client = RuntimeHttpClient.from_server_address(
            server_address=address,
            insecure=True,
            root_certificates=None,
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="flwr-clientapp"),
                RuntimeTokenHttpInterceptor(token),
            ],
        )
        self._pulled: Future[Job] = Future()
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin to pull the message, aside: its parts may still be on their way, or never come."""
        for work in (self._pull, self._beat):
            threading.Thread(target=work, daemon=True).start()

    def job(self, *, timeout_s: float) -> Job | None:
        """Return the message once it is here, or None after `timeout_s`; raises FAILURES."""
        try:
            return self._pulled.result(timeout=timeout_s)
        except TimeoutError:
            return None

    def push(self, reply: Message, context: Context) -> None:
        """Send the answer and mark the task done; raises one of FAILURES."""
        push_message(self._client, reply, context)
        push_task_output(
            client=self._client, context=context, sub_status=SubStatus.COMPLETED, details=""
        )

    def end(self, *, why: str = "") -> None:
        """Let go of the task; with a reason, tell the SuperNode that there will be no answer.

        A SuperNode that does not get this message finds out by itself: the beats have ended.
        """
        self._ended.set()
        with suppress(*FAILURES):
            if why:
                push_task_output(
                    client=self._client, context=None, sub_status=SubStatus.FAILED, details=why
                )
        self._client.close()

    def _pull(self) -> None:
        try:
            message, context, run, bundle = pull_task_input(self._client)
            # The bundle is bytes to be named and nothing else: not opened, unpacked or imported.
            digest = hashlib.sha256(bundle.content).hexdigest()
            self._pulled.set_result(Job(message, context, run.run_id, digest))
        except FAILURES as error:
            self._pulled.set_exception(error)
        except Exception as error:
            # Flower inflates what was sent, which may fail in ways that nobody listed. This thread
            # has no caller: an outcome left unset would hold the site at this task for as long as
            # it beats. The text may quote what was sent, so only the kind is told.
            self._pulled.set_exception(TaskNotPulled(type(error).__name__))

    def _beat(self) -> None:
        """Beat, since the SuperNode gives a task up after a minute of silence.

        A beat that fails is skipped: the answer will show whether the SuperNode is still there.
        """
        while not self._ended.wait(_BEAT_S):
            with suppress(*FAILURES):
                self._client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
