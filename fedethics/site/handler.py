"""How a site answers each request, from its own files and its own rules.

The order inside TRAIN and EVALUATE is the promise "spend before you look": the opening is checked,
the permit is asked, the budget is reserved durably, and only then are records touched by the
mechanism; its noised output is masked before anything leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedethics import tasks
from fedethics.errors import SecaggReject
from fedethics.protocol import Action, Reply, Request
from fedethics.secagg import Opening, SiteStore
from fedethics.site.home import SiteHome
from fedethics.site.log import SiteLog
from fedethics.site.mechanisms import measure, train
from fedethics.site.session import Session
from fedethics.training.self_test import self_test


class SiteHandler:
    """Answers requests for the site whose home is `path`; keeps no state of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.log = SiteLog(path / "log.jsonl")
        self._answers: dict[Action, Callable[[Session, Request], dict[str, bytes]]] = {
            Action.ANNOUNCE: self._announce,
            Action.JOIN: lambda session, request: {
                "acknowledgement": session.secagg.join(_payload(request, "roster"))
            },
            Action.TRAIN: self._work,
            Action.EVALUATE: self._work,
            Action.FORWARD: self._mask,
            Action.SURVIVORS: lambda session, request: {
                "confirm": session.secagg.confirm(_payload(request, "survivors"))
            },
            Action.PROOF: lambda session, request: {
                "reveal": session.secagg.reveal(_payload(request, "proof"))
            },
            Action.RESULT: self._result,
            Action.RECEIPT: lambda session, request: {"receipt": session.receipt(request.run)},
        }

    def handle(self, request: Request) -> Reply:
        """Answer `request`, or raise the reason why not.

        Raises:
            FedethicsError: the refusal, with its full text for the site's own log.
        """
        home = SiteHome.open(self._path)
        session = Session.open(home, request.charter_hash, SiteStore(self._path / "secagg.db"))
        payloads = self._answers[request.action](session, request)
        self.log.write("answered", action=str(request.action), run=request.run)
        return Reply(payloads=payloads)

    def _announce(self, session: Session, request: Request) -> dict[str, bytes]:
        epoch = _payload(request, "epoch").decode("utf-8")
        if epoch.rpartition("/")[0] != request.run:
            raise SecaggReject(f"epoch {epoch!r} is not of run {request.run!r}; nothing was done")
        session.permit(request.run)
        return {"announcement": session.secagg.announce(epoch=epoch)}

    def _work(self, session: Session, request: Request) -> dict[str, bytes]:
        """Check the opening, answer it within the budget, and share the answer."""
        open_message = _payload(request, "open")
        opening = session.secagg.check_open(open_message, specs=session.specs)
        adapter = _vector(_payload(request, "adapter"), session.specs[tasks.UPDATE].length)
        session.require_model(opening.model_hash, adapter)
        if (opening.task == tasks.UPDATE) != (request.action is Action.TRAIN):
            raise SecaggReject(
                f"task {opening.task!r} does not belong to {request.action}; nothing was done"
            )
        session.require_roster(opening)
        question = session.question(request.run, opening)
        vector = session.answers.find(question)
        if vector is None:
            vector = self._draw(session, request.run, opening, adapter)
            session.answers.keep(question, vector)
        spec = session.specs[opening.task]
        return {"share": session.secagg.share(open_message, vector, spec=spec)}

    def _draw(
        self, session: Session, run: str, opening: Opening, adapter: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        """Reserve the budget, then compute with noise. Sensitive until masked."""
        permit = session.permit(run)
        if opening.task == tasks.UPDATE:
            self._self_test(session, run)
        session.reserve(permit, run=run, opening=opening)
        noise = session.noise(run=run, opening=opening)
        compute = train if opening.task == tasks.UPDATE else measure
        return compute(session, adapter, opening.task, noise)

    def _self_test(self, session: Session, run: str) -> None:
        if session.self_tests.passed(run):
            return
        part = session.workbench.records.train
        activations = session.workbench.activations(part)
        self_test(session.workbench.learner, activations, part.labels, session.local_terms())
        session.self_tests.record(run)
        self.log.write("self-test passed", run=run)

    def _mask(self, session: Session, request: Request) -> dict[str, bytes]:
        masked = session.secagg.mask(_payload(request, "forward"))
        session.confirm_spending(request.run)
        return {"masked": masked}

    def _result(self, session: Session, request: Request) -> dict[str, bytes]:
        result = session.secagg.finish(_payload(request, "result"))
        session.answers.forget(run=request.run, task=result.task, round_number=result.round_number)
        return {}


def _payload(request: Request, name: str) -> bytes:
    data = request.payloads.get(name)
    if data is None:
        raise SecaggReject(f"{request.action} came without its {name!r}; nothing was done")
    return data


def _vector(data: bytes, length: int) -> NDArray[np.float32]:
    if len(data) != 4 * length:
        raise SecaggReject(
            f"adapter has {len(data)} bytes, the charter's has {4 * length}; nothing was done"
        )
    vector = np.frombuffer(data, dtype="<f4").astype(np.float32)
    if not np.isfinite(vector).all():
        raise SecaggReject("adapter holds values that are not finite; nothing was done")
    return vector
