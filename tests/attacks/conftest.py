"""A coordinator that says what it likes, against the real handler of a real site's home."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from fedethics import tasks
from fedethics.charter import document
from fedethics.errors import FedethicsError
from fedethics.identity import Identity
from fedethics.protocol import Action, Request
from fedethics.secagg import CoordinatorSecagg
from fedethics.site.handler import SiteHandler
from fedethics.training.learner import Learner
from tests.e2e.conftest import heart_data, lab  # noqa: F401  fixtures
from tests.server.conftest import learned, memory, quick, staged  # noqa: F401  fixtures


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
            terms=tasks.secagg_terms(charter, charter_hash=self.hash),
        )
        self.learner = Learner(charter)
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

    def open(self, task: str, number: int, *, adapter=None, cohort=None):
        vector = self.adapter if adapter is None else adapter
        specs = tasks.task_specs(self.stage.charter, vector_length=vector.size)
        return self.secagg.open(
            spec=specs[task],
            round_number=number,
            model_hash=self.learner.model_hash(vector),
            cohort=cohort or tuple(self.handlers),
        )

    def work(self, site: str, task: str, number: int, *, adapter=None, run=None, **more):
        """Ask one site for the work of one opening; return its reply or the error it raised."""
        opened = self.open(task, number, adapter=adapter, **more)
        vector = self.adapter if adapter is None else adapter
        action = Action.TRAIN if task == tasks.UPDATE else Action.EVALUATE
        payloads: Mapping[str, bytes] = {
            "open": opened.open_message,
            "adapter": vector.astype("<f4").tobytes(),
        }
        try:
            return self.ask(site, action, run=run, **payloads)
        except FedethicsError as error:
            return error


@pytest.fixture
def liar(lab):  # noqa: F811  the fixture imported above
    return Liar(lab.stage())
