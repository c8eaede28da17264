"""Two processes never run one job, and a lock dies with its holder."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from fedethics.coordinator.job import job_lock
from fedethics.errors import RunError
from fedethics.flower import pin

HOLDER = (
    "import sys, time; from pathlib import Path; from fedethics.coordinator.job import job_lock\n"
    + ("with job_lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)")
)
WATCHER = (
    "import sys, time; from fedethics.flower.pin import end_with_coordinator\n"
    "end_with_coordinator(); print('up', flush=True); time.sleep(300); sys.exit('never noticed')"
)


def _started(code: str, *words: str, **environment: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def test_a_job_that_another_process_runs_is_refused_until_that_one_is_gone(tmp_path):
    job = tmp_path / "job"
    holder = _started(HOLDER, str(job))
    try:
        with pytest.raises(RunError, match="run by another process"), job_lock(job, wait_s=0.3):
            pass
    finally:
        holder.kill()
        holder.wait()
    with job_lock(job, wait_s=0.0):
        pass
    with job_lock(job, wait_s=0.0):
        pass


def test_who_waits_for_a_job_gets_it_when_its_holder_ends(tmp_path):
    holder = _started(HOLDER, str(tmp_path))
    holder.kill()
    with job_lock(tmp_path, wait_s=10.0):
        assert holder.wait() != 0


def test_a_server_app_ends_with_the_coordinator_that_it_belongs_to():
    coordinator = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    app = _started(WATCHER, **{pin.STARTED_BY: str(coordinator.pid)})
    try:
        time.sleep(1.5 * pin._CHECK_S)
        assert app.poll() is None
    finally:
        coordinator.kill()
        coordinator.wait()
    assert app.wait(timeout=120) == 0


def test_the_coordinator_tells_its_launcher_by_the_name_that_the_app_reads():
    from fedethics.deployment import coordinator

    assert coordinator._STARTED_BY == pin.STARTED_BY
