"""One SecAgg+ session of flwr 1.41, timed: its own client functions and its own server workflow.

The server is `SecAggPlusWorkflow`, run as it is over a grid in memory. One client is real: every
stage runs the functions of `secaggplus_mod`. The others are stand-ins that send the server what
it must work on (real keys, real Shamir shares of the secrets it combines, vectors of the right
type and range) without masking anything, so a cell costs minutes less and the figures are the
same. Record and message handling around the client's functions is not counted against Flower.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client.mod.secure_aggregation.secaggplus_mod import (
    SecAggPlusState,
    _collect_masked_vectors,
    _setup,
    _share_keys,
    _unmask,
)
from flwr.common import (
    Code,
    FitIns,
    FitRes,
    Parameters,
    Status,
    ndarray_to_bytes,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.common.secure_aggregation.crypto.shamir import create_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import (
    decrypt,
    encrypt,
)
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.common.secure_aggregation.secaggplus_utils import (
    share_keys_plaintext_concat,
    share_keys_plaintext_separate,
)
from flwr.compat.common import recorddict_compat
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.server.workflow.secure_aggregation.secaggplus_workflow import SecAggPlusWorkflow
from flwr.supercore.primitives.asymmetric import (
    generate_key_pairs,
    private_key_to_bytes,
    public_key_to_bytes,
)
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray
from secagg_ours import Figures, Stopwatch

CLIP = 1.0
EXAMPLES = 1000


class Grid:
    """Answers the workflow's messages, and keeps the clients' time out of the server's."""

    def __init__(
        self,
        *,
        sites: int,
        drops: int,
        threshold: int,
        vector: NDArray[np.float32],
        seconds: Stopwatch,
    ) -> None:
        self.client, self.seconds = Stopwatch(), seconds
        self.nodes = list(range(1, sites + 1))
        self.dropped = set(self.nodes[sites - drops :])
        self.threshold, self.length = threshold, len(vector)
        self.update = ndarrays_to_parameters([vector])
        self.state = SecAggPlusState(nid=1)
        self.private: dict[int, bytes] = {}
        self.public: dict[int, tuple[bytes, bytes]] = {}
        self.shares: dict[int, dict[int, bytes]] = {}
        self.bytes_up = 0

    def send_and_receive(self, messages: list[Message], *, timeout: float | None) -> list[Message]:
        with self.seconds("clients"):
            return [
                reply
                for message in sorted(messages, key=lambda m: m.metadata.dst_node_id)
                if (reply := self._reply(message)) is not None
            ]

    def _reply(self, message: Message) -> Message | None:
        node = message.metadata.dst_node_id
        configs = ConfigRecord(dict(message.content.config_records[RECORD_KEY_CONFIGS]))
        stage = configs.pop(Key.STAGE)
        content = RecordDict()
        if stage in (Stage.COLLECT_MASKED_VECTORS, Stage.UNMASK) and node in self.dropped:
            return None
        if stage == Stage.COLLECT_MASKED_VECTORS:
            nothing = FitRes(Status(Code.OK, ""), Parameters([], ""), EXAMPLES, {})
            content = recorddict_compat.fitres_to_recorddict(nothing, keep_input=False)
        if node == self.state.nid:
            answer = self._real(str(stage), configs)
            self.bytes_up += sum(map(_size, answer.values()))
        else:
            answer = self._stand_in(str(stage), node, configs)
        content.config_records[RECORD_KEY_CONFIGS] = ConfigRecord(answer)
        return Message(content, reply_to=message)

    def _real(self, stage: str, configs: ConfigRecord) -> dict[str, Any]:
        state = self.state
        if stage == Stage.COLLECT_MASKED_VECTORS:
            configs[Key.SOURCE_LIST], configs[Key.CIPHERTEXT_LIST] = self._shares_for_the_real_one()
        steps = {
            Stage.SETUP: lambda: _setup(state, configs),
            Stage.SHARE_KEYS: lambda: _share_keys(state, configs),
            Stage.COLLECT_MASKED_VECTORS: lambda: _collect_masked_vectors(
                state, configs, EXAMPLES, self.update
            ),
            Stage.UNMASK: lambda: _unmask(state, configs),
        }
        with self.client(stage):
            answer = steps[stage]()
        if stage == Stage.SHARE_KEYS:
            self.shares[state.nid] = self._shares_of_the_real_one(answer)
        return answer

    def _shares_of_the_real_one(self, answer: dict[str, Any]) -> dict[int, bytes]:
        sealed = zip(answer[Key.DESTINATION_LIST], answer[Key.CIPHERTEXT_LIST], strict=True)
        keys = self.state.ss2_dict
        return {
            node: share_keys_plaintext_separate(decrypt(keys[node], ciphertext))[2]
            for node, ciphertext in sealed
        }

    def _stand_in(self, stage: str, node: int, configs: ConfigRecord) -> dict[str, Any]:
        if stage == Stage.SETUP:
            (sk1, pk1), (_, pk2) = generate_key_pairs(), generate_key_pairs()
            self.private[node] = private_key_to_bytes(sk1)
            self.public[node] = public_key_to_bytes(pk1), public_key_to_bytes(pk2)
            return {Key.PUBLIC_KEY_1: self.public[node][0], Key.PUBLIC_KEY_2: self.public[node][1]}
        if stage == Stage.SHARE_KEYS:
            secret = self.private[node] if node in self.dropped else os.urandom(32)
            dealt = create_shares(secret, self.threshold, len(self.nodes))
            self.shares[node] = dict(zip(self.nodes, dealt, strict=True))
            return {Key.DESTINATION_LIST: [], Key.CIPHERTEXT_LIST: []}
        if stage == Stage.COLLECT_MASKED_VECTORS:
            words = np.random.default_rng(node).integers(0, 1 << 32, self.length, dtype=np.int64)
            masked = [np.array([1 << 22]), words]
            return {Key.MASKED_PARAMETERS: [ndarray_to_bytes(part) for part in masked]}
        owners = [*configs[Key.ACTIVE_NODE_ID_LIST], *configs[Key.DEAD_NODE_ID_LIST]]
        held = [self.shares[owner][node] for owner in owners]
        return {Key.NODE_ID_LIST: owners, Key.SHARE_LIST: held}

    def _shares_for_the_real_one(self) -> tuple[list[int], list[bytes]]:
        state, size = self.state, len(self.state.sk1_share_dict[self.state.nid])
        sources, sealed = [node for node in self.nodes if node != state.nid], []
        for node in sources:
            # The other secret's shares are never combined: bytes of their size will do.
            parts = [self.shares[node][state.nid], os.urandom(size)]
            if node in self.dropped:
                parts.reverse()
            plain = share_keys_plaintext_concat(node, state.nid, *parts)
            sealed.append(encrypt(state.ss2_dict[node], plain))
        return sources, sealed


