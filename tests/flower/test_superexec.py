"""The launcher: a task's token reaches the ServerApp, and nobody who lists processes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from flwr.supercore.constant import ExecutorType, TaskType
from flwr.supercore.superexec.executor import ExecutionSpec, factory, get_executor

from fedethics.flower.patches import launcher

TOKEN = "0123456789abcdef" * 4


def _spec(**changed: object) -> ExecutionSpec:
    told: dict[str, object] = {
        "task_type": TaskType.SERVER_APP,
        "runtime_api_address": "127.0.0.1:9443",
        "token": TOKEN,
        "insecure": False,
        "root_certificates_path": "/home/tls/ca.crt",
        "runtime_dependency_install": False,
        "parent_pid": 7,
        "suppress_output": False,
        "task_id": 1,
    }
    return ExecutionSpec(**(told | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("insecure", [False, True])
@pytest.mark.parametrize("quiet", [False, True])
def test_no_token_stands_on_the_command_line(insecure, quiet):
    command = launcher.command_of(_spec(insecure=insecure, suppress_output=quiet))
    assert not any(TOKEN in word for word in command)
    assert command[:4] == [sys.executable, "-P", "-m", "fedethics.flower.serverapp"]


def test_the_token_comes_on_standard_input_alone(monkeypatch, tmp_path):
    seen = tmp_path / "seen"
    script = "import sys; open(sys.argv[1], 'w').write(repr((sys.argv[2:], sys.stdin.read())))"
    started: list[subprocess.Popen[bytes]] = []

    def opened(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-c", script, str(seen), *command[4:]]
        started.append(real(words, **options))  # type: ignore[call-overload]
        return started[-1]

    real = subprocess.Popen
    monkeypatch.setattr(launcher.subprocess, "Popen", opened)
    launcher.QuietExecutor().launch(_spec())
    started[0].wait(timeout=60)
    words, told = eval(seen.read_text())
    assert told == f"{TOKEN}\n"
    assert TOKEN not in " ".join(words)
    assert words[:2] == ["--runtime-api-address", "127.0.0.1:9443"]


def test_flowers_launcher_takes_our_way_and_serverapps_only(monkeypatch):
    monkeypatch.setattr(factory, "SubprocessExecutor", factory.SubprocessExecutor)
    launcher.install()
    executor = get_executor(ExecutorType.SUBPROCESS)
    assert isinstance(executor, launcher.QuietExecutor)
    assert executor.get_eligible_capacity(set(TaskType))[0] == {TaskType.SERVER_APP}


@pytest.mark.parametrize("module", ["fedethics.flower.superexec", "fedethics.flower.serverapp"])
def test_both_processes_take_the_options_that_they_are_started_with(module):
    shown = subprocess.run(
        [sys.executable, "-P", "-m", module, "--help"],
        capture_output=True,
        text=True,
        check=True,
        input=f"{TOKEN}\n",
    ).stdout
    for option in ("--runtime-api-address", "--root-certificates", "--parent-pid"):
        assert option in shown
