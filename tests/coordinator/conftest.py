"""A whole federation with an arithmetic for a model, so quick that it can die at every step.

Everything between the model and the wire is real: apps, grid, secure aggregation, policy, ledger,
journal and job. Only training and measuring are replaced, by integers that follow from the site and
the round, since what is tested is what happens between them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict

import fedethics.coordinator.closing as closing_module
import fedethics.coordinator.run as run_module
import fedethics.site.handler as handler_module
from clients.app import app as client_app
from fedethics.aggregates.fairness import site as fairness_site
from fedethics.aggregates.progress import site as progress_site
from fedethics.aggregates.steering import site as steering_site
from fedethics.aggregates.update import site as update_site
from fedethics.flower.wire import parse_reply, parse_request
from fedethics.identity import Identity
from fedethics.privacy.ledger import Ledger
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from fedethics.simulation import staging
from fedethics.simulation.staging import Stage
from fedethics.training.learner import Learner
from server.app import app as server_app
from tests.e2e.conftest import Lab, encoder, heart_data  # noqa: F401  fixtures
from tests.inprocess import COORDINATOR_NODE, wire_copy
from tests.loopback import LoopbackGrid

SITES = ("cleveland", "hungary", "switzerland", "va-long-beach")


def numbers(site: str, opening: object, size: int) -> np.ndarray:
    """Integers that follow from who is asked what; small enough for every task's bound."""
    name = f"{site}|{opening.aggregate}|{opening.round_number}"
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).integers(0, 50, size, dtype=np.int64)


class Learned:
    """The real learner's layout, built once, without what takes time."""

    def __init__(self, real: Learner) -> None:
        self._real = real
        self._initial = real.initial_vector()

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def initial_vector(self) -> np.ndarray:
        return self._initial.copy()

    def save_adapter(self, vector: np.ndarray, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "adapter_model.safetensors").write_bytes(vector.astype("<f4").tobytes())


class Tap:
    """What sites ever revealed: (site, task, round) -> the REVEALs, over all lives of a job."""

    def __init__(self) -> None:
        self.sessions: dict[str, tuple[str, int]] = {}
        self.revealed: dict[tuple[str, str, int], set[bytes]] = {}

    def copy(self) -> Tap:
        other = Tap()
        other.sessions = dict(self.sessions)
        other.revealed = {key: set(found) for key, found in self.revealed.items()}
        return other

    def hears(self, site: str, request: Message, reply: Message) -> None:
        asked, answer = parse_request(request), parse_reply(reply)
        if "open" in asked.payloads:
            raw = asked.payloads["open"]
            header = framing.decode(raw, kind=Kind.OPEN, max_body_bytes=0).header
            self.sessions[hashlib.sha256(raw).hexdigest()] = (header["task"], header["round"])
        if "reveal" in answer.payloads:
            raw = answer.payloads["reveal"]
            header = framing.decode(raw, kind=Kind.REVEAL, max_body_bytes=1 << 20).header
            key = (site, *self.sessions[header["session"]])
            self.revealed.setdefault(key, set()).add(raw)


class TappedGrid(LoopbackGrid):
    """The loopback grid, overheard; `before` is called before each delivery and may raise."""

    tap = Tap()
    before: Callable[[str, str], None] = staticmethod(lambda _site, _action: None)

    def _deliver(self, message: Message) -> str:
        site = self._site_of[message.metadata.dst_node_id]
        self.before(site, message.metadata.message_type)
        message_id = super()._deliver(message)
        reply = self._replies[message_id]
        if not reply.has_error():
            self.tap.hears(site, wire_copy(message, message_id=message_id), reply)
        return message_id


class CoordinatorDied(BaseException):
    """The coordinator's process is gone, before it sent a message."""


