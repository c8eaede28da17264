"""Two runs at once over one site's records, with a budget for one: one is charged, one refused.

Two coordinators (two processes with two jobs) ask the same four homes at the same time, so a site's
handler runs in two processes over one ledger. The noise is real: noise for tests costs infinitely.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
import tomli_w

from fedethics.errors import BudgetExceeded, LedgerTampered
from fedethics.identity import Identity
from fedethics.policy.model import load_policy
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import SampledGaussian
from fedethics.privacy.ledger import Cap, DataSet, Ledger
from fedethics.privacy.ledger.verify import read_book
from fedethics.privacy.plan import make_plan
from tests.deployment.federation import ROOT, stage

SITE = "hungary"
TRAIN = DataSet(fingerprint="aa" * 32, label="train")
ROUND = SampledGaussian(2.922, 0.5, 4)
RUN = (ROUND, ROUND)

_COORDINATOR = """
import dataclasses, sys
from pathlib import Path
from fedethics.simulation.federation import run_federation
from fedethics.simulation.staging import existing
stage = existing(Path(sys.argv[1]))
run_federation(dataclasses.replace(stage, run_dir=Path(sys.argv[2])))
"""


def _coordinate(run_dir: Path, job: Path) -> subprocess.Popen[bytes]:
    job.mkdir()
    command = [sys.executable, "-c", _COORDINATOR, str(run_dir), str(job)]
    with (job / "out").open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT)


def _limit_to_one_run(home: Path) -> None:
    """Set the site's caps to what one run of its charter costs, and a little for rounding."""
    settings = tomllib.loads((home / "policy.toml").read_text())
    plan, delta = make_plan(_charter(home)), load_policy(home / "policy.toml").caps.delta
    once = max(
        epsilon(events, delta=delta) for events in (plan.training.events, plan.evaluation.events)
    )
    names = ("epsilon-per-data-set", "epsilon-per-run", "epsilon-per-year")
    settings["caps"] |= dict.fromkeys(names, once * 1.05)
    (home / "policy.toml").write_text(tomli_w.dumps(settings))


def _charter(home: Path):
    from fedethics.charter import document

    return document.load(home / "charter.json")


@pytest.mark.slow
def test_of_two_runs_at_once_one_is_charged_and_the_other_refused_by_name(tmp_path):
    staged = stage(tmp_path / "b")
    for home in staged.homes.values():
        settings = tomllib.loads((home / "site.toml").read_text())
        del settings["test-noise-seed"]
        (home / "site.toml").write_text(tomli_w.dumps(settings))
    home = staged.homes[SITE]
    _limit_to_one_run(home)

    jobs = [tmp_path / "run-a", tmp_path / "run-b"]
    coordinators = [_coordinate(staged.run_dir, job) for job in jobs]
    codes = [coordinator.wait(timeout=280) for coordinator in coordinators]
    said = "\n".join((job / "out").read_text()[-2000:] for job in jobs)
    assert sorted(codes) == [0, 1], said

    book = read_book(home / "ledger.db")
    charged = Counter(charge.run for charge in book.counted())
    (winner,) = charged
    assert jobs[codes.index(0)].name == winner
    # The run that was charged was charged whole: training, its light evaluation is the last round's
    # tables, and nothing twice.
    assert all(count == 1 for count in _times(book, winner).values())

    log = [json.loads(line) for line in (home / "log.jsonl").read_text().splitlines()]
    refusals = {entry["code"] for entry in log if entry["event"] == "refused"}
    assert refusals
    assert refusals <= {"FE203", "FE301"}
    assert any("past the cap" in entry.get("reason", "") for entry in log)
    loser = jobs[codes.index(1)]
    assert f"lacks {SITE}" in said or "opens only with the whole cohort" in said, said
    assert not (loser / "evidence.json").exists()


def _times(book, run: str) -> Counter[tuple[str, int]]:
    return Counter((each.kind, each.round_number) for each in book.counted(run=run))


def test_two_runs_that_were_both_permitted_cannot_both_begin_where_one_could_end(tmp_path):
    cap = Cap(epsilon=epsilon(RUN, delta=1e-4) * 1.05, delta=1e-4)
    ledger = Ledger.open(tmp_path / "ledger.db", identity=Identity.generate(), create=True)

    def charge(run: str, number: int) -> None:
        ledger.reserve(
            data_set=TRAIN,
            run=run,
            round_number=number,
            kind="update",
            events=(ROUND,),
            charter_hash="c" * 64,
            cap=cap,
            whole_run=RUN,
        )

    for run in ("run-a", "run-b"):  # both permits are given before either is charged
        assert not ledger.overruns(TRAIN, run=run, events=RUN, cap=cap)
    charge("run-a", 1)
    with pytest.raises(BudgetExceeded, match="past the cap"):
        charge("run-b", 1)
    charge("run-a", 2)


def test_two_homes_that_share_one_ledger_are_refused_once_one_has_written(tmp_path):
    identity = Identity.generate()
    cap = Cap(epsilon=9.0, delta=1e-4)
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    ledger = Ledger.open(first / "ledger.db", identity=identity, create=True)
    second.mkdir()
    (second / "ledger.db").symlink_to(first / "ledger.db")
    shutil.copy(first / "ledger.db.head", second / "ledger.db.head")
    shared = Ledger.open(second / "ledger.db", identity=identity)
    asked = {"run": "run-a", "round_number": 1, "kind": "update", "charter_hash": "c" * 64}
    ledger.reserve(data_set=TRAIN, events=(ROUND,), cap=cap, **asked)
    with pytest.raises(LedgerTampered, match="an older or another copy"):
        shared.reserve(data_set=TRAIN, events=(ROUND,), cap=cap, **asked)