class OneRound:
    """A strategy that asks every client and leaves the opened vector alone."""

    def __init__(self, nodes: list[int], update: Parameters) -> None:
        self._asked = [(Proxy(node), FitIns(update, {})) for node in nodes]
        self.opened: NDArray[Any] | None = None

    def configure_fit(self, *_: object) -> list[tuple[Proxy, FitIns]]:
        return self._asked

    def aggregate_fit(self, _: int, results: list[Any], __: object) -> tuple[None, dict[str, Any]]:
        (self.opened,) = parameters_to_ndarrays(results[0][1].parameters)
        return None, {}

    def num_available(self) -> int:
        return len(self._asked)


class Proxy:
    """A client as the workflow knows it."""

    def __init__(self, node: int) -> None:
        self.node_id = node


def measure(
    *, sites: int, drops: int, threshold: int, vector: NDArray[np.float32], repeats: int
) -> list[Figures]:
    """Return the figures of `repeats` sessions, each with everything that Flower does a round."""
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    logging.getLogger("flwr").setLevel(logging.ERROR)
    return [_session(sites, drops, threshold, vector) for _ in range(repeats)]


def _session(sites: int, drops: int, threshold: int, vector: NDArray[np.float32]) -> Figures:
    seconds = Stopwatch()
    grid = Grid(sites=sites, drops=drops, threshold=threshold, vector=vector, seconds=seconds)
    strategy = OneRound(grid.nodes, grid.update)
    state = RecordDict({MAIN_CONFIGS_RECORD: ConfigRecord({WorkflowKey.CURRENT_ROUND: 1})})
    state[MAIN_PARAMS_RECORD] = recorddict_compat.parameters_to_arrayrecord(grid.update, True)
    context = LegacyContext(
        Context(run_id=1, node_id=1, node_config={}, state=state, run_config={}),
        strategy=strategy,
        client_manager=strategy,
    )
    workflow = SecAggPlusWorkflow(
        num_shares=sites, reconstruction_threshold=threshold, clipping_range=CLIP
    )
    with seconds("all"):
        workflow(grid, context)
    if strategy.opened is None:
        raise AssertionError("Flower's round was halted")
    taken = seconds.sums()
    server = {"all": taken["all"] - taken["clients"]}
    return Figures(client=grid.client.sums(), server=server, bytes_up=grid.bytes_up)


def _size(value: object) -> int:
    if isinstance(value, bytes):
        return len(value)
    return sum(map(_size, value)) if isinstance(value, list) else 8