@dataclasses.dataclass
class Quick:
    """One staged federation that can be run, killed and resumed many times from copies.

    Attributes:
        template: the federation before any job.
        path: where copies are made.
        kept: where jobs that many tests begin from or compare with lie; each is run once.
    """

    template: Stage
    path: Path
    kept: Path
    count: int = 0

    def copy(self, of: Stage | None = None) -> Stage:
        """A federation with the same keys; a fresh one, or as `of` stands."""
        self.count += 1
        run_dir = self.path / f"copy-{self.count}" / "run"
        shutil.copytree((of or self.template).run_dir, run_dir)
        return staging.existing(run_dir, self.template.charter)

    def before(self, leg: str) -> Stage:
        """A federation whose coordinator died before the first message of a leg; to be resumed."""

        class Grid(TappedGrid):
            tap = Tap()

            @staticmethod
            def before(_site: str, action: str) -> None:
                if action == leg:
                    raise CoordinatorDied

        def die(stage: Stage) -> None:
            with pytest.raises(CoordinatorDied):
                self.run(stage, grid=Grid)

        return self.copy(of=self._once(f"before {leg}", die))

    def whole(self) -> Stage:
        """A job that nothing disturbed, to compare others with; it is not to be changed."""
        return self._once("whole", self.run)

    def _once(self, name: str, play: Callable[[Stage], object]) -> Stage:
        run_dir = self.kept / name / "run"
        if not run_dir.exists():
            stage = self.copy()
            play(stage)
            shutil.copytree(stage.run_dir, run_dir)
        return staging.existing(run_dir, self.template.charter)

    def run(
        self,
        stage: Stage,
        *,
        resume: bool = False,
        grid: Callable[..., LoopbackGrid] = LoopbackGrid,
        **settings: float,
    ) -> Path:
        """Run the job, or what is left of it."""
        config = {
            "coordinator-home": str(stage.coordinator),
            "job-dir": str(stage.run_dir),
            "job-id": "run",
            "model-dir": "",
            "resume": resume,
        } | {key.replace("_", "-"): value for key, value in settings.items()}
        context = Context(1, COORDINATOR_NODE, {}, RecordDict(), config)
        server_app(grid(client_app=client_app, homes=stage.homes), context)
        return stage.run_dir

    def final(self, stage: Stage) -> bytes:
        """The adapter after the last round."""
        return (stage.run_dir / "rounds" / "adapter-0002.f32").read_bytes()


def ledger_of(stage: Stage, site: str) -> Ledger:
    home = stage.homes[site]
    return Ledger.open(home / "ledger.db", identity=Identity.load(home / "identity.key"))


def charged(stage: Stage, site: str) -> Counter[tuple[str, int]]:
    """How often each round of each task was charged at a site."""
    return Counter(
        (entry["kind"], entry["round"])
        for entry in ledger_of(stage, site).entries()
        if entry["action"] == "reserve"
    )


def opened(stage: Stage, site: str) -> list[tuple[str, int]]:
    """Every (task, round) that a site wrote down as opened."""
    with sqlite3.connect(stage.homes[site] / "secagg.db") as store:
        return list(store.execute("SELECT task, round FROM rounds WHERE verdict = 'opened'"))


@pytest.fixture(scope="session")
def staged(tmp_path_factory, heart_data, encoder) -> Stage:  # noqa: F811
    return Lab(tmp_path_factory.mktemp("staged"), heart_data, encoder).stage(noise_seed="7")


@pytest.fixture(scope="session")
def learned(staged) -> Learned:
    return Learned(Learner(staged.charter))


@pytest.fixture(scope="session")
def kept_jobs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def quick(staged, learned, kept_jobs, tmp_path, monkeypatch) -> Quick:

    def compute(session, _adapter, opening, _noise, **_):
        return numbers(session.site, opening, session.specs[opening.aggregate].length)

    for kind, mechanism in (
        (update_site, "train"),
        (progress_site, "count"),
        (steering_site, "count"),
        (fairness_site, "measure"),
    ):
        monkeypatch.setattr(kind, mechanism, compute)
    monkeypatch.setattr(handler_module, "self_test", lambda *_: None)
    monkeypatch.setattr(run_module, "Learner", lambda *_, **__: learned)
    monkeypatch.setattr(closing_module, "code_hash", lambda: "00" * 32)
    monkeypatch.setattr(closing_module, "publish", lambda *_: SimpleNamespace(verdict="untried"))
    return Quick(staged, tmp_path, kept_jobs)
