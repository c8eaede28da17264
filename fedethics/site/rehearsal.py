"""A dry run on this site's own records: everything that a run does here, and nothing leaves.

The site's real handler trains one round and tabulates once, in a throw-away home with an empty
ledger. The real coordinator asks it, in this process, and stand-ins that contribute zeros take the
place of the other sites. No connection is made. The real ledger is read, to ask for the permit, and
its head is compared before and after.

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

from fedethics import charter_sums
from fedethics.aggregates.aggregate import Moment
from fedethics.aggregates.registry import aggregate
from fedethics.aggregates.schedule import sums_of
from fedethics.charter.document import hash_of
from fedethics.charter.model import Charter
from fedethics.coordinator.job import RunSettings
from fedethics.coordinator.run import Coordinator
from fedethics.coordinator.transport import Answer, InProcess
from fedethics.data.personal_terms import found_in
from fedethics.errors import LedgerError, RunError, SecaggAbort
from fedethics.privacy.ledger import LedgerHead, read_book
from fedethics.privacy.plan import make_plan
from fedethics.secagg import SiteStore
from fedethics.site.handler import SiteHandler
from fedethics.site.home import SiteHome
from fedethics.site.journal import Derived, Question
from fedethics.site.preflight.agreement import permit_now
from fedethics.site.records import site_records
from fedethics.site.rehearsal_stage import OwnSite, Stage, build_stage, stand_ins
from fedethics.site.request_context import RequestContext
from fedethics.site.watched import personal_now

OnStep = Callable[[str, float], None]
RUN = "rehearsal"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsal:
    """What a dry run showed.

    Attributes:
        seconds: of each step, at this site alone.
        self_test_s: part of the training step that is done once a run.
        run_s: estimate for the whole run at this site, without the network and without waiting for
            others.
        members: sites that took part, stand-ins included.
        personal: in how many records the policy's kinds of personal data were found; "" where it
            looks for none.
    """

    seconds: dict[str, float]
    self_test_s: float
    run_s: float
    members: int
    personal: str = ""


def rehearse(home: SiteHome, *, on_step: OnStep = lambda _step, _seconds: None) -> Rehearsal:
    """Run one round and one evaluation; `on_step` is called with each step and its seconds.

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
        on_step(step, spent_s)

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
        personal=_personal(home, stage.charter),
    )


def _personal(home: SiteHome, charter: Charter) -> str:
    personal = personal_now(home)
    if personal is None or charter.monitoring is not None:
        return ""
    return found_in(site_records(home.data.under(personal), charter).train.personal, personal)


def _play(stage: Stage, folder: Path, took: OnStep) -> float:
    """Play the steps after the permit; return the seconds of the start-up self-test."""
    home = SiteHome.open(stage.home)
    context = RequestContext.open(home, hash_of(stage.charter), SiteStore(home.opened_sums))
    begun = time.perf_counter()
    learner, specs = context.workbench.learner, context.specs
    took("records and model", time.perf_counter() - begun)
    own = OwnSite(stage.home, SiteHandler(stage.home))
    sites: dict[str, Answer] = {name: one.answer for name, one in stand_ins(stage, specs).items()}
    settings = RunSettings(
        job_dir=str(folder / "job"), job_id=RUN, coordinator_home=str(stage.coordinator)
    )
    coordinator = Coordinator.open(
        InProcess({**sites, stage.site: own.answer}), settings, learner=learner
    )
    try:
        return _steps(coordinator, context, own, took)
    except RunError as error:
        # What the coordinator was told is a code; here, the reason itself may be shown.
        raise own.failure or error from error


def _steps(coordinator: Coordinator, context: RequestContext, own: OwnSite, took: OnStep) -> float:
    rounds, last = coordinator.rounds, context.charter.training.rounds
    coordinator.enrolment.begin()
    took("keys", sum(own.lap()))
    started = datetime.now(UTC)
    due = list(sums_of(context.charter, context.plan))
    for name, number in due:
        if number == 1 and aggregate(name).moment is not Moment.AFTER_STEP:
            rounds.open(name, number)
    _require_own_sums(coordinator, own)
    work_s, relay_s = own.lap()
    took("training", work_s)
    took("sum of updates", relay_s)
    self_test_s = _until_self_test(own.home, started)
    if last > 1:
        _skip_to(last, coordinator, context)
    for name, number in due:
        kind = aggregate(name)
        if number == last and kind.moment is Moment.AFTER_STEP and not kind.skippable:
            rounds.open(name, number)
    _require_own_sums(coordinator, own)
    work_s, relay_s = own.lap()
    took("tables", work_s)
    took("sum of tables", relay_s)
    return self_test_s


def _require_own_sums(coordinator: Coordinator, own: OwnSite) -> None:
    """Return if each sum so far is the vector that this site put into it, bit for bit."""
    for entry in coordinator.job.state.sums:
        if own.vectors.get((entry.kind, entry.round)) != entry.sum_sha256:
            raise SecaggAbort(
                f"the {entry.kind} sum of the rehearsal is not this site's own vector plus zeros; "
                "do not take part, and report this"
            )


def _skip_to(last: int, coordinator: Coordinator, context: RequestContext) -> None:
    """Let coordinator and site hold the adapter after round 1 as the one after round `last`.

    A real run brings the site there with checked sums only. This goes into the throw-away home.
    """
    job = coordinator.job
    adapter = job.adapter(coordinator.rounds.learner.initial_vector(), after=1)
    job.commit_round(last, adapter, job.state.sums)
    question = Question(
        charter_hash=context.charter_hash, run=RUN, aggregate=charter_sums.UPDATE, round_number=last
    )
    context.journal.derive(question, Derived(round_number=last, vector=adapter, held=True))


def _until_self_test(home: Path, started: datetime) -> float:
    """Return the seconds from `started` to the self-test's line in the throw-away log."""
    for line in (home / "log.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["event"] == "self-test passed":
            return (datetime.fromisoformat(entry["time"]) - started).total_seconds()
    return 0.0


def _whole_run(stage: Stage, seconds: dict[str, float], self_test_s: float) -> float:
    rounds = stage.charter.training.rounds
    tables = len(make_plan(stage.charter).progress.rounds) + 1
    once = seconds["records and model"] + seconds["keys"] + self_test_s
    each_round = seconds["training"] - self_test_s + seconds["sum of updates"]
    return once + rounds * each_round + tables * (seconds["tables"] + seconds["sum of tables"])


def _head(home: SiteHome) -> LedgerHead:
    return read_book(home.ledger_path, home.identity().public_key).head
