"""A dry run on this site's own records: everything that a run does here, and nothing leaves.

The site's real handler trains one round and tabulates once, in a throw-away home with an empty
ledger; an in-process coordinator and stand-ins that contribute zeros take the place of the
federation. No connection is made. The real ledger is read, to ask for the permit, and its head is
compared before and after.

Guarantee: no budget is charged; nothing computed here survives the call or is returned, but
durations and whether each opened sum was this site's own vector, bit for bit.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fedethics import tasks
from fedethics.charter.document import hash_of
from fedethics.errors import LedgerError
from fedethics.privacy.ledger import LedgerHead, read_book
from fedethics.privacy.plan import make_plan
from fedethics.secagg import SiteStore
from fedethics.site.home import SiteHome
from fedethics.site.preflight_agreement import permit_now
from fedethics.site.rehearsal_cast import cast
from fedethics.site.rehearsal_home import Stage, build_stage
from fedethics.site.rehearsal_play import Play
from fedethics.site.session import Session

Tell = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsal:
    """What a dry run showed.

    Attributes:
        seconds: of each step, at this site alone.
        self_test_s: part of the training step that is done once a run.
        run_s: estimate for the whole run at this site, without the network and without waiting for
            others.
        members: sites in the play, stand-ins included.
    """

    seconds: dict[str, float]
    self_test_s: float
    run_s: float
    members: int


def rehearse(home: SiteHome, *, tell: Tell = lambda _step, _seconds: None) -> Rehearsal:
    """Play one round and one evaluation; `tell` is called with each step and its seconds.

    Raises:
        PolicyRefusal: the policy does not allow the charter; nothing was computed.
        SecaggAbort: a sum was not what this site put into it.
        LedgerError: the real ledger changed meanwhile, as when the node is running.
        FedethicsError: whatever a real run would fail with.
    """
    before = _head(home)
    seconds: dict[str, float] = {}

    def took(step: str, spent_s: float) -> None:
        seconds[step] = spent_s
        tell(step, spent_s)

    begun = time.perf_counter()
    permit_now(home)
    took("permit", time.perf_counter() - begun)
    # In the home and not in /tmp: what lies here for a moment carries this site's noise only.
    with tempfile.TemporaryDirectory(prefix="rehearsal-", dir=home.path) as name:
        folder = Path(name)
        stage = build_stage(home, folder)
        self_test_s = _play(stage, folder, took)
    if _head(home) != before:
        raise LedgerError(
            f"{home.ledger_path} changed during the rehearsal, which does not touch it; is the "
            "node running? Stop it and rehearse again"
        )
    return Rehearsal(
        seconds=seconds,
        self_test_s=self_test_s,
        run_s=_whole_run(stage, seconds, self_test_s),
        members=len(stage.charter.roster),
    )


def _play(stage: Stage, folder: Path, took: Tell) -> float:
    """Play the steps after the permit; return the seconds of the start-up self-test."""
    home = SiteHome.open(stage.home)
    session = Session.open(home, hash_of(stage.charter), SiteStore(home.opened_sums))
    begun = time.perf_counter()
    specs = session.specs
    adapter = session.workbench.learner.initial_vector()
    took("records and model", time.perf_counter() - begun)
    own, players = cast(stage, specs, folder)
    play = Play(stage, session, own, players, folder)
    play.agree_on_keys()
    took("keys", own.lap())
    started = datetime.now(UTC)
    counted = None
    if 1 in session.plan.steering_rounds:
        counted = play.sum(specs[tasks.STEERING], adapter, round_number=1)
    sums = counted.opened.total.astype("<i8").tobytes() if counted else b""
    summed = play.sum(specs[tasks.UPDATE], adapter, round_number=1, steering=sums)
    took("training", summed.work_s + (counted.work_s if counted else 0.0))
    took("sum of updates", summed.sum_s + (counted.sum_s if counted else 0.0))
    self_test_s = _until_self_test(stage.home, started)
    adapter = play.step(adapter, summed.opened)
    last = stage.charter.training.rounds
    if last > 1:
        play.skip_to(last, adapter)
    final = [tasks.AUDIT, tasks.FAIRNESS] if session.plan.audit is not None else [tasks.FAIRNESS]
    played = [play.sum(specs[task], adapter, round_number=last) for task in final]
    took("tables", sum(one.work_s for one in played))
    took("sum of tables", sum(one.sum_s for one in played))
    return self_test_s


def _until_self_test(home: Path, started: datetime) -> float:
    """Return the seconds from `started` to the self-test's line in the throw-away log."""
    for line in (home / "log.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["event"] == "self-test passed":
            return (datetime.fromisoformat(entry["time"]) - started).total_seconds()
    return 0.0


def _whole_run(stage: Stage, seconds: dict[str, float], self_test_s: float) -> float:
    rounds = stage.charter.training.rounds
    tables = len(make_plan(stage.charter).progress_rounds) + 1
    once = seconds["records and model"] + seconds["keys"] + self_test_s
    each_round = seconds["training"] - self_test_s + seconds["sum of updates"]
    return once + rounds * each_round + tables * (seconds["tables"] + seconds["sum of tables"])


def _head(home: SiteHome) -> LedgerHead:
    return read_book(home.ledger_path, home.identity().public_key).head
