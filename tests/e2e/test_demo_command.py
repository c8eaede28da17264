"""The command line of the simulations: bad input, an interrupt, a kill, and going on after it."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedethics.identity import Identity
from fedethics.privacy.ledger import Ledger, verify_files
from fedethics.release.run_log import read_events
from simulations.command import main

ROOT = Path(__file__).resolve().parents[2]
SITES = ("cleveland", "hungary", "switzerland", "va-long-beach")
pytestmark = pytest.mark.timeout(1500)  # whole processes, on a machine that may be busy


@pytest.fixture
def bench(tmp_path, heart_data):
    """Copy the configs, so that a test may spoil them; two rounds are enough to die in."""
    configs = tmp_path / "configs"
    shutil.copytree(ROOT / "configs", configs)
    _spoil(configs / "heart.charter.toml", "rounds = 5", "rounds = 2")
    _spoil(configs / "heart.charter.toml", 'columns = ["*"]', 'columns = ["cp"]')
    data = tmp_path / "data" / "heart"
    shutil.copytree(heart_data, data)
    return tmp_path


@pytest.fixture
def ctrl_c_counts():
    """Let processes that a test starts hear Ctrl-C, also where a shell's `&` started the tests.

    Such a shell has SIGINT ignored, and whoever ignores a signal hands that on.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _command(bench: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "simulations", str(bench / "configs" / "heart.toml"),
        "--out", str(bench / "runs"), "--run-id", "r", "--data", str(bench / "data"),
        "--no-comparisons", *more,
    ]  # fmt: skip


