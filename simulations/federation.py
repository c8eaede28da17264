"""Run the real ServerApp over the in-process grid."""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context, RecordDict

from clients.app import app as client_app
from fedethics.flower.inprocess import COORDINATOR_NODE
from server.app import app as server_app
from simulations.loopback import Fault, LoopbackGrid, no_fault
from simulations.staging import Stage


def run_federation(stage: Stage, *, resume: bool = False, lost: Fault = no_fault) -> Path:
    """Run one job, or what is left of it, and return the run's directory.

    Raises:
        FedethicsError: the job cannot start or finish; what was committed stays.
    """
    grid = LoopbackGrid(client_app=client_app, homes=stage.homes, lost=lost)
    context = Context(
        run_id=1,
        node_id=COORDINATOR_NODE,
        node_config={},
        state=RecordDict(),
        run_config={
            "coordinator-home": str(stage.coordinator),
            "job-dir": str(stage.run_dir),
            "job-id": stage.run_dir.name,
            "leg-timeout-s": 600.0,
            "model-dir": "",
            "resume": resume,
        },
    )
    server_app(grid, context)
    return stage.run_dir
