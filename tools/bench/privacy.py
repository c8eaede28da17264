"""Accountants, planner and ledger: `python tools/bench/privacy.py`.

Epsilon of the same DP-SGD by our accountant (PLD) and by Opacus's (RDP, PRV, GDP), with the CPU
time of each; the officer's commands as processes, start to end; and ledger entries a second, each
with its fsync.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from fedethics.identity import Identity
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import SampledGaussian, SkellamRelease
from fedethics.privacy.ledger import Cap, DataSet, Ledger

ROOT = Path(__file__).resolve().parents[2]
CHARTER = ROOT / "configs" / "heart.charter.toml"
DELTA = 1e-5
# (sampling rate, noise multiplier, steps)
GRID = ((0.1, 1.5, 100), (0.01, 1.0, 1000), (0.5, 3.0, 20), (0.02, 0.8, 500), (1.0, 10.0, 20))
COMMANDS = {
    "budget plan (charter)": ["budget", "plan", str(CHARTER)],
    "budget plan (terms)": [
        *("budget", "plan", "--records", "261", "--rounds", "20"),
        *("--epsilon", "3", "--delta", "1e-4"),
    ],
    "charter show": ["charter", "show", str(CHARTER)],
}


def main() -> None:
    """Print three tables, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    figures = {
        "accountants": [_accountants(*terms) for terms in GRID],
        "commands-wall-s": {name: _command(words) for name, words in COMMANDS.items()},
        "ledger": _ledger(chosen.entries),
    }
    if chosen.json:
        print(json.dumps(figures, indent=2))
        return
    print("| q | sigma | steps | PLD (ours) | RDP | PRV | GDP | CPU s: PLD, RDP, PRV |")
    print("|---|---|---|---|---|---|---|---|")
    for row in figures["accountants"]:
        times = ", ".join(f"{row['cpu-s'][name]:.2f}" for name in ("PLD", "RDP", "PRV"))
        shown = " | ".join(f"{row[name]:.3f}" for name in ("PLD", "RDP", "PRV", "GDP"))
        print(f"| {row['q']} | {row['sigma']} | {row['steps']} | {shown} | {times} |")
    for name, seconds in figures["commands-wall-s"].items():
        print(f"{name}: {seconds:.2f} s")
    print(json.dumps(figures["ledger"]))


def _accountants(rate: float, sigma: float, steps: int) -> dict[str, object]:
    from opacus.accountants import create_accountant

    def ours() -> float:
        return epsilon([SampledGaussian(sigma, rate, steps)], delta=DELTA)

    def theirs(name: str) -> float:
        accountant = create_accountant(name)
        accountant.history = [(sigma, rate, steps)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(accountant.get_epsilon(delta=DELTA))

    row: dict[str, object] = {"q": rate, "sigma": sigma, "steps": steps}
    spent: dict[str, float] = {}
    for name in ("PLD", "RDP", "PRV", "GDP"):
        began = time.process_time()
        row[name] = ours() if name == "PLD" else theirs(name.lower())
        spent[name] = time.process_time() - began
    return {**row, "cpu-s": spent}


def _command(words: list[str], repeats: int = 3) -> float:
    def once() -> float:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "fedethics.cli.main", *words],
            check=True,
            capture_output=True,
            cwd=ROOT,
        )
        return time.perf_counter() - began

    return statistics.median(once() for _ in range(repeats))


def _ledger(entries: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        identity = Identity.generate()
        path = Path(folder) / "ledger.db"
        ledger = Ledger.open(path, identity=identity, create=True)
        wall, cpu = time.perf_counter(), time.process_time()
        for number in range(1, entries + 1):
            ledger.reserve(
                data_set=DataSet(fingerprint="aa" * 32, label="train"),
                run="bench",
                round_number=number,
                kind="progress",
                events=[SkellamRelease(1000.0)],
                charter_hash="c" * 64,
                cap=Cap(epsilon=3.0, delta=DELTA),
            )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        began = time.process_time()
        Ledger.open(path, identity=identity)
        return {
            "entries": entries,
            "wall-ms-an-entry": 1000 * wall / entries,
            "cpu-ms-an-entry": 1000 * cpu / entries,
            "entries-a-second": entries / wall,
            "verify-all-cpu-ms": 1000 * (time.process_time() - began),
        }


if __name__ == "__main__":
    main()
