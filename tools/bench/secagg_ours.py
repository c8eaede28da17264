"""One session of `fedethics.secagg`, timed: the real sites, coordinator, stores and messages."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fedethics.identity import Identity
from fedethics.privacy.noise import NoiseSource
from fedethics.secagg import (
    CoordinatorSecagg,
    Quantiser,
    SecaggTerms,
    SiteSecagg,
    SiteStore,
    SumSpec,
)

COLLUDERS = 1
QUANTISER = Quantiser(clip=1.0, scale=2.0**22)
_T = TypeVar("_T")


def names(sites: int) -> list[str]:
    return [f"site-{k:03d}" for k in range(sites)]


def threshold(sites: int) -> int:
    """The rule of `SecaggTerms`, which both sides follow here."""
    return max(2 * sites // 3 + 1, (sites + COLLUDERS) // 2 + 1)


def specification(length: int) -> SumSpec:
    return SumSpec(
        name="update", length=length, word_bits=32, bound=QUANTISER.bound, whole_cohort=False
    )


@dataclass
class Stopwatch:
    """Seconds by step, one entry for each time it was taken."""

    clock: Callable[[], float] = time.process_time
    taken: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = self.clock()
        try:
            yield
        finally:
            self.taken.setdefault(step, []).append(self.clock() - start)

    def sums(self) -> dict[str, float]:
        return {step: sum(seconds) for step, seconds in self.taken.items()}

    def medians(self) -> dict[str, float]:
        return {step: statistics.median(seconds) for step, seconds in self.taken.items()}


@dataclass
class Figures:
    """What one side of one cell cost.

    Attributes:
        client: seconds of one client, by step.
        server: seconds of the server, by step.
        setup: seconds of what one client does once an epoch, not once a sum.
        bytes_up: what one client sends for one sum.
    """

    client: dict[str, float]
    server: dict[str, float]
    bytes_up: int
    setup: float = 0.0


class Side:
    """A federation of n sites in an epoch, ready for sessions."""

    def __init__(self, sites: int, folder: Path, clock: Callable[[], float]) -> None:
        self.names = names(sites)
        self.clock = clock
        identities = {name: Identity.generate() for name in self.names}
        key = Identity.generate()
        self.terms = SecaggTerms(
            charter_hash="cd" * 32,
            roster={name: identity.public_key for name, identity in identities.items()},
            coordinator_key=key.public_key,
            minimum_cohort=3,
            colluders=COLLUDERS,
        )
        self.sites = {
            name: SiteSecagg(
                site=name,
                identity=identity,
                terms=self.terms,
                store=SiteStore(folder / name / "secagg.sqlite"),
            )
            for name, identity in identities.items()
        }
        self.coordinator = CoordinatorSecagg(identity=key, terms=self.terms)
        self.setup = Stopwatch(clock)
        self._join()

    def _join(self) -> None:
        coordinator = self.coordinator
        for name in self.names:
            with self.setup("announce"):
                announcement = self.sites[name].announce(epoch="bench/0")
            coordinator.add_announcement(announcement)
        roster = coordinator.roster_message()
        for name in self.names:
            with self.setup("join"):
                acknowledgement = self.sites[name].join(roster)
            coordinator.add_acknowledgement(acknowledgement)

    def session(
        self, round_number: int, vectors: dict[str, NDArray[np.float32]], drops: int
    ) -> Figures:
        """Play one session in which the last `drops` sites fall silent before MASKED."""
        client, server = Stopwatch(self.clock), Stopwatch(self.clock)
        spec = specification(len(vectors[self.names[0]]))
        alive = self.names[: len(self.names) - drops]
        with server("open"):
            session = self.coordinator.open(
                spec=spec, round_number=round_number, model_hash="ab" * 32, cohort=self.names
            )
        expected, bytes_up = np.zeros(spec.length, dtype=np.int64), 0
        for name in self.names:
            noise = NoiseSource.from_os()
            with client("quantise"):
                grid = QUANTISER.quantise(vectors[name], random_bytes=noise.random_bytes)
            with client("share"):
                share = self.sites[name].share(session.open_message, grid, spec=spec)
            with server("share"):
                session.add_share(share)
            expected += grid if name in alive else 0
        bytes_up += len(share)
        for step, relay, add in (
            ("mask", session.forward, session.add_masked),
            ("confirm", session.survivors, session.add_confirm),
            ("reveal", session.proof, session.add_reveal),
        ):
            with server(step):
                relayed = relay()
            for name in alive:
                with client(step):
                    reply = getattr(self.sites[name], step)(relayed[name])
                with server(step):
                    add(reply)
            bytes_up += len(reply)
        with server("result"):
            opened = session.result()
        for name in alive:
            with client("finish"):
                result = self.sites[name].finish(opened.message)
        if not (np.array_equal(opened.total, expected) and np.array_equal(result.total, expected)):
            raise AssertionError("the sum is not exact")
        return Figures(client=client.medians(), server=server.sums(), bytes_up=bytes_up)


def measure(
    *,
    sites: int,
    drops: int,
    vectors: dict[str, NDArray[np.float32]],
    repeats: int,
    folder: Path | None,
    clock: Callable[[], float] = time.process_time,
) -> list[Figures]:
    """Return the figures of `repeats` sessions in one epoch; stores lie in `folder`."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        side = Side(sites, Path(scratch), clock)
        found = [side.session(number, vectors, drops) for number in range(repeats)]
    setup = sum(side.setup.medians().values())
    for figures in found:
        figures.setup = setup
    return found
