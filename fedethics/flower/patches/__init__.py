"""Everything of Flower's that is replaced at run time: one module each, and one table of all.

Flower is taken as it is from the registry. Behaviour that a federation of institutions cannot
accept is replaced in our own processes, by name, before Flower's own code runs; the rest of
`fedethics.flower` only calls it. `tests/contract/` holds that each name is where the table says,
that Flower still looks it up there, and that no other file replaces anything.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patch:
    """One name of Flower's that is ours while a process runs.

    Attributes:
        symbol: module and name, with a colon between them.
        by: the module of this folder that replaces it.
        process: in which processes.
        why: what Flower does by itself.
        test: that fails when Flower moves or mends it.
    """

    symbol: str
    by: str
    process: str
    why: str
    test: str


PATCHES: tuple[Patch, ...] = (
    Patch(
        "flwr.supernode.nodestate.nodestate_factory:InMemoryNodeState",
        "answers",
        "SuperNode",
        "a node waits without a limit for an answer that never comes",
        "tests/flower/test_answers.py::"
        "test_the_state_is_put_in_place_where_flowers_node_makes_its_own",
    ),
    Patch(
        "flwr.supercore.protobuf.client:ProtobufClient.__init__",
        "clients",
        "SuperNode, executor, launcher, ServerApp, submission",
        "replies of any size and length, redirects, and a proxy for this machine itself",
        "tests/contract/test_flwr_deployment_contract.py::"
        "test_every_http_client_of_flower_is_made_where_we_bound_it",
    ),
    Patch(
        "flwr.supercore.sql_mixin:SqlMixin.session",
        "database",
        "SuperLink",
        "forty threads poll for one SQLite file, and a part of a reply is refused for it",
        "tests/flower/test_database.py::test_without_turns_a_crowd_finds_the_database_locked",
    ),
    Patch(
        "flwr.supercore.superexec.executor.factory:SubprocessExecutor",
        "launcher",
        "launcher",
        "a task's token is on a command line, where every account reads it",
        "tests/contract/test_flwr_deployment_contract.py::"
        "test_the_launcher_finds_its_executor_by_the_name_that_we_replace",
    ),
    Patch(
        "flwr.supernode.start_client_internal:time",
        "node_loop",
        "SuperNode",
        "fixed pauses of 3 s and 0.5 s are most of a small round's time",
        "tests/contract/test_flwr_deployment_contract.py::"
        "test_flowers_loop_takes_its_clock_from_the_name_that_we_replace",
    ),
    Patch(
        "flwr.supernode.cli.flower_supernode:uvicorn",
        "node_loop",
        "SuperNode",
        "the executor is answered on a port to which every account can connect",
        "tests/contract/test_flwr_deployment_contract.py::"
        "test_the_supernode_serves_its_executor_by_the_name_that_we_replace",
    ),
    Patch(
        "flwr.supercore.inflatable.inflatable_utils:pull_objects",
        "pulls",
        "SuperNode, executor, ServerApp",
        "a part on its way is asked for again after 1 s, 2 s and so on (keyword defaults)",
        "tests/contract/test_flwr_deployment_contract.py::"
        "test_the_pauses_between_pulls_are_keyword_defaults",
    ),
    Patch(
        "flwr.supercore.inflatable.inflatable_utils:pull_and_inflate_object_from_tree",
        "pulls",
        "SuperNode, executor, ServerApp",
        "the same, where a message is built at once",
        "tests/contract/test_flwr_deployment_contract.py::"
        "test_the_pauses_between_pulls_are_keyword_defaults",
    ),
    Patch(
        "flwr.superlink.grid.http_grid:pull_objects",
        "replies",
        "ServerApp",
        "a reply that cannot be rebuilt ends the ServerApp",
        "tests/flower/test_replies.py::test_one_bad_reply_is_that_sites_loss_and_the_others_arrive",
    ),
    Patch(
        "flwr.superlink.grid.http_grid:HttpGrid.pull_messages",
        "replies",
        "ServerApp",
        "all replies wait for one whose parts are still on their way",
        "tests/flower/test_replies.py::"
        "test_flower_by_itself_lets_one_reply_keep_the_others_waiting",
    ),
    Patch(
        "flwr.supernode.fleet_http_connection:make_simple_http_retry_invoker",
        "retries",
        "SuperNode",
        "a handshake that timed out and a status 500 end the node permanently",
        "tests/flower/test_retries.py::"
        "test_flowers_connection_takes_retries_and_heartbeat_from_the_names_that_we_replace",
    ),
    Patch(
        "flwr.supernode.fleet_http_connection:HeartbeatSender",
        "retries",
        "SuperNode",
        "one bad status ends the thread that says that the node is there",
        "tests/flower/test_retries.py::"
        "test_flowers_connection_takes_retries_and_heartbeat_from_the_names_that_we_replace",
    ),
    Patch(
        "flwr.superlink.cli.flower_superlink:uvicorn",
        "server",
        "SuperLink",
        "sites, control and launcher share one port; a body is read before its sender is known",
        "tests/contract/test_flwr_patches.py::"
        "test_the_superlink_serves_by_the_name_that_we_replace",
    ),
)
