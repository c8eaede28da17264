"""Sums over 500 and more sites: `python tools/bench/secagg_ring.py --sites 500 1000`.

The coordinator is real and checks everything; three of the sites are real, with stores in memory;
the others are a crowd (`secagg_crowd`) whose answers nobody can tell from those of real sites. The
opened sum is compared with the integer sum. CPU seconds; medians over the real sites.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import secagg_plot
from secagg_crowd import Stranger
from secagg_ours import Stopwatch

from fedethics import canonical
from fedethics.identity import Identity
from fedethics.secagg import (
    CoordinatorSecagg,
    Quantiser,
    SecaggTerms,
    SiteSecagg,
    SiteStore,
    SumSpec,
    framing,
    rules,
)
from fedethics.secagg.framing import Kind
from fedethics.secagg.graph import graph_of
from fedethics.secagg.messages import receive

# A coarser grid than for 500 sites: 5000 vectors of it still fit 32-bit words.
QUANTISER = Quantiser(clip=1.0, scale=2.0**18)
MEMORY = Path("/dev/shm")
REAL_SITES = 3
EPOCH = "bench/0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One session on one graph: seconds by step, and bytes of one site."""

    sites: int
    length: int
    drops: int
    graph: str
    neighbours: int
    threshold: int
    client: dict[str, float]
    server: dict[str, float]
    client_epoch: float
    server_epoch: float
    bytes_up: int
    bytes_down: int
    bytes_epoch: int
    peak_gigabytes: float


