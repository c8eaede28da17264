"""Nobody is charged for a job that cannot end: what is left is held to who would still answer."""

from __future__ import annotations

import dataclasses
import itertools
import json
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics import charter_sums
from fedethics.aggregates.schedule import sums_of
from fedethics.charter.document import load
from fedethics.charter.model import Member
from fedethics.coordinator.cohort import MissingSitesError, cohort_of
from fedethics.coordinator.federation import Federation
from fedethics.coordinator.readiness import Readiness
from fedethics.errors import RunError, SecaggReject
from fedethics.privacy.plan import make_plan
from fedethics.protocol import OF_RECORDS, Action, Refusal, Reply, refusal_of
from fedethics.release.evidence import OpenedSum
from fedethics.site.openings import check_agreed
from tests.coordinator.conftest import SITES, charged, opened
from tests.loopback import LoopbackGrid
from tests.privacy.charters import HEART, UNAUDITED, with_terms

COUNTS = (charter_sums.PROGRESS, charter_sums.FAIRNESS, charter_sums.STEERING, charter_sums.AUDIT)


def charter_of(*, audited: bool, progress_every: int, rounds: int):
    draft = load(HEART)
    if not audited:
        draft = with_terms(draft, audit=UNAUDITED)
    privacy = dataclasses.replace(
        draft.privacy,
        evaluation=dataclasses.replace(draft.privacy.evaluation, progress_every=progress_every),
    )
    training = dataclasses.replace(draft.training, rounds=rounds)
    roster = tuple(
        Member(site=site, public_key=f"{index}" * 64, declared_records=100)
        for index, site in enumerate(SITES, start=1)
    )
    return dataclasses.replace(
        draft, privacy=privacy, training=training, roster=roster, coordinator_key="d" * 64
    )


CHARTERS = [
    charter_of(audited=audited, progress_every=every, rounds=rounds)
    for audited, every, rounds in ((False, 0, 1), (True, 1, 2), (False, 2, 3))
]


@pytest.mark.parametrize("charter", CHARTERS)
def test_the_sums_of_a_job_are_those_that_sites_answer_and_no_others(charter):
    plan = make_plan(charter)
    every = list(sums_of(charter, plan))
    assert len(every) == len(set(every))
    for task, number in itertools.product((charter_sums.UPDATE, *COUNTS), range(6)):
        action = Action.TRAIN if task == charter_sums.UPDATE else Action.EVALUATE
        opening = SimpleNamespace(run="r", aggregate=task, round_number=number, cohort=SITES)
        try:
            check_agreed(
                opening, SimpleNamespace(run="r", action=action), charter=charter, plan=plan
            )
        except SecaggReject:
            assert (task, number) not in every
        else:
            # A site knows the audit by its plan; without one it refuses later, by its specs.
            assert (task, number) in every or (task == charter_sums.AUDIT and plan.audit is None)
    assert every[-1] == (charter_sums.FAIRNESS, charter.training.rounds)


class Exchange:
    """Sites that answer READY, or refuse, or stay silent; it notes what it was asked."""

    work_timeout_s = -1.0  # nobody is waited for

    def __init__(self, states):
        self.states = dict(enumerate(states.items()))
        self.asked: list[tuple[Action, str]] = []

    def timeout_s(self, _action):
        return 0.0

    def nodes(self):
        return tuple(n for n, (_, state) in self.states.items() if state != "not connected")

    def ask(self, action, requests, *, asked_again):
        replies = {}
        for node in requests:
            site, state = self.states[node]
            self.asked.append((action, site))
            late = Refusal(code="late", sentence="no reply")
            replies[node] = Reply() if state == "there" else Reply(refusal=late)
            if state == "refuses":
                replies[node] = Reply(refusal=dataclasses.replace(OF_RECORDS, site=site))
        return replies


STATES = ("there", "refuses", "silent", "not connected")


