"""A coordinator that says what it likes, against the real handler of a real site's home."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from types import MappingProxyType

import pytest

import fedethics.site.handler as handler_module
from fedethics import charter_sums
from fedethics.aggregates.schedule import sum_specs
from fedethics.charter import document
from fedethics.errors import FedethicsError
from fedethics.identity import Identity
from fedethics.policy.model import Compute
from fedethics.protocol import Action, Request
from fedethics.secagg import CoordinatorSecagg
from fedethics.site.handler import SiteHandler
from fedethics.site.workbench import learner_for
from fedethics.training.server_step import server_step
from tests.coordinator.conftest import (  # noqa: F401  fixtures
    kept_jobs,
    learned,
    quick,
    staged,
)
from tests.e2e.conftest import encoder, heart_data, lab  # noqa: F401  fixtures


@dataclasses.dataclass
class Liar:
    """Holds the coordinator's real key and drives the sites by hand."""

    stage: object
    run: str = "run"

    def __post_init__(self) -> None:
        charter = self.stage.charter
        self.hash = document.hash_of(charter)
        self.handlers = {site: SiteHandler(home) for site, home in self.stage.homes.items()}
        self.secagg = CoordinatorSecagg(
            identity=Identity.load(self.stage.coordinator / "identity.key"),
            terms=charter_sums.secagg_terms(charter, charter_hash=self.hash),
        )
        self.learner = learner_for(charter, None, Compute())  # as the sites have it
        self.adapter = self.learner.initial_vector()

    def ask(self, site: str, action: Action, *, run: str | None = None, **payloads: bytes):
        request = Request(
            action=action, charter_hash=self.hash, run=run or self.run, payloads=payloads
        )
        return self.handlers[site].handle(request).payloads

    def enrol(self, attempt: int = 0) -> None:
        for site in self.handlers:
            reply = self.ask(site, Action.ANNOUNCE, epoch=f"{self.run}/{attempt}".encode())
            self.secagg.add_announcement(reply["announcement"])
        for site in self.handlers:
            reply = self.ask(site, Action.JOIN, roster=self.secagg.roster_message())
            self.secagg.add_acknowledgement(reply["acknowledgement"])

    def open(self, task: str, number: int, *, adapter=None, cohort=None, keep=False):
        vector = self.adapter if adapter is None else adapter
        specs = sum_specs(self.stage.charter, vector_length=vector.size)
        return self.secagg.open(
            spec=specs[task],
            round_number=number,
            model_hash=self.learner.model_hash(vector),
            cohort=cohort or tuple(self.handlers),
            keep=self._kept(task, number) if keep else None,
        )

    def _kept(self, task: str, number: int):
        self.kept = getattr(self, "kept", 0) + 1
        return self.stage.run_dir / f"liar-{self.run}-{task}-{number}-{self.kept}.log"

    def play(
        self,
        task: str,
        number: int,
        *,
        adapter=None,
        cohort=None,
        steering: bytes = b"",
        missed: Mapping[str, bytes] = MappingProxyType({}),
        settled: Collection[str] | None = None,
    ):
        """Open one sum as an honest coordinator does, and settle it at the sites of `settled`.

        Returns the session, which knows its sum, and the CHECKED of each site that gave one.
        """
        vector = self.adapter if adapter is None else adapter
        session = self.open(task, number, adapter=adapter, cohort=cohort, keep=True)
        action = Action.TRAIN if task == charter_sums.UPDATE else Action.EVALUATE
        work = {"open": session.open_message, "adapter": vector.astype("<f4").tobytes()}
        if steering:
            work["steering"] = steering
        for site in session.cohort:
            more = {"missed": missed[site]} if site in missed else {}
            session.add_share(self.ask(site, action, **work, **more)["share"])
        for site, message in session.forward().items():
            session.add_masked(self.ask(site, Action.FORWARD, forward=message)["masked"])
        for site, message in session.survivors().items():
            session.add_confirm(self.ask(site, Action.SURVIVORS, survivors=message)["confirm"])
        session.proof()
        for site, message in session.unrevealed().items():
            session.add_reveal(self.ask(site, Action.PROOF, proof=message)["reveal"])
        told = session.cohort if settled is None else settled
        session.result()
        return session, {site: self.settle(site, session) for site in told}

    def settle(self, site: str, session) -> bytes:
        """Tell a site a sum and answer its check; return its CHECKED."""
        asked = self.ask(site, Action.RESULT, result=session.result().message)
        if "checked" in asked:
            return asked["checked"]
        answer = session.slice(asked["slice-request"])
        return self.ask(site, Action.SLICE, slice=answer)["checked"]

    def stepped(self, adapter, session):
        """Return the adapter after the round of a session, by the charter's rule."""
        opened = session.result()
        return server_step(
            self.learner,
            adapter,
            charter=self.stage.charter,
            total=opened.total,
            survivors=opened.survivors,
        )

    def work(
        self,
        site: str,
        task: str,
        number: int,
        *,
        adapter=None,
        run=None,
        payloads: Mapping[str, bytes] = MappingProxyType({}),
        **more,
    ):
        """Ask one site for the work of one opening; return its reply or the error it raised."""
        opened = self.open(task, number, adapter=adapter, **more)
        vector = self.adapter if adapter is None else adapter
        action = Action.TRAIN if task == charter_sums.UPDATE else Action.EVALUATE
        asked = {"open": opened.open_message, "adapter": vector.astype("<f4").tobytes()}
        try:
            return self.ask(site, action, run=run, **asked, **payloads)
        except FedethicsError as error:
            return error


@pytest.fixture
def liar(lab):  # noqa: F811  the fixture imported above
    return Liar(lab.stage())


@pytest.fixture
def any_adapter(monkeypatch):
    """Leave out the check of what an adapter follows from, to test what stands behind it."""
    monkeypatch.setattr(handler_module, "require_derived", lambda *_: None)
