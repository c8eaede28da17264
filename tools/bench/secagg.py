"""Secure aggregation beside the SecAgg+ of flwr 1.41: `python tools/bench/secagg.py --quick`.

Both sides run in one process on one thread, on the same float32 vectors and with the same
thresholds, from floats to opened sum. Times are CPU seconds, so that they mean the same on a busy
machine; what carries over to other machines are the ratios. Ours are medians over all sites and
sessions of real sites with real stores; Flower's are of one real client and its real workflow.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import numpy as np
import secagg_flower
import secagg_ours
import secagg_plot
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray
from secagg_ours import Figures

from fedethics.secagg.masking import apply_masks

MEMORY = Path("/dev/shm")
SLOW_SITES = 100
_MILLION = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One point of comparison; `percent` of the sites fall silent before their masked vector."""

    sites: int
    length: int
    percent: int

    @property
    def drops(self) -> int:
        return max(1, self.sites * self.percent // 100) if self.percent else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Medians of one cell; Flower's side is None where it was not run."""

    cell: Cell
    ours: Figures
    flower: Figures | None


QUICK = (
    Cell(sites=10, length=100_000, percent=5),
    Cell(sites=10, length=_MILLION, percent=5),
    Cell(sites=10, length=_MILLION, percent=30),
    Cell(sites=50, length=_MILLION, percent=5),
)
ALL = tuple(
    Cell(sites=sites, length=length, percent=percent)
    for sites in (10, 50, 100)
    for length in (100_000, _MILLION)
    for percent in (0, 5, 30)
)


def main() -> None:
    """Measure the chosen cells; print tables of them and of those kept, and plot if asked."""
    chosen = _arguments()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as memory:
        found = _kept(chosen.json) | {one.cell: one for one in _compare_all(chosen, Path(memory))}
        if chosen.json:
            chosen.json.write_text(json.dumps([asdict(one) for one in found.values()], indent=1))
        in_order = sorted(found.values(), key=lambda one: astuple(one.cell))
        print(_table(in_order))
        print(_steps(in_order))
        print(_throughput())
        print(_durability(Path(memory), chosen.disk))
    if chosen.plot:
        secagg_plot.growth(in_order, chosen.plot)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="four cells, half a minute")
    parser.add_argument("--full", action="store_true", help="Flower at 100 sites too, 10 minutes")
    parser.add_argument(
        "--cell", action="append", help="SITES:LENGTH:PERCENT instead; may be repeated"
    )
    parser.add_argument("--repeats", type=int, default=3, help="sessions of ours for a cell")
    parser.add_argument("--flower-repeats", type=int, default=1)
    parser.add_argument("--disk", type=Path, help="folder on a disk, for the cost of fsync")
    parser.add_argument("--json", type=Path, help="figures are added to those in this file")
    parser.add_argument("--plot", type=Path, help="SVG of the growth with the number of sites")
    return parser.parse_args()


def _kept(path: Path | None) -> dict[Cell, Comparison]:
    if path is None or not path.exists():
        return {}
    kept = {}
    for one in json.loads(path.read_text()):
        cell = Cell(**one["cell"])
        flower = one["flower"] and Figures(**one["flower"])
        kept[cell] = Comparison(cell=cell, ours=Figures(**one["ours"]), flower=flower)
    return kept


def _compare_all(chosen: argparse.Namespace, memory: Path) -> Iterator[Comparison]:
    cells = QUICK if chosen.quick else ALL
    if chosen.cell:
        numbers = [tuple(map(int, spelled.split(":"))) for spelled in chosen.cell]
        cells = tuple(Cell(sites=n, length=length, percent=p) for n, length, p in numbers)
    for cell in cells:
        vectors = _vectors(cell)
        ours = secagg_ours.measure(
            sites=cell.sites,
            drops=cell.drops,
            vectors=vectors,
            repeats=chosen.repeats,
            folder=memory,
        )
        flower = None
        if cell.sites < SLOW_SITES or chosen.full:
            flower = _median(
                secagg_flower.measure(
                    sites=cell.sites,
                    drops=cell.drops,
                    threshold=secagg_ours.threshold(cell.sites),
                    vector=next(iter(vectors.values())),
                    repeats=chosen.flower_repeats,
                )
            )
        yield Comparison(cell=cell, ours=_median(ours), flower=flower)