class Here:
    """A job with some sums committed, over sites in given states."""

    def __init__(self, charter, states, *, committed=0, enrolled=SITES):
        plan = make_plan(charter)
        self.every = list(sums_of(charter, plan))
        sums = tuple(
            OpenedSum(
                round=number,
                kind=task,
                cohort=SITES,
                survivors=SITES,
                dropped=(),
                sum_sha256="0" * 64,
                session="1" * 64,
            )
            for task, number in self.every[:committed]
        )
        done = set(self.every[:committed])
        job = SimpleNamespace(
            charter=charter,
            state=SimpleNamespace(sums=sums),
            is_committed=lambda task, number: (task, number) in done,
        )
        self.exchange = Exchange(states)
        events = SimpleNamespace(write=lambda *_, **__: None)
        federation = Federation(self.exchange, "c" * 64, "run", events, roster=frozenset(SITES))
        nodes = {site: node for node, (site, _) in self.exchange.states.items()}
        federation.adopt(None, {site: nodes[site] for site in enrolled})
        federation.fallen = set(enrolled)  # nobody has shown a sign of life since

        def complete():  # asks whoever is not enrolled, as the real one does; nobody joins here
            federation.broadcast(Action.ANNOUNCE, federation.strangers(), {}, "", bytes)

        enrolment = SimpleNamespace(complete=complete)
        self.readiness = Readiness(job, federation, enrolment, plan)


@settings(max_examples=120)
@given(
    st.sampled_from(CHARTERS),
    st.lists(st.sampled_from(STATES), min_size=len(SITES), max_size=len(SITES)),
    st.sets(st.sampled_from(SITES), min_size=1),
    st.integers(0, 12),
)
def test_nothing_is_charged_while_a_sum_that_is_left_lacks_a_site_whoever_and_why(
    charter, drawn, enrolled, committed
):
    states = dict(zip(SITES, drawn, strict=True))
    here = Here(charter, states, committed=committed, enrolled=tuple(sorted(enrolled)))
    left = here.every[committed:]
    missing = {site for site in SITES if site not in enrolled or states[site] != "there"}
    if not left or not missing:  # the last sum is over the whole roster, so it lacks each of them
        here.readiness.require()
    else:
        with pytest.raises(RunError) as caught:
            here.readiness.require()
        said = str(caught.value)
        assert ("nothing more was charged" in said) == (committed > 0)
        assert "nothing" in said and "charged" in said
        refused = refusal_of(OF_RECORDS.code).sentence
        for site in missing:
            assert site in said
            if states[site] == "refuses":
                assert f"{site}, {refused} ({OF_RECORDS.code})" in said
        reasons = said.split("charged. ")[1].split("Resume")[0]
        assert not any(site in reasons for site in set(SITES) - missing)
    # Whatever came of it, no site was asked to compute.
    assert {action for action, _ in here.exchange.asked} <= {Action.READY, Action.ANNOUNCE}


def test_sites_that_gave_to_the_last_sum_are_not_asked_again():
    here = Here(CHARTERS[0], dict.fromkeys(SITES, "there"))
    here.readiness.federation.fallen = {"hungary"}
    here.readiness.require()
    assert here.exchange.asked == [(Action.READY, "hungary")]
    here.readiness.require()
    assert here.exchange.asked == [(Action.READY, "hungary")]


@settings(max_examples=60)
@given(st.sets(st.sampled_from(SITES)), st.sampled_from([charter_sums.UPDATE, *COUNTS]))
def test_a_cohort_keeps_the_charters_rules_or_there_is_none(here, task):
    charter = CHARTERS[0]
    minimum = charter.secagg.minimum_cohort
    enough = len(here) >= minimum if task == charter_sums.UPDATE else here == set(SITES)
    if enough:
        assert set(cohort_of(task, 1, charter=charter, enrolled=here, opened=())) == here
        return
    with pytest.raises(MissingSitesError) as caught:
        cohort_of(task, 1, charter=charter, enrolled=here, opened=())
    assert set(caught.value.missing) == set(SITES) - here


