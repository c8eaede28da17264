"""Faults and attacks of a simulated federation: sites that are lost, late, or send poison.

They happen outside the product's own code: on the way between coordinator and site, or in a site
that runs a changed copy of what real sites run. The coordinator and all other sites are as ever,
so a run with faults shows how they end (docs/research.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedethics import canonical, terms
from fedethics.canonical import Json
from fedethics.charter.cohorts import drawn, rounds_of
from fedethics.charter.model import Charter
from fedethics.errors import RunError, SecaggReject
from fedethics.privacy.noise import NoiseSource
from fedethics.protocol import Action, Request
from fedethics.release import durable
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from fedethics.terms import NAME, term

if TYPE_CHECKING:
    from fedethics.site.handler import SiteHandler

# Beside the coordinator's charter, so that a resumed run has the same faults.
FAULTS = "faults.json"
_TIMES = 10
Poison = Callable[[NDArray[np.int64], int], NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True, slots=True)
class At:
    """A site in one round of training, counted from 1."""

    site: str = term(pattern=NAME)
    round_number: int = term(at_least=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Poisoned:
    """A site that sends something else than its update, in every round.

    Attributes:
        kind: one of `POISONS`.
    """

    site: str = term(pattern=NAME)
    kind: str = term(one_of=lambda: tuple(POISONS))


@dataclass(frozen=True, kw_only=True, slots=True)
class Faults:
    """What goes wrong in a run.

    Attributes:
        lose: the site hears nothing of the round's training; nothing is charged there.
        late: the site trains and is charged, and its answer comes when nobody waits any more.
        poison: the site answers the protocol rightly and puts poison into the sum.
    """

    lose: tuple[At, ...] = term(default=())
    late: tuple[At, ...] = term(default=())
    poison: tuple[Poisoned, ...] = term(default=())

    @property
    def any(self) -> bool:
        """Whether anything goes wrong at all."""
        return bool(self.lose or self.late or self.poison)

    def lost(self, site: str, request: Request) -> bool:
        """Say whether a request never reaches its site."""
        return At(site=site, round_number=_trained_in(request)) in self.lose

    def too_late(self, site: str, request: Request) -> bool:
        """Say whether the answer to a request comes too late."""
        return At(site=site, round_number=_trained_in(request)) in self.late

    def handler(self, site: str, home: Path) -> SiteHandler | None:
        """Return what a poisoning site answers with; None for an honest one."""
        for one in self.poison:
            if one.site == site:
                # Late: it imports torch, and the faults of a run are read without it.
                from fedethics.simulation.poisoned_site import PoisonedSite

                return PoisonedSite(home, POISONS[one.kind])
        return None


def faults_of(
    lose: Sequence[str], late: Sequence[str], poison: Sequence[str], *, charter: Charter
) -> Faults:
    """Return what options such as `--lose north@2` and `--poison north=scale` ask for.

    Raises:
        RunError: an option that is malformed, or a site or round that the charter does not have.
    """
    found = Faults(
        lose=tuple(_at("--lose", one, charter) for one in lose),
        late=tuple(_at("--late", one, charter) for one in late),
        poison=tuple(_poisoned(one, charter) for one in poison),
    )
    twice = {one.site for one in found.poison}
    if len(twice) < len(found.poison):
        raise RunError("--poison: a site is named twice; nothing was started")
    return found


def document_of(faults: Faults) -> dict[str, Json]:
    """Return faults as a table."""
    found = terms.document(faults)
    return found if isinstance(found, dict) else {}


def keep(faults: Faults, coordinator: Path) -> None:
    """Write a run's faults beside its charter."""
    durable.write(coordinator / FAULTS, canonical.encode(document_of(faults)))


def kept(coordinator: Path) -> Faults:
    """Return a run's faults; none where none were kept.

    Raises:
        RunError: the file is damaged.
    """
    path = coordinator / FAULTS
    if not path.exists():
        return Faults()
    return terms.parse(Faults, durable.read(path), what=str(path), error=RunError)


def _scaled(vector: NDArray[np.int64], bound: int) -> NDArray[np.int64]:
    """Ten times the update, as far as the sum's bound lets it through."""
    return np.clip(_TIMES * vector, -bound, bound)


def _flipped(vector: NDArray[np.int64], _bound: int) -> NDArray[np.int64]:
    """Minus the update: the adapter is pushed away from what the site learnt."""
    return -vector


def _noise(vector: NDArray[np.int64], bound: int) -> NDArray[np.int64]:
    """Uniform noise over all that the sum's bound lets through."""
    return np.rint((2.0 * NoiseSource.from_os().uniform(vector.size) - 1.0) * bound).astype(
        np.int64
    )


# What a poisoning site does to its update; adding a kind is a line here.
POISONS: Mapping[str, Poison] = {"scale": _scaled, "flip": _flipped, "noise": _noise}


def _trained_in(request: Request) -> int:
    """Return the round that a request asks to train in; 0 for every other request."""
    if request.action is not Action.TRAIN:
        return 0
    try:
        opened = framing.decode(request.payloads["open"], kind=Kind.OPEN, max_body_bytes=0)
    except (KeyError, SecaggReject):
        return 0
    return int(opened.header["round"])


def _at(option: str, said: str, charter: Charter) -> At:
    site, at, number = said.partition("@")
    if not at or not number.isdecimal():
        raise RunError(f"{option} {said!r} is no SITE@ROUND, such as north@2; nothing was started")
    _require_site(option, site, charter)
    if not 1 <= int(number) <= charter.training.rounds:
        raise RunError(
            f"{option} {said!r}: the charter has rounds 1 to {charter.training.rounds}; nothing "
            "was started"
        )
    if site not in drawn(charter, int(number)):
        due = ", ".join(map(str, rounds_of(charter, site)))
        raise RunError(
            f"{option} {said!r}: {site} is not drawn for that round; it trains in rounds {due}. "
            "Nothing was started"
        )
    return At(site=site, round_number=int(number))


def _poisoned(said: str, charter: Charter) -> Poisoned:
    site, _, kind = said.partition("=")
    if kind not in POISONS:
        raise RunError(
            f"--poison {said!r} is no SITE=KIND; kinds: {', '.join(POISONS)}; nothing was started"
        )
    _require_site("--poison", site, charter)
    return Poisoned(site=site, kind=kind)


def _require_site(option: str, site: str, charter: Charter) -> None:
    if site not in charter.site_names:
        raise RunError(
            f"{option}: {site!r} is no site of the scenario; sites: "
            f"{', '.join(charter.site_names)}; nothing was started"
        )
