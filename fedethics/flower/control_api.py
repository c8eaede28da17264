"""The SuperLink's Control API, as the coordinator needs it.

It has no authentication of its own (in the open-source SuperLink), which is why it is served over a
Unix socket in the coordinator's home alone (`gate.py`). So every caller there belongs to this home.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from flwr.cli.build import build_fab_from_disk
from flwr.common.constant import Status
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.constant import NodeStatus
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from fedethics.errors import SetupError
from fedethics.flower.node_keys import node_key
from fedethics.flower.patches.clients import ControlHttpClient

# No connection yet, a status other than 200, or half a message.
HOME, JOB_ID = "coordinator-home", "job-id"
FAILURES = (httpx.HTTPError, ValueError)


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Flower's status of a run, and how many bytes it carried.

    Attributes:
        finished: whether it has ended.
        sub_status: completed, failed or stopped once it has.
        details: Flower's description of it.
        bytes_sent: what the coordinator sent to all sites.
        bytes_received: what all sites sent to the coordinator.
    """

    finished: bool
    sub_status: str
    details: str
    bytes_sent: int
    bytes_received: int


@dataclass(frozen=True, slots=True)
class Job:
    """The owner of a run: the coordinator's home and the job's id, from the run's config."""

    home: str
    id: str

    @classmethod
    def of(cls, config: Mapping[str, object]) -> Job:
        """Return the job that a run was submitted for."""
        return cls(_text(config.get(HOME, "")), _text(config.get(JOB_ID, "")))


def _text(value: object) -> str:
    return str(getattr(value, "string", value))


class Control:
    """Registers nodes and starts, watches and stops runs at one SuperLink."""

    def __init__(self, address: str, *, ca: Path | None = None) -> None:
        """Speak to `address`: `unix:` and a path, or host:port with the authority to believe."""
        self._client = ControlHttpClient.from_server_address(
            server_address=address,
            insecure=ca is None,
            root_certificates=None if ca is None else str(ca),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
        )

    def register(self, name: str, key_file: Path) -> None:
        """Admit the node whose public key lies in `key_file`, if it is not admitted already.

        Raises:
            SetupError: not an elliptic-curve public key in OpenSSH's form, or one that this job
                admitted before and does not any more.
        """
        key = node_key(key_file)
        known = {node.public_key: node.status for node in self._nodes()}
        if key not in known:
            self._client.RegisterNode(RegisterNodeRequest(public_key=key, name=name))
        elif known[key] == NodeStatus.UNREGISTERED:
            raise SetupError(
                f"the node key of {name!r} was taken off this job, and a SuperLink never admits a "
                "key again that it dropped. Change job.id in federation.toml for a new job, or let "
                "the site ask with a new node key"
            )

    def unregister_others(self, key_files: Collection[Path]) -> tuple[str, ...]:
        """Drop every admitted node whose key is in none of `key_files`; return their names.

        Flower refuses their very next call.

        Raises:
            SetupError: not an elliptic-curve public key in OpenSSH's form.
        """
        kept = {node_key(file) for file in key_files}
        gone = [
            node
            for node in self._nodes()
            if node.status != NodeStatus.UNREGISTERED and node.public_key not in kept
        ]
        for node in gone:
            self._client.UnregisterNode(UnregisterNodeRequest(node_id=node.node_id))
        return tuple(sorted(node.name for node in gone))

    def names(self) -> dict[int, str]:
        """Return the name of each admitted node, by its number."""
        return {
            node.node_id: node.name
            for node in self._nodes()
            if node.status != NodeStatus.UNREGISTERED
        }

    def online(self) -> tuple[str, ...]:
        """Return the names of the admitted nodes that are connected."""
        online = (node.name for node in self._nodes() if node.status == NodeStatus.ONLINE)
        return tuple(sorted(online))

    def start(self, app: Path, config: Mapping[str, bool | int | float | str]) -> tuple[int, str]:
        """Submit the app in folder `app`; return the run's id and its bundle's SHA-256."""
        content = build_fab_from_disk(app)
        digest = hashlib.sha256(content).hexdigest()
        answer = self._client.StartRun(
            StartRunRequest(
                fab=fab_to_proto(Fab(digest, content, {})),
                override_config=user_config_to_proto(dict(config)),
            )
        )
        if not answer.HasField("run_id"):
            raise SetupError(f"the SuperLink did not start the run: {answer.note or 'no reason'}")
        return answer.run_id, digest

    def status(self, run_id: int) -> RunStatus:
        """Return the status of a run."""
        answer = self._client.ListRuns(ListRunsRequest(run_id=run_id))
        run = answer.run_dict[run_id]
        return RunStatus(
            finished=run.status.status == Status.FINISHED,
            sub_status=run.status.sub_status,
            details=run.status.details,
            bytes_sent=run.bytes_sent,
            bytes_received=run.bytes_recv,
        )

    def stop_unfinished(self, *, job: Job) -> tuple[int, ...]:
        """Stop every run of `job` that has not ended, and return their ids; no other run.

        Such a run is one that an earlier submission of the same job left behind.
        """
        runs = self._client.ListRuns(ListRunsRequest(limit=1000)).run_dict
        going = [
            key
            for key, run in runs.items()
            if run.status.status != Status.FINISHED and Job.of(run.override_config) == job
        ]
        for run_id in going:
            self.stop(run_id)
        return tuple(going)

    def stop(self, run_id: int) -> None:
        """Stop a run."""
        self._client.StopRun(StopRunRequest(run_id=run_id))

    def _nodes(self) -> Sequence[NodeInfo]:
        return tuple(self._client.ListNodes(ListNodesRequest()).nodes_info)