def test_a_site_that_came_after_a_training_sum_is_asked_for_counts_only():
    without = SITES[:-1]
    before = OpenedSum(
        round=1,
        kind=charter_sums.UPDATE,
        cohort=without,
        survivors=without,
        dropped=(),
        sum_sha256="0" * 64,
        session="1" * 64,
    )
    found = {
        task: cohort_of(task, 2, charter=CHARTERS[1], enrolled=SITES, opened=(before,))
        for task in (charter_sums.UPDATE, charter_sums.FAIRNESS)
    }
    assert found == {charter_sums.UPDATE: without, charter_sums.FAIRNESS: SITES}


# Whole federations, with an arithmetic for a model.


def set_aside(path, home) -> str:
    """Give a site a data file of its own; return what it held."""
    settings_file = home / "site.toml"
    found = next(line for line in settings_file.read_text().splitlines() if "data =" in line)
    source = found.split('"')[1]
    settings_file.write_text(settings_file.read_text().replace(source, str(path)))
    return open(source, encoding="utf-8").read()


def test_with_a_site_whose_records_do_not_go_with_the_charter_no_site_is_charged(quick, tmp_path):
    stage = quick.copy()
    home, data = stage.homes["hungary"], tmp_path / "hungary.csv"
    text = set_aside(data, home)
    data.write_text("\n".join(text.splitlines()[:6]) + "\n")  # too few for minimum.records
    with pytest.raises(RunError, match=r"hungary, the site's records do not allow this \(FE203\)"):
        quick.run(stage)
    assert all(not charged(stage, site) for site in SITES)


def test_a_site_that_has_left_ends_the_job_before_the_next_charge(quick):
    class Leaves(LoopbackGrid):
        """Hungary's charter is gone once it has answered the first TRAIN."""

        def _deliver(self, message):
            site = self._site_of[message.metadata.dst_node_id]
            found = super()._deliver(message)
            if site == "hungary" and message.metadata.message_type.startswith("train"):
                (self.homes[site] / "charter.json").unlink(missing_ok=True)
            return found

    stage = quick.copy()
    with pytest.raises(RunError, match=r"nothing more was charged.*hungary"):
        quick.run(stage, grid=Leaves)
    for site in SITES:
        assert (charter_sums.UPDATE, 2) not in charged(stage, site)


def test_a_file_that_is_replaced_in_a_run_stops_the_job_before_the_next_charge(quick, tmp_path):
    stage = quick.copy()
    home, data = stage.homes["hungary"], tmp_path / "hungary.csv"
    text = set_aside(data, home)
    data.write_text(text)

    class Exports(LoopbackGrid):
        """A nightly export replaces hungary's file after the first sum was told."""

        def _deliver(self, message):
            if message.metadata.message_type == "query.result":
                data.write_text("\n".join(text.splitlines()[:-1]) + "\n")
            return super()._deliver(message)

    with pytest.raises(RunError, match=r"hungary, the site's records do not allow this \(FE203\)"):
        quick.run(stage, grid=Exports)
    # It had given its part to round 1; the light evaluation is the first that it refuses.
    assert charged(stage, "hungary") == {(charter_sums.UPDATE, 1): 1}
    assert all((charter_sums.UPDATE, 2) not in charged(stage, site) for site in SITES)
    entries = [json.loads(line) for line in (home / "log.jsonl").read_text().splitlines()]
    assert any("began with other records" in entry.get("reason", "") for entry in entries)
    told = (stage.run_dir / "events.jsonl").read_text()
    assert '"site": "hungary", "code": "FE203"' in told and "began with" not in told

    data.write_text(text)  # put back as it was: the run goes on, and its answer was not kept
    quick.run(stage, resume=True)
    assert (charter_sums.FAIRNESS, 2) in opened(stage, "hungary")
    assert set(charged(stage, "hungary").values()) == {1}
