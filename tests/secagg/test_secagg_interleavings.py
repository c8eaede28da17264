"""Whatever order messages come in, repeated, dropped, or across restarts: I1 to I5 hold."""

import shutil
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from tests.secagg.federation import Federation, random_vectors, spec_of
from tests.secagg.lying_server import LyingServer

SPEC = spec_of(length=3)
NAMES = [f"site-0{k}" for k in range(5)]
ACTIONS = {
    Kind.FORWARD: "mask",
    Kind.SURVIVORS: "confirm",
    Kind.PROOF: "reveal",
    Kind.RESULT: "finish",
}
some_site = st.sampled_from(NAMES)
index = st.integers(0, 10**6)


class Interleavings(RuleBasedStateMachine):
    """Five sites, two rounds, any number of restarts of each; the coordinator is honest."""

    mode = "strict"

    @initialize()
    def start(self):
        self.folder = Path(tempfile.mkdtemp())
        self.federation = Federation(self.folder, 5, colluders=1, mode=self.mode)
        self.federation.join()
        self.server = LyingServer(self.federation)
        self.vectors = {number: random_vectors(NAMES, SPEC, seed=number) for number in range(2)}
        self.sessions = []
        self.mail = []  # (recipient, session, kind, message), delivered any number of times
        self.answers = []  # (session, method, message) on the way back
        self.opened = defaultdict(list)

    @rule(number=st.integers(0, 1))
    def open_or_restart(self, number):
        if len(self.sessions) < 3:
            session = self.federation.open(SPEC, number)
            self.sessions.append((session, number))

    @precondition(lambda self: self.sessions)
    @rule(name=some_site, which=index)
    def share(self, name, which):
        session, number = self.sessions[which % len(self.sessions)]
        try:
            reply = self.server.ask(
                name, "share", session.open_message, vector=self.vectors[number][name], spec=SPEC
            )
        except SecaggReject:
            return
        except SecaggAbort as accusation:
            # An honest coordinator is accused only of opening a round that was opened before.
            if "already opened" not in str(accusation):
                raise
        else:
            self.answers.append((session, "add_share", reply))

    @precondition(lambda self: self.mail)
    @rule(which=index)
    def deliver(self, which):
        name, session, kind, message = self.mail[which % len(self.mail)]
        answer = {"mask": "add_masked", "confirm": "add_confirm", "reveal": "add_reveal"}
        action = ACTIONS[kind]
        if self.mode == "fast" and kind is Kind.SURVIVORS:
            action = "reveal"
        try:
            reply = self.server.ask(name, action, message)
        except SecaggReject:
            return
        if action in answer:
            self.answers.append((session, answer[action], reply))

    @precondition(lambda self: self.answers)
    @rule(which=index)
    def answer(self, which):
        session, method, message = self.answers[which % len(self.answers)]
        try:
            getattr(session, method)(message)
        except SecaggReject:
            return

    @precondition(lambda self: self.sessions)
    @rule(which=index)
    def close_a_stage(self, which):
        session, number = self.sessions[which % len(self.sessions)]
        kinds = (Kind.FORWARD, Kind.SURVIVORS, Kind.PROOF)
        for kind, relay in zip(kinds, ("forward", "survivors", "proof"), strict=True):
            if self.mode == "fast" and kind is Kind.PROOF:
                continue
            if kind not in session._relayed:
                try:
                    relayed = getattr(session, relay)()
                except SecaggAbort:
                    return
                self.mail += [(name, session, kind, text) for name, text in relayed.items()]
                return
        try:
            opened = session.result()
        except SecaggAbort:
            return
        expected = np.sum([self.vectors[number][name] for name in opened.survivors], axis=0)
        assert np.array_equal(opened.total, expected)
        self.mail += [(name, session, Kind.RESULT, opened.message) for name in NAMES]

    @precondition(lambda self: self.sessions)
    @rule(which=index, silent=st.sets(some_site, max_size=1), stages=st.integers(1, 4))
    def play_on(self, which, silent, stages):
        """Bring one session some stages further, so that deep states are reached often."""
        at = which % len(self.sessions)
        session, _ = self.sessions[at]
        for _ in range(stages):
            for name in NAMES:
                if name not in silent and Kind.FORWARD not in session._relayed:
                    self.share(name, at)
            for position, (name, owner, _, _) in enumerate(list(self.mail)):
                if owner is session and name not in silent:
                    self.deliver(position)
            for position, (owner, _, _) in enumerate(list(self.answers)):
                if owner is session:
                    self.answer(position)
            self.close_a_stage(at)

    @rule(name=some_site)
    def restart(self, name):
        self.federation.sites[name] = self.federation.restarted(name)

    @invariant()
    def the_server_knows_only_sums_over_cohorts(self):
        if not hasattr(self, "server"):
            return
        knowledge = self.server.knowledge()
        assert knowledge.both_kinds_known() == set()
        exposed = knowledge.smallest_exposed_group()
        assert exposed == 0 or exposed >= 4

    @invariant()
    def each_site_opened_each_round_at_most_once(self):
        if not hasattr(self, "server"):
            return
        reveals = defaultdict(set)
        for message in self.server.heard:
            if Kind(message[4]) is Kind.REVEAL:
                header = framing.decode(message, kind=Kind.REVEAL, max_body_bytes=1 << 20).header
                number = next(n for s, n in self.sessions if s._sid == header["session"])
                reveals[header["sender"], number].add(message)
        assert all(len(messages) == 1 for messages in reveals.values())

    def teardown(self):
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


Interleavings.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestInterleavings = Interleavings.TestCase


class FastInterleavings(Interleavings):
    """The same without CONFIRM and PROOF."""

    mode = "fast"


FastInterleavings.TestCase.settings = settings(Interleavings.TestCase.settings, max_examples=15)
TestFastInterleavings = FastInterleavings.TestCase
