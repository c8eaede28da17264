"""A small federation in one process, for tests: real sites, a real coordinator, real stores."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedethics.identity import Identity
from fedethics.secagg import (
    CoordinatorRound,
    CoordinatorSecagg,
    Opened,
    Result,
    SecaggTerms,
    SiteSecagg,
    SiteStore,
    SumSpec,
)

MODEL = "ab" * 32


def fixed_identity(name: str) -> Identity:
    return Identity(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


class FixedBytes:
    """A random source that gives the same bytes in each run; for golden transcripts only."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0

    def __call__(self, size: int) -> bytes:
        self.calls += 1
        return hashlib.shake_256(f"{self.name}|{self.calls}".encode()).digest(size)


class Federation:
    def __init__(
        self,
        folder: Path,
        sites: int = 4,
        *,
        minimum_cohort: int = 3,
        colluders: int = 1,
        mode: str = "strict",
        suite: int = 1,
        **terms: object,
    ) -> None:
        self.names = [f"site-{k:02d}" for k in range(sites)]
        self.identities = {name: fixed_identity(name) for name in self.names}
        self.key = fixed_identity("coordinator")
        self.terms = SecaggTerms(
            charter_hash="cd" * 32,
            roster={name: key.public_key for name, key in self.identities.items()},
            coordinator_key=self.key.public_key,
            minimum_cohort=minimum_cohort,
            colluders=colluders,
            mode=mode,
            suite=suite,
            **terms,
        )
        self.folder = folder
        self.now_s = 1_700_000_000.0
        self.random = {name: FixedBytes(name) for name in [*self.names, "coordinator"]}
        self.stores = {name: SiteStore(folder / name / "secagg.sqlite") for name in self.names}
        self.sites = {name: self.restarted(name) for name in self.names}
        self.coordinator = self.new_coordinator()

    def restarted(self, name: str) -> SiteSecagg:
        """The site as a new process would see it: nothing but its key and its disk."""
        return SiteSecagg(
            site=name,
            identity=self.identities[name],
            terms=self.terms,
            store=SiteStore(self.folder / name / "secagg.sqlite"),
            random_bytes=self.random[name],
            now_s=lambda: self.now_s,
        )

    def new_coordinator(self) -> CoordinatorSecagg:
        return CoordinatorSecagg(
            identity=self.key,
            terms=self.terms,
            random_bytes=self.random["coordinator"],
            now_s=lambda: self.now_s,
        )

    def join(self, epoch: str = "run/0", names: Collection[str] | None = None) -> None:
        names = self.names if names is None else names
        for name in names:
            self.coordinator.add_announcement(self.sites[name].announce(epoch=epoch))
        roster = self.coordinator.roster_message()
        for name in names:
            self.coordinator.add_acknowledgement(self.sites[name].join(roster))
        for name, joined in self.coordinator.joined_messages().items():
            self.sites[name].complete(joined)

    def open(
        self, spec: SumSpec, round_number: int = 0, cohort: Collection[str] | None = None
    ) -> CoordinatorRound:
        return self.coordinator.open(
            spec=spec,
            round_number=round_number,
            model_hash=MODEL,
            cohort=self.names if cohort is None else sorted(cohort),
        )


def spec_of(
    length: int = 5, *, bits: int = 32, bound: int = 1000, whole: bool = False, name: str = "update"
) -> SumSpec:
    return SumSpec(name=name, length=length, word_bits=bits, bound=bound, whole_cohort=whole)


def random_vectors(names: Collection[str], spec: SumSpec, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        name: generator.integers(-spec.bound, spec.bound + 1, spec.length, dtype=np.int64)
        for name in names
    }


def run_round(
    federation: Federation,
    session: CoordinatorRound,
    vectors: Mapping[str, np.ndarray],
    spec: SumSpec,
    *,
    drops: Mapping[str, Collection[str]] | None = None,
) -> tuple[Opened, dict[str, Result]]:
    """Play one session honestly, with the sites in `drops[stage]` silent from that stage on."""
    drops = drops or {}
    sites = federation.sites
    alive = [name for name in vectors if name not in drops.get("share", ())]
    for name in alive:
        session.add_share(sites[name].share(session.open_message, vectors[name], spec=spec))
    alive = [name for name in alive if name not in drops.get("masked", ())]
    forward = session.forward()
    for name in alive:
        session.add_masked(sites[name].mask(forward[name]))
    alive = [name for name in alive if name not in drops.get("confirm", ())]
    last = session.survivors()
    if federation.terms.mode == "strict":
        for name in alive:
            session.add_confirm(sites[name].confirm(last[name]))
        last = session.proof()
    alive = [name for name in alive if name not in drops.get("reveal", ())]
    for name in alive:
        session.add_reveal(sites[name].reveal(last[name]))
    opened = session.result()
    return opened, {name: sites[name].finish(opened.message) for name in alive}
