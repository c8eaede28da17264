"""The real thing, killed as an operating system kills: no exit handlers, no buffers flushed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedethics.release import evidence, folder
from tests.coordinator.conftest import SITES, charged, opened
from tests.e2e.conftest import ROOT, Lab

SLOW, ALL = pytest.mark.slow, pytest.mark.exhaustive
# Twice a message within the update of round 1 and 2, and one within the final tables.
DEATHS = [("train", 3), ("query.forward", 2), ("query.proof", 3), ("query.result", 2),
          ("query.slice", 3), ("query.proof", 11), ("query.receipt", 2)]  # fmt: skip


@pytest.mark.parametrize(
    "deaths",
    [pytest.param(DEATHS[::2], marks=SLOW, id="some"), pytest.param(DEATHS, marks=ALL, id="all")],
)
@pytest.mark.timeout(1800)
def test_a_coordinator_killed_at_every_kind_of_leg_in_turn_opens_the_same_sums(
    tmp_path, heart_data, encoder, deaths
):
    lab = Lab(tmp_path, heart_data, encoder)
    # A process of its own finds the embedded model alone.
    whole, stage = (lab.stage(folder=name, noise_seed="7", embedded=True) for name in ("a", "b"))
    lab.run(whole)
    program = Path(__file__).with_name("dying_coordinator.py")
    for message_type, number in deaths:
        done = subprocess.run(
            [sys.executable, str(program), str(stage.run_dir), message_type, str(number)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 9, (message_type, done.stderr.decode()[-2000:])
    run = lab.run(stage, resume=True)
    first, second = (evidence.load(each / folder.EVIDENCE) for each in (whole.run_dir, run))
    sums = [{(e.kind, e.round): e.sum_sha256 for e in found.rounds} for found in (first, second)]
    assert sums[0] == sums[1]
    assert len(second.rounds) == len(sums[1])  # each opened once
    for site in SITES:
        assert len(opened(stage, site)) == len(sums[0])
        assert all(count == 1 for count in charged(stage, site).values())