def _run(bench: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(bench, *more), cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    returncode: int
    stderr: str


@pytest.fixture
def here(bench, capsys, monkeypatch):
    """Run the command in this process: what is asked has no process of its own to die."""

    def run() -> Outcome:
        monkeypatch.setattr(sys, "argv", _command(bench)[2:])
        with pytest.raises(SystemExit) as caught:
            main()
        return Outcome(int(caught.value.code or 0), capsys.readouterr().err)

    return run


def _spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def _start(bench: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        _command(bench), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def _wait_for(bench: Path, event: str, number: int) -> None:
    deadline = time.monotonic() + 480
    while time.monotonic() < deadline:
        for entry in read_events(bench / "runs" / "r"):
            if entry["event"] == event and entry.get("round") == number:
                return
        time.sleep(0.05)
    raise TimeoutError(f"{event} of round {number} did not come")


@pytest.mark.parametrize(
    ("file", "old", "new", "code", "said"),
    [
        ("heart.charter.toml", "delta = 1e-4", "delta = 1e-4\nx = 1", 2, "privacy.x: unknown key"),
        ("heart.charter.toml", "epsilon = 3.0", 'epsilon = "eight"', 2, "expected a number"),
        (
            "heart.toml",
            'dataset = "heart"',
            "",
            2,
            "dataset, data-dir: give exactly one of the two",
        ),
        ("heart.toml", "[comparisons]", "[comparison]", 2, "comparison: unknown key"),
    ],
)
def test_a_wrong_file_is_one_error_an_exit_code_and_nothing_written(
    bench, here, file, old, new, code, said
):
    _spoil(bench / "configs" / file, old, new)
    done = here()
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (bench / "runs").exists()


def test_too_few_sites_for_the_minimum_cohort_is_refused_before_anything_is_made(bench, here):
    _spoil(bench / "configs" / "heart.charter.toml", "minimum-cohort = 3", "minimum-cohort = 5")
    done = here()
    assert done.returncode == 2
    assert "fewer than secagg.minimum-cohort 5" in done.stderr
    assert not (bench / "runs").exists()


def test_missing_data_name_the_command_that_fetches_them(bench, here):
    (bench / "data" / "heart" / "hungary.csv").unlink()
    done = here()
    assert done.returncode == 2
    assert "python -m simulations.datasets fetch heart" in done.stderr


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda b: _spoil(b / "configs/policy.hospital.toml", "epsilon-per-run = 4.0",
                          "epsilon-per-run = 1.0"), "past the cap of 1"),
        (lambda b: _spoil(b / "data/heart/hungary.csv", "oldpeak", "oldpeek"), "no column oldpeak"),
        (lambda b: _spoil(b / "configs/heart.charter.toml", '"non-anginal=non-anginal pain"',
                          '"non-anginal pain"'), "column cp"),
        (lambda b: _spoil(b / "configs/heart.charter.toml", "53aa51", "63aa51"), "SHA-256"),
        (lambda b: _spoil(b / "configs/heart.charter.toml", "delta = 1e-4", "delta = 9e-3"),
         "delta"),
    ],
)  # fmt: skip
def test_what_a_site_refuses_is_said_in_its_own_log_and_stops_the_run(bench, here, spoil, said):
    spoil(bench)
    done = here()
    if done.returncode != 6:  # a wrong model stops the coordinator too
        log = (bench / "runs/r/sites/hungary/log.jsonl").read_text()
        assert said in log
        assert said not in (bench / "runs/r/events.jsonl").read_text()
    else:
        assert said in done.stderr
    assert done.returncode in {2, 6}
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_ctrl_c_in_a_round_says_how_to_go_on_and_going_on_ends_the_run(bench, ctrl_c_counts):
    process = _start(bench)
    _wait_for(bench, "round-started", 2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "--resume" in said and "Traceback" not in said
    done = _run(bench, "--resume", str(bench / "runs" / "r"))
    assert done.returncode == 0, done.stderr
    assert (bench / "runs" / "r" / "report.html").exists()


@pytest.mark.parametrize(
    "delay_s",
    [
        pytest.param(0.0, marks=pytest.mark.exhaustive),
        pytest.param(0.3, marks=pytest.mark.slow),
        pytest.param(0.8, marks=pytest.mark.exhaustive),
    ],
)
def test_killed_in_round_2_the_ledgers_verify_and_charge_at_least_what_was_released(bench, delay_s):
    process = _start(bench)
    _wait_for(bench, "round-started", 2)
    time.sleep(delay_s)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    run = bench / "runs" / "r"
    released = len(json.loads((run / "state.json").read_text())["sums"])
    assert released >= 1
    for site in SITES:
        home = run / "sites" / site
        key = Identity.load(home / "identity.key")
        verify_files(home / "ledger.db", key.public_key)
        ledger = Ledger.open(home / "ledger.db", identity=key)
        charged = [entry for entry in ledger.entries() if entry["action"] == "reserve"]
        assert len(charged) >= released
    done = _run(bench, "--resume", str(run))
    assert done.returncode == 0, done.stderr
    for site in SITES:
        home = run / "sites" / site
        ledger = Ledger.open(home / "ledger.db", identity=Identity.load(home / "identity.key"))
        for account in ledger.data_sets():
            # At most one round was charged without being kept; never more than the policy allows.
            assert 2.9 < ledger.spent(account, delta=1e-4) <= 4.0


@pytest.mark.slow
def test_a_flipped_byte_in_a_ledger_stops_that_site(bench):
    process = _start(bench)
    _wait_for(bench, "round-committed", 1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    home = bench / "runs/r/sites/hungary"
    ledger = home / "ledger.db"
    # A charge that the kill cut in half is rolled back first, or that would undo the flip.
    Ledger.open(ledger, identity=Identity.load(home / "identity.key")).entries()
    data = bytearray(ledger.read_bytes())
    where = data.find(b'"kind":"update"')
    assert where >= 0
    data[where + 9] ^= 1
    ledger.write_bytes(bytes(data))
    done = _run(bench, "--resume", str(bench / "runs" / "r"))
    assert done.returncode == 2
    assert "FE303" in (bench / "runs/r/sites/hungary/log.jsonl").read_text()
