"""Growth of CPU time with the number of sites, as an SVG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from secagg import Comparison

COLOURS = {"Flower SecAgg+": "tab:orange", "fedethics": "tab:blue"}


def growth(found: list[Comparison], path: Path) -> None:
    """Draw seconds of client and server over sites, for the longest vector at 5 % dropouts."""
    length = max(one.cell.length for one in found)
    chosen = [one for one in found if (one.cell.length, one.cell.percent) == (length, 5)]
    chosen.sort(key=lambda one: one.cell.sites)
    mpl.rcParams["svg.hashsalt"] = "fedethics"
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, who in zip(axes, ("client", "server"), strict=True):
        for name, side in (("Flower SecAgg+", "flower"), ("fedethics", "ours")):
            points = [
                (one.cell.sites, sum(getattr(figures, who).values()))
                for one in chosen
                if (figures := getattr(one, side)) is not None
            ]
            axis.loglog(*zip(*points, strict=True), "o-", label=name, color=COLOURS[name])
        axis.set_title(f"one {who}" if who == "client" else who)
        axis.set_xlabel("sites")
        axis.set_ylabel("CPU seconds for one sum")
        axis.set_xticks(sites := [one.cell.sites for one in chosen], map(str, sites))
        axis.minorticks_off()
        axis.grid(visible=True, alpha=0.3)
    axes[0].legend()
    figure.suptitle(f"Secure sum of {length:,} values, 5 % of the sites drop out")
    figure.savefig(path, metadata={"Date": None})


def ring_growth(found: list[dict[str, Any]], path: Path) -> None:
    """Draw seconds of one site and of the server over sites, ring and complete graph."""
    mpl.rcParams["svg.hashsalt"] = "fedethics"
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    shown = sorted({one["sites"] for one in found})
    for axis, who in zip(axes, ("client", "server"), strict=True):
        for graph, colour in (("complete", "tab:gray"), ("ring", "tab:blue")):
            points = [
                (one["sites"], sum(one[who].values())) for one in found if one["graph"] == graph
            ]
            if points:
                axis.loglog(*zip(*sorted(points), strict=True), "o-", label=graph, color=colour)
        axis.set_title("one site" if who == "client" else who)
        axis.set_xlabel("sites")
        axis.set_ylabel("CPU seconds for one sum")
        axis.set_xticks(shown, map(str, shown))
        axis.minorticks_off()
        axis.grid(visible=True, alpha=0.3)
    axes[0].legend()
    figure.suptitle(f"Secure sum of {found[0]['length']:,} values, 5 % of the sites drop out")
    figure.savefig(path, metadata={"Date": None})
