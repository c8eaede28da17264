"""Before anything is spent: what a window costs, how many a cap buys, how small a drift they show.

The figures are those of a window in which nothing changed, with the noise of the charter's plan and
scores spread evenly: real scores and groups widen or narrow them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fedethics.aggregates.monitoring import (
    MONITORING,
    WindowLayout,
    appearances,
    terms_of,
    window_event,
)
from fedethics.canonical import Json
from fedethics.charter.model import Charter
from fedethics.fairness import drift
from fedethics.fairness.drift import Scored
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.plan import make_plan

_MOST = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """What a window can say of one figure with a bar.

    Attributes:
        shows: the smallest true value that is called a drift as often as not.
        can_hold: whether a window without any change can be shown to be within the bar.
    """

    name: str
    bar: float
    shows: float
    can_hold: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowPlan:
    """What monitoring costs, and what it can show.

    Attributes:
        one, all_windows: epsilon of a unit that is in one window, and in as many as it may be.
        std: of the noise on each count of a window's sum.
        records: of one window, all sites together.
        linked: windows that one account can pay, if it is charged for each: a person who is in
            each, or a site whose policy links files; None without a cap.
        first, last: what the first and the last window can show.
    """

    unit: str
    delta: float
    windows: int
    one: float
    all_windows: float
    std: float
    records: int
    cap: float | None
    linked: int | None
    first: tuple[Reach, ...]
    last: tuple[Reach, ...]


def plan(
    charter: Charter,
    *,
    records: int | None = None,
    held_out: int | None = None,
    cap: float | None = None,
) -> WindowPlan:
    """Return the plan of a charter that watches.

    Args:
        charter: with `[monitoring]`.
        records: of one window, all sites together; None for half of what the sites declared.
        held_out: records that the release was judged on; None for what follows from the same.
        cap: epsilon that one account may spend; None for no count of windows.

    Raises:
        AccountingError: no noise fits the charter's epsilon.
    """
    agreed, event = terms_of(charter), window_event(charter)
    noise = MONITORING.of(make_plan(charter).sums).noise
    declared = sum(member.declared_records for member in charter.roster)
    size = records or declared // 2
    share = charter.data.holdout_fraction / (1 - charter.data.holdout_fraction)
    known = held_out or round(declared * share)
    delta, times = charter.privacy.delta, appearances(charter)
    return WindowPlan(
        unit=charter.privacy.unit,
        delta=delta,
        windows=agreed.windows,
        one=epsilon((event,), delta=delta),
        all_windows=epsilon((event,) * times, delta=delta),
        std=noise.sum_std,
        records=size,
        cap=cap,
        linked=None if cap is None else _bought(charter, cap),
        first=_reach(charter, 1, size, known),
        last=_reach(charter, agreed.windows, size, known),
    )


def _bought(charter: Charter, cap: float) -> int:
    """Return how many windows one account can pay within a cap; at most 1,000 are tried."""
    event, delta = window_event(charter), charter.privacy.delta

    def fits(windows: int) -> bool:
        return epsilon((event,) * windows, delta=delta) <= cap

    low, high = 0, 1
    while high <= _MOST and fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return min(low, _MOST)


def _reach(charter: Charter, window: int, records: float, held_out: float) -> tuple[Reach, ...]:
    agreed, bins = terms_of(charter), len(WindowLayout.of(charter).edges) - 1
    bars = agreed.bars
    named = {
        "score-psi": (bars.score_psi, drift.score_psi),
        "score-ks": (bars.score_ks, drift.score_ks),
        "calibration": (bars.calibration, drift.calibration),
        "label-rate": (bars.label_rate, drift.label_rate),
    }
    asked = sum(bar is not None for bar, _ in named.values()) + len(agreed.missing)
    if bars.objectives:
        asked += len(charter.ethics.objectives)
    confidence = 1.0 - drift.spent_at(window, agreed.false_alarm) / max(asked, 1)
    variance = MONITORING.of(make_plan(charter).sums).noise.sum_variance
    then = Scored(counts=np.full((2, bins), held_out / (2 * bins)), variance=variance)
    now = Scored(counts=np.full((2, bins), records / (2 * bins)), variance=variance)
    # Labels come from tables of counts, with few entries each.
    totals = [
        Scored(counts=each.counts.sum(axis=1, keepdims=True), variance=4 * variance)
        for each in (then, now)
    ]
    found = []
    for name, (bar, measure) in named.items():
        if bar is None or not records or not held_out:
            continue
        first, second = totals if name == "label-rate" else (then, now)
        high = measure(first, second, confidence=confidence).high
        root = name == "score-psi"  # its interval is one of its root
        shows = (math.sqrt(bar) + math.sqrt(high)) ** 2 if root else bar + high
        found.append(Reach(name=name, bar=bar, shows=shows, can_hold=high <= bar))
    return tuple(found)


def sentences(found: WindowPlan) -> list[str]:
    """Return the plan in words."""
    unit = found.unit
    said = [
        f"One window costs a {unit} that is in it epsilon {found.one:.3g}; all {found.windows} "
        f"windows cost one {unit} at most {found.all_windows:.3g} (delta {found.delta:g}, "
        "add-or-remove-one).",
        f"The noise on each count of a window's sum has std {found.std:.1f}.",
    ]
    if found.linked is not None and found.cap is not None:
        more = " or more" if found.linked >= _MOST else ""
        said.append(
            f"A cap of {found.cap:g} on an account pays for {found.linked}{more} windows, if every "
            "window is charged to it: where a policy links files, or a person is in each, and "
            "nothing else was spent."
        )
    if not found.first:
        said.append(
            "What drift a window can show needs records of a window and of the release: give "
            "--records and --held-out, or a charter with its roster."
        )
    for which, reach in (("first", found.first), ("last", found.last)):
        for one in reach:
            hold = (
                "a window without change can be shown to hold"
                if one.can_hold
                else "a window without change cannot conclude"
            )
            shown = f"{one.shows:.3g}" if math.isfinite(one.shows) else "none"
            said.append(
                f"{which} window, {found.records} records: {one.name} (bar {one.bar:g}) is called "
                f"drifted from about {shown}; {hold}."
            )
    return said


def document(found: WindowPlan) -> dict[str, Json]:
    """Return the plan as one JSON document."""

    def rows(reach: tuple[Reach, ...]) -> list[Json]:
        return [
            {
                "figure": one.name,
                "bar": one.bar,
                "shows": one.shows if math.isfinite(one.shows) else None,
                "can-hold": one.can_hold,
            }
            for one in reach
        ]

    return {
        "unit": found.unit,
        "delta": found.delta,
        "windows": found.windows,
        "epsilon-of-one-window": found.one,
        "epsilon-of-all-windows": found.all_windows,
        "noise-std": found.std,
        "records": found.records,
        "cap": found.cap,
        "windows-that-fit": found.linked,
        "first-window": rows(found.first),
        "last-window": rows(found.last),
    }
