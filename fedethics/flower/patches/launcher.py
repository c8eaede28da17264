"""Flower's launcher, without a secret on a command line.

Flower gives a task's token to the process of that task on its command line, where every account of
the machine can read it. With the token it could send to all sites in the run's name. Here the token
goes through a pipe, and the only tasks that are taken are ServerApps.
"""

from __future__ import annotations

import subprocess
import sys

from flwr.supercore.constant import TaskType
from flwr.supercore.superexec.executor import (
    ExecutionSpec,
    LaunchResult,
    SubprocessExecutor,
    factory,
)


class QuietExecutor(SubprocessExecutor):
    """Starts ServerApps, each with its token on standard input."""

    def get_eligible_capacity(
        self,
        supported_task_types: set[TaskType],
        *,
        insecure: bool = False,
        root_certificates_path: str | None = None,
    ) -> tuple[set[TaskType], set[str]]:
        """Take ServerApps and nothing else."""
        return {TaskType.SERVER_APP}, set()

    def launch(self, spec: ExecutionSpec) -> LaunchResult:
        """Start the ServerApp of `spec`."""
        process = subprocess.Popen(command_of(spec), stdin=subprocess.PIPE)
        if process.stdin is not None:
            with process.stdin as pipe:
                pipe.write(f"{spec.token}\n".encode("ascii"))
        return LaunchResult.accepted()


def command_of(spec: ExecutionSpec) -> list[str]:
    """Return the command of a ServerApp's process; there is no secret in it."""
    command = [sys.executable, "-P", "-m", "fedethics.flower.serverapp"]
    command += ["--runtime-api-address", spec.runtime_api_address]
    if spec.insecure:
        command.append("--insecure")
    elif spec.root_certificates_path is not None:
        command += ["--root-certificates", spec.root_certificates_path]
    if spec.parent_pid is not None:
        command += ["--parent-pid", str(spec.parent_pid)]
    return command


def install() -> None:
    """Let this process's launcher start its tasks by a `QuietExecutor`."""
    factory.SubprocessExecutor = QuietExecutor  # type: ignore[attr-defined]
