"""One sum of a rehearsal, from OPEN to RESULT, and what it must come to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedethics import tasks
from fedethics.errors import SecaggAbort
from fedethics.protocol import Action
from fedethics.secagg import CoordinatorRound, CoordinatorSecagg, Opened, TaskSpec
from fedethics.site.journal import Derived, Journal, Question
from fedethics.site.rehearsal_cast import RUN, OwnSite, Player
from fedethics.site.rehearsal_home import Stage
from fedethics.site.session import Session
from fedethics.training.server_step import server_step

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Summed:
    """One sum, and the seconds in which this site computed and then took part in opening it."""

    opened: Opened
    work_s: float
    sum_s: float


class Play:
    """The coordinator's part, in this process."""

    def __init__(
        self, stage: Stage, session: Session, own: OwnSite, players: dict[str, Player], folder: Path
    ) -> None:
        """Coordinate `players`, of whom `own` is this site; `folder` is for what must be kept."""
        charter_hash = session.charter_hash
        terms = tasks.secagg_terms(stage.charter, charter_hash=charter_hash)
        self._coordinator = CoordinatorSecagg(identity=stage.coordinator, terms=terms)
        self._stage, self._session, self._folder = stage, session, folder
        self._own, self._players = own, players

    def agree_on_keys(self) -> None:
        """Bring every player into one epoch."""
        coordinator, epoch = self._coordinator, f"{RUN}/0".encode()
        for player in self._players.values():
            announced = player.ask(Action.ANNOUNCE, "announcement", epoch=epoch)
            coordinator.add_announcement(announced)
        roster = coordinator.roster_message()
        for player in self._players.values():
            acknowledged = player.ask(Action.JOIN, "acknowledgement", roster=roster)
            coordinator.add_acknowledgement(acknowledged)
        for name, joined in coordinator.joined_messages().items():
            self._players[name].ask(Action.COMPLETE, "", joined=joined)

    def sum(
        self, spec: TaskSpec, adapter: Vector, *, round_number: int, steering: bytes = b""
    ) -> Summed:
        """Open one sum over all players; `steering` is the opened counts that weigh a round.

        Raises:
            SecaggAbort: it is not this site's own vector.
        """
        current = self._coordinator.open(
            spec=spec,
            round_number=round_number,
            model_hash=self._session.workbench.learner.model_hash(adapter),
            cohort=sorted(self._players),
            keep=self._folder / f"{spec.name}.session",
        )
        action = Action.TRAIN if spec.name == tasks.UPDATE else Action.EVALUATE
        work = {"open": current.open_message, "adapter": adapter.astype("<f4").tobytes()}
        if steering:
            work["steering"] = steering
        for player in self._players.values():
            current.add_share(player.ask(action, "share", **work))
        work_s = self._own.lap()
        own = self._own_vector(spec, adapter, round_number)
        opened = self._open(current)
        if own is None or not np.array_equal(opened.total, own):
            raise SecaggAbort(
                f"the {spec.name} sum of the rehearsal is not this site's own vector plus zeros; "
                "do not take part, and report this"
            )
        return Summed(opened, work_s, self._own.lap())

    def skip_to(self, last: int, adapter: Vector) -> None:
        """Let the site hold `adapter` as the one after round `last`, without those between.

        A real run brings it there with checked sums only. This goes into the throw-away home.
        """
        question = Question(
            charter_hash=self._session.charter_hash,
            run=RUN,
            task=tasks.UPDATE,
            round_number=last,
        )
        derived = Derived(round_number=last, vector=adapter, held=True)
        self._session.journal.derive(question, derived)

    def step(self, adapter: Vector, opened: Opened) -> Vector:
        """Return the adapter after the round, as the coordinator would."""
        return server_step(
            self._session.workbench.learner,
            adapter,
            charter=self._stage.charter,
            total=opened.total,
            survivors=opened.survivors,
        )

    def _open(self, current: CoordinatorRound) -> Opened:
        players = self._players
        for name, message in current.forward().items():
            current.add_masked(players[name].ask(Action.FORWARD, "masked", forward=message))
        agreed = current.survivors()
        if self._stage.charter.secagg.mode == "strict":
            for name, message in agreed.items():
                confirmed = players[name].ask(Action.SURVIVORS, "confirm", survivors=message)
                current.add_confirm(confirmed)
            agreed = current.proof()
        for name, message in agreed.items():
            current.add_reveal(players[name].ask(Action.PROOF, "reveal", proof=message))
        opened = current.result()
        for player in players.values():
            asked = player.ask(Action.RESULT, "slice-request", result=opened.message)
            if asked:
                player.ask(Action.SLICE, "", slice=current.slice(asked))
        return opened

    def _own_vector(
        self, spec: TaskSpec, adapter: Vector, round_number: int
    ) -> NDArray[np.int64] | None:
        # Sensitive: this site's answer with its own share of the noise only; it stays in memory.
        question = Question(
            charter_hash=self._session.charter_hash,
            run=RUN,
            task=spec.name,
            round_number=round_number,
        )
        model_hash = self._session.workbench.learner.model_hash(adapter)
        return Journal(self._stage.home / "journal.db").find(question, model_hash=model_hash)
