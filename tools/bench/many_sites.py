"""A simulation of many small sites: CPU time and peak memory, each size in a process of its own.

    python -m tools.bench.many_sites 4 16 64 200

The charter is the demo's, with one round: DP, secure sums, fairness, membership audit, receipts.
Explanations only with --explained: they score each held-out record once more for each column. Each
site holds 24 records: patients of the demo, with other numbers, so that hardly two are alike. CPU
time counts the whole process, imports included, and its workers; peak memory adds theirs up. Prints
Markdown.
"""

from __future__ import annotations

import argparse
import cProfile
import csv
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import fedethics

ROOT = Path(__file__).resolve().parents[2]
RECORDS = 24
_DECLARED = 16
_READ = ("age", "sex", "cp", "exang", "oldpeak", "thalch", "chol", "trestbps", "fbs", "restecg")


def main() -> None:
    """Print a table with one row for each number of sites."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sites", type=int, nargs="+")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that sites answer in")
    parser.add_argument("--sites-per-round", type=int, help="cohorts drawn for each round")
    parser.add_argument("--explained", action="store_true", help="with explanations")
    parser.add_argument("--profile", type=Path, help="of the last size, for `python -m pstats`")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(_run(chosen.sites[0], chosen)))
        return
    print("| sites | CPU s | wall s | peak MiB | verdict |\n|---|---|---|---|---|")
    for count in chosen.sites:
        command = [sys.executable, "-m", "tools.bench.many_sites", str(count), "--child"]
        command += ["--rounds", str(chosen.rounds), *(["--explained"] * chosen.explained)]
        command += ["--workers", str(chosen.workers)]
        if chosen.sites_per_round:
            command += ["--sites-per-round", str(chosen.sites_per_round)]
        if chosen.profile:
            command += ["--profile", str(chosen.profile)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        row = json.loads(done.stdout.splitlines()[-1])
        print("| {sites} | {cpu:.0f} | {wall:.0f} | {mib:.0f} | {verdict} |".format(**row))
        sys.stdout.flush()


def _run(count: int, chosen: argparse.Namespace) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fedethics-sites-") as folder:
        scenario = written(Path(folder), count, rounds=chosen.rounds, explained=chosen.explained)
        profiler = cProfile.Profile(time.process_time)
        if chosen.profile:
            profiler.enable()
        per_round = chosen.sites_per_round
        run = fedethics.simulate(
            scenario,
            out=Path(folder) / "runs",
            run_id="many",
            set={"training.sites-per-round": per_round} if per_round else None,
            workers=chosen.workers,
        )
        if chosen.profile:
            profiler.disable()
            profiler.dump_stats(chosen.profile)
        verdict = run.verdict
    own = resource.getrusage(resource.RUSAGE_SELF)
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "sites": count,
        "cpu": own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime,
        "wall": time.monotonic() - began,
        # Of a worker the largest is known; all are counted as large.
        "mib": (own.ru_maxrss + min(chosen.workers, count) * others.ru_maxrss) / 1024,
        "verdict": str(verdict),
    }


def written(folder: Path, count: int, *, rounds: int, explained: bool) -> Path:
    """Write charter, policy, records and scenario of `count` sites, and return the scenario."""
    charter = (ROOT / "configs" / "heart.charter.toml").read_text("utf-8")
    charter = charter.replace("rounds = 5", f"rounds = {rounds}")
    if not explained:
        charter = re.sub(r"\[ethics\.explanation\].*?(?=\n\[)", "", charter, flags=re.DOTALL)
    (folder / "heart.charter.toml").write_text(charter, "utf-8")
    policy = (ROOT / "configs" / "policy.hospital.toml").read_text("utf-8")
    # By chance a site of 24 records holds out three of them.
    policy = policy.replace("records = 5", "records = 2")
    (folder / "policy.toml").write_text(policy, "utf-8")
    pool = _patients()
    drawn = random.Random(7)
    names = [f"site-{number:04d}" for number in range(1, count + 1)]
    (folder / "data").mkdir()
    for name in names:
        with (folder / "data" / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, [*_READ, "num"], extrasaction="ignore")
            table.writeheader()
            table.writerows(_varied(row, drawn) for row in drawn.choices(pool, k=RECORDS))
    lines = ['name = "many"', 'charter = "heart.charter.toml"', 'data-dir = "data"']
    for name in names:
        lines += ["[[sites]]", f'name = "{name}"', f'data = "{name}.csv"']
        lines += [f"declared-records = {_DECLARED}", 'policy = "policy.toml"']
    lines += ["[comparisons]", "seeds = [7]"]
    path = folder / "scenario.toml"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def _varied(row: dict[str, str], drawn: random.Random) -> dict[str, str]:
    """Return a patient with other numbers, within the charter's ranges."""
    age = min(max(int(row["age"]) + drawn.randint(-4, 4), 18), 110)
    rate = min(max(int(row["thalch"]) + drawn.randint(-15, 15), 40), 250)
    cholesterol = int(row["chol"])
    if cholesterol:
        cholesterol = min(max(cholesterol + drawn.randint(-30, 30), 50), 800)
    return {**row, "age": str(age), "thalch": str(rate), "chol": str(cholesterol)}


def _patients() -> list[dict[str, str]]:
    """Return the demo's complete records."""
    found: list[dict[str, str]] = []
    for path in sorted((ROOT / ".data" / "heart").glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            found += [row for row in csv.DictReader(file) if all(row[name] for name in _READ)]
    return found


if __name__ == "__main__":
    main()