class Epoch:
    """A federation in an epoch, most of it a crowd."""

    def __init__(self, sites: int, folder: Path, *, share: float, complete: bool) -> None:
        self.names = [f"site-{k:04d}" for k in range(sites)]
        identities = {name: Identity.generate() for name in self.names}
        key, colluders = Identity.generate(), int(share * sites)
        self.terms = SecaggTerms(
            charter_hash="cd" * 32,
            roster={name: identity.public_key for name, identity in identities.items()},
            coordinator_key=key.public_key,
            minimum_cohort=colluders + 2,
            colluders=colluders,
            complete_up_to=sites if complete else sites - 1,
            ring_dropout_rate=share,
        )
        self.real = {
            name: SiteSecagg(
                site=name,
                identity=identities[name],
                terms=self.terms,
                store=SiteStore(folder / name / "secagg.sqlite"),
            )
            for name in self.names[:: sites // REAL_SITES][:REAL_SITES]
        }
        self.crowd = {
            name: Stranger.named(name, identity=identities[name], terms=self.terms)
            for name in self.names
            if name not in self.real
        }
        self.coordinator = CoordinatorSecagg(identity=key, terms=self.terms)
        self.client, self.server = Stopwatch(), Stopwatch()
        self.bytes_down = self._join()
        ring = self.coordinator._ring()
        self.graph = graph_of(self.names, ring=ring, terms=self.terms)

    def _join(self) -> int:
        announced = {name: stranger.announce(EPOCH) for name, stranger in self.crowd.items()}
        for name, site in self.real.items():
            with self.client("announce"):
                announced[name] = site.announce(epoch=EPOCH)
        self.bundles = {
            name: receive(announced[name], kind=Kind.EPOCH, terms=self.terms) for name in self.real
        }
        with self.server("announcements"):
            for name in self.names:
                self.coordinator.add_announcement(announced[name])
            roster = self.coordinator.roster_message()
        joined = self._acknowledge(roster)
        for name, site in self.real.items():
            if name in joined:
                with self.client("complete"):
                    site.complete(joined[name])
        return len(roster) + len(joined.get(name, b""))

    def _acknowledge(self, roster: bytes) -> dict[str, bytes]:
        acknowledged = {}
        for name, site in self.real.items():
            with self.client("join"):
                acknowledged[name] = site.join(roster)
        read = framing.decode(acknowledged[name], kind=Kind.EPOCH_ACK, max_body_bytes=0)
        for name, stranger in self.crowd.items():
            acknowledged[name] = stranger.acknowledge(EPOCH, read.header["epoch_hash"])
        with self.server("acknowledgements"):
            for name in self.names:
                self.coordinator.add_acknowledgement(acknowledged[name])
            return self.coordinator.joined_messages()


class Sitting:
    """One session of an epoch; the last `drops` of the crowd fall silent before MASKED."""

    def __init__(self, epoch: Epoch, *, length: int, drops: int) -> None:
        self.epoch = epoch
        self.spec = SumSpec(
            name="update", length=length, word_bits=32, bound=QUANTISER.bound, whole_cohort=False
        )
        base = np.random.default_rng(0).normal(0, 0.05, length).astype(np.float32)
        self.vector = QUANTISER.quantise(base, random_bytes=os.urandom)
        gone = set(list(epoch.crowd)[len(epoch.crowd) - drops :])
        self.alive = [name for name in epoch.names if name not in gone]
        self.client, self.server = Stopwatch(), Stopwatch()
        self.up, self.down = 0, 0

    def play(self) -> None:
        """Play the session.

        Raises:
            AssertionError: the sum is not the integer sum.
        """
        epoch, graph, server = self.epoch, self.epoch.graph, self.server
        with server("open"):
            session = epoch.coordinator.open(
                spec=self.spec, round_number=0, model_hash="ab" * 32, cohort=epoch.names
            )
        opened = session.open_message
        sid, near = canonical.sha256_hex(opened), graph.peers
        counter = framing.decode(opened, kind=Kind.OPEN, max_body_bytes=0).header["counter"]
        self._stage(
            "share",
            dict.fromkeys(epoch.names, opened),
            session.add_share,
            lambda one, _: one.share(bytes.fromhex(sid), graph, epoch.bundles, counter),
            vector=self.vector,
            spec=self.spec,
        )
        forward = self._relay("forward", session.forward)
        digest = rules.shared_hash(sid, epoch.names)
        self._stage(
            "mask",
            {name: forward[name] for name in self.alive},
            session.add_masked,
            lambda one, text: one.mask(
                text, self.vector, self.spec, near=near(one.member.name), digest=digest
            ),
        )
        survivors = self._relay("survivors", session.survivors)
        view = self._view(sid, next(iter(survivors.values())))
        self._stage(
            "confirm", survivors, session.add_confirm, lambda one, _: one.confirm(sid, view)
        )
        proof, there = self._relay("proof", session.proof), set(self.alive)
        self._stage(
            "reveal",
            proof,
            session.add_reveal,
            lambda one, _: one.reveal(
                sid, view, near=graph.held_by(one.member.name, among=epoch.names), alive=there
            ),
        )
        self._finish(session)

    def _relay(self, step: str, relay: Any) -> dict[str, bytes]:  # noqa: ANN401  a bound method
        with self.server(step):
            told: dict[str, bytes] = relay()
        self.down += len(next(iter(told.values())))
        return told

    def _stage(
        self,
        step: str,
        told: dict[str, bytes],
        add: Any,  # noqa: ANN401
        ask: Any,  # noqa: ANN401
        **arguments: object,
    ) -> None:
        for name, text in told.items():
            if name in self.epoch.real:
                with self.client(step):
                    answer = getattr(self.epoch.real[name], step)(text, **arguments)
            else:
                answer = ask(self.epoch.crowd[name], text)
            with self.server(step):
                add(answer)
        self.up += len(answer)

    def _view(self, sid: str, survivors: bytes) -> str:
        told = framing.decode(survivors, kind=Kind.SURVIVORS, max_body_bytes=0).header
        return rules.view_hash(
            sid, shared=self.epoch.names, survivors=told["survivors"], roots=told["roots"]
        )

    def _finish(self, session: Any) -> None:  # noqa: ANN401
        with self.server("result"):
            opened = session.result()
        for site in self.epoch.real.values():
            with self.client("finish"):
                finished = site.finish(opened.message)
        self.down += len(opened.message) + len(session.open_message)
        if not np.array_equal(finished.total, self.vector * len(self.alive)):
            raise AssertionError("the sum is not exact")


def measure(sites: int, *, length: int, share: float, complete: bool) -> Measured:
    """Return the figures of one session in which `share` of the sites collude or drop."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as scratch:
        epoch = Epoch(sites, Path(scratch), share=share, complete=complete)
        sitting = Sitting(epoch, length=length, drops=sites // 20)
        sitting.play()
    return Measured(
        sites=sites,
        length=length,
        drops=sites // 20,
        graph="complete" if complete else "ring",
        neighbours=len(epoch.graph.peers(epoch.names[0])),
        threshold=epoch.graph.threshold,
        client=sitting.client.medians(),
        server=sitting.server.sums(),
        client_epoch=sum(epoch.client.medians().values()),
        server_epoch=sum(epoch.server.sums().values()),
        bytes_up=sitting.up,
        bytes_down=sitting.down,
        bytes_epoch=epoch.bytes_down,
        peak_gigabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    )


def table(found: list[dict[str, Any]]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| sites | graph | k | t | drops | length | one site | up | down | server "
        "| epoch: one site | down | server | memory |",
        "|" + "---|" * 14,
    ]
    for one in found:
        cells = [
            f"{one['sites']:,}",
            one["graph"],
            one["neighbours"],
            one["threshold"],
            one["drops"],
            f"{one['length']:,}",
            f"{sum(one['client'].values()):.3f} s",
            f"{one['bytes_up'] / 1e6:.2f} MB",
            f"{one['bytes_down'] / 1e6:.2f} MB",
            f"{sum(one['server'].values()):.2f} s",
            f"{one['client_epoch']:.2f} s",
            f"{one['bytes_epoch'] / 1e6:.2f} MB",
            f"{one['server_epoch']:.2f} s",
            f"{one['peak_gigabytes']:.1f} GB",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, keep and plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, nargs="*", default=[500])
    parser.add_argument("--length", type=int, default=100_000)
    parser.add_argument("--share", type=float, default=0.1, help="colluding, and tolerated drops")
    parser.add_argument("--complete", action="store_true", help="everyone with everyone instead")
    parser.add_argument("--json", type=Path, help="figures are added to those in this file")
    parser.add_argument("--plot", type=Path, help="SVG of all figures")
    chosen = parser.parse_args()
    kept = json.loads(chosen.json.read_text()) if chosen.json and chosen.json.exists() else []
    by_key = {(one["sites"], one["graph"], one["length"]): one for one in kept}
    for sites in chosen.sites:
        one = asdict(
            measure(sites, length=chosen.length, share=chosen.share, complete=chosen.complete)
        )
        by_key[one["sites"], one["graph"], one["length"]] = one
        print(table([one]), json.dumps([one["client"], one["server"]]))
    found = [by_key[key] for key in sorted(by_key)]
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1))
    print(table(found))
    if chosen.plot:
        secagg_plot.ring_growth(found, chosen.plot)


if __name__ == "__main__":
    main()