def _vectors(cell: Cell) -> dict[str, NDArray[np.float32]]:
    base = np.random.default_rng(0).normal(0, 0.05, cell.length).astype(np.float32)
    return {name: np.roll(base, k) for k, name in enumerate(secagg_ours.names(cell.sites))}


def _median(found: list[Figures]) -> Figures:
    def middle(steps: list[Mapping[str, float]]) -> dict[str, float]:
        return {name: statistics.median(step[name] for step in steps) for name in steps[0]}

    return Figures(
        client=middle([one.client for one in found]),
        server=middle([one.server for one in found]),
        bytes_up=found[0].bytes_up,
        setup=found[0].setup,
    )


def _table(found: list[Comparison]) -> str:
    lines = [
        "| sites | length | drops | client: Flower | ours | ratio | server: Flower | ours | ratio "
        "| up: Flower | ours | ratio |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        cell, ours, flower = one.cell, one.ours, one.flower
        row = [f"{cell.sites}", f"{cell.length:,}", f"{cell.drops}"]
        for theirs, mine, unit in (
            (flower and sum(flower.client.values()), sum(ours.client.values()), "s"),
            (flower and sum(flower.server.values()), sum(ours.server.values()), "s"),
            (flower and flower.bytes_up / 1e6, ours.bytes_up / 1e6, "MB"),
        ):
            row += [f"{theirs:.3f} {unit}" if theirs else "-", f"{mine:.4f} {unit}"]
            row.append(f"{theirs / mine:.1f}" if theirs else "-")
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def _steps(found: list[Comparison]) -> str:
    lines = ["Ours by step, CPU ms; `setup` is paid once an epoch and not in the sums above.", ""]
    for one in found:
        parts = {"client": one.ours.client | {"(setup)": one.ours.setup}, "server": one.ours.server}
        for who, steps in parts.items():
            spelled = ", ".join(f"{step} {1e3 * taken:.1f}" for step, taken in steps.items())
            cell = f"{one.cell.sites} sites, {one.cell.length:,}, {one.cell.drops} drops"
            lines.append(f"- {cell}, {who}: {spelled}")
    return "\n".join(lines) + "\n"


def _throughput() -> str:
    masks, words = 50, np.zeros(_MILLION, dtype="<u4")
    keys = [os.urandom(32) for _ in range(masks)]
    plain = bytes(words.nbytes)
    buffer = bytearray(words.nbytes + 15)

    def raw() -> None:
        for key in keys:
            Cipher(AES256(key), CTR(bytes(16))).encryptor().update_into(plain, buffer)

    seconds = {"raw": _taken(raw), "ours": _taken(lambda: apply_masks(words, add=keys))}
    speed = {name: masks * words.nbytes / taken / 1e9 for name, taken in seconds.items()}
    return (
        f"Masks: AES-256-CTR alone {speed['raw']:.2f} GB/s, expanded and added "
        f"{speed['ours']:.2f} GB/s, ratio {speed['ours'] / speed['raw']:.2f}\n"
    )


def _taken(work: Callable[[], None], repeats: int = 7) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def _durability(memory: Path, disk: Path | None) -> str:
    """Say what it costs a site that each step is on the disk before its message leaves."""
    cell = Cell(sites=5, length=_MILLION, percent=0)
    lines = [
        "| stores | clock | share | mask | confirm | reveal | finish |",
        "|---|---|---|---|---|---|---|",
    ]
    for place, folder in (("memory", memory), ("on disk", disk)):
        for clock in (time.process_time, time.perf_counter):
            figures = _median(
                secagg_ours.measure(
                    sites=cell.sites,
                    drops=0,
                    vectors=_vectors(cell),
                    repeats=5,
                    folder=folder,
                    clock=clock,
                )
            )
            steps = [f"{1e3 * figures.client[step]:.1f}" for step in list(figures.client)[1:]]
            name = "CPU ms" if clock is time.process_time else "wall ms"
            lines.append(f"| {place} | {name} | {' | '.join(steps)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
