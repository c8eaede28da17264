"""The chances of each verdict at declared truths, and what would make an objective decidable.

Truths of an objective with bar B and best value b: b, half-way to the bar, the bar, and twice as
far from b as the bar. Of a gap, the smallest group differs from all others; of a floor, every group
is alike. Draws use a fixed public seed, so that the same terms give the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias

import numpy as np

from fedethics.errors import FairnessError
from fedethics.fairness.explained import NOTHING_EXPLAINED, FloatArray
from fedethics.fairness.judge import Objective, Outcome, conclude
from fedethics.fairness.layout import Layout, Tables
from fedethics.fairness.measured import TwoClasses
from fedethics.fairness.metrics import Metric, find_metric
from fedethics.fairness.needed import POWER
from fedethics.fairness.together import at_once
from fedethics.foresight.draws import Drawing, TableNoise
from fedethics.foresight.models import Line, fair, families
from fedethics.foresight.population import Population

Truth: TypeAlias = Literal["best", "half-way", "bar", "twice"]
TRUTHS: Mapping[Truth, float] = {"best": 0.0, "half-way": 0.5, "bar": 1.0, "twice": 2.0}
USUAL_ACCURACY = 0.75
_SEED = 16
_MOST_TIMES = 1024
_FINE_STEPS = 3
_WITHIN = 0.01  # of a metric's range


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """How much is drawn.

    Attributes:
        draws: of each truth.
        first: where so many are all alike, the rest is not drawn.
        searched: draws of each step of a search.
        short: only the truth that is aimed at, without a search for an epsilon.
    """

    draws: int = 200
    first: int = 50
    searched: int = 100
    short: bool = False


WHOLE = Effort()
SHORT = Effort(draws=60, first=30, searched=60, short=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chance:
    """Shares of the draws that held, failed and could not conclude."""

    holds: float
    fails: float
    draws: int

    @property
    def cannot(self) -> float:
        """Of those that could not conclude."""
        return 1.0 - self.holds - self.fails


@dataclass(frozen=True, kw_only=True, slots=True)
class AtTruth:
    """What happens if the metric truly is `value`."""

    truth: Truth
    value: float
    noised: Chance
    exact: Chance


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """One objective before the run.

    Attributes:
        title: as the gate calls it.
        levels: in the order of `TRUTHS`, or the one aimed at; empty where the planner has no model
            for the metric.
        records: that let it hold with 80 % at `best` (a floor: half-way); None for none.
        epsilon: of evaluation that lets it, with the declared records; infinite where not even
            tables without noise would; None where only next to no noise would, or in short.
        refused: why nothing is foreseen; else empty.
    """

    title: str
    objective: Objective
    levels: tuple[AtTruth, ...] = ()
    records: int | None = None
    epsilon: float | None = None
    refused: str = ""

    @property
    def aim(self) -> Truth:
        """The truth at which `records` and `epsilon` are asked for."""
        return "best" if is_gap(self.objective) else "half-way"

    def at(self, truth: Truth) -> AtTruth:
        """Return one of the levels."""
        return next(level for level in self.levels if level.truth == truth)

    @property
    def can_hold(self) -> bool:
        """Whether it holds with 80 % where the model is as good as `aim`."""
        return bool(self.levels) and self.at(self.aim).noised.holds >= POWER

    @property
    def hopeless(self) -> bool:
        """Whether it does not even without noise."""
        return bool(self.levels) and self.at(self.aim).exact.holds < POWER


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """All objectives together at one truth.

    Attributes:
        noised, exact: that all hold, or that any fails; with noise, and without.
        together: whether they were drawn together; else each counts as independent of the others.
    """

    truth: Truth
    noised: Chance
    exact: Chance
    together: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What the gate will be able to conclude of its objectives.

    Attributes:
        records: held out at all sites together.
        accuracy: of the model that is supposed where a bar asks for gaps.
        gate: all objectives that are foreseen; `best` is a model without gaps that is right with
            probability `accuracy` for every group and label.
        objectives: in the charter's order.
        supposed: every default that was taken, one sentence each.
    """

    records: int
    accuracy: float
    gate: tuple[Gate, ...]
    objectives: tuple[Outlook, ...]
    supposed: tuple[str, ...]

    @property
    def best(self) -> Gate:
        """The gate for the model without gaps."""
        return self.gate[0]


def is_gap(objective: Objective) -> bool:
    """Whether it compares groups with each other, rather than each with the bar."""
    return find_metric(objective.metric).combine not in (None, "group_min", "group_max")


def forecast(
    objectives: Sequence[tuple[str, Objective]],
    population: Population,
    *,
    noise: TableNoise,
    noise_at: Callable[[float], TableNoise],
    epsilon: float,
    sites: int,
    accuracy: float | None = None,
    effort: Effort = WHOLE,
) -> Forecast:
    """Foresee the verdicts of a charter's objectives.

    Args:
        objectives: title and objective, in order.
        population: who is held out.
        noise: on the opened tables.
        noise_at: the noise that another epsilon of evaluation would have.
        epsilon: of evaluation, by the charter.
        sites: in the sum.
        accuracy: of the model that is supposed; see `Forecast`.
        effort: how much is drawn.

    Raises:
        FairnessError: an accuracy that is none, or a task whose tables the planner cannot draw.
    """
    drawing = Drawing.of(plain(population.layout), sites=sites)
    seen = _Seen(drawing=drawing, population=population, noise=noise, effort=effort)
    known = [objective for _, objective in objectives if not _unplanned(objective)]
    taken = _accuracy(seen, known) if accuracy is None else _checked(accuracy)
    found = tuple(
        _outlook(seen, title, objective, taken, number, noise_at=noise_at, epsilon=epsilon)
        for number, (title, objective) in enumerate(objectives)
    )
    noised, exact = seen.chances(known, fair(drawing.layout, taken), seed=(len(found),))
    supposed = [*population.defaults]
    if accuracy is None:
        supposed.append(f"a model that is right for {taken:.0%} of each group (--accuracy)")
    return Forecast(
        records=population.records,
        accuracy=taken,
        gate=(
            Gate(truth="best", noised=noised, exact=exact, together=True),
            *(() if effort.short else _independent([one for one in found if one.levels])),
        ),
        objectives=found,
        supposed=tuple(supposed),
    )


def _independent(objectives: Sequence[Outlook]) -> Iterator[Gate]:
    for truth in list(TRUTHS)[1:]:
        levels = [objective.at(truth) for objective in objectives]
        yield Gate(
            truth=truth,
            noised=_product([level.noised for level in levels]),
            exact=_product([level.exact for level in levels]),
            together=False,
        )


def _product(chances: Sequence[Chance]) -> Chance:
    return Chance(
        holds=math.prod(each.holds for each in chances),
        fails=1.0 - math.prod(1.0 - each.fails for each in chances),
        draws=min((each.draws for each in chances), default=0),
    )


def plain(layout: Layout) -> Layout:
    """Return the layout that is drawn.

    Raises:
        FairnessError: the task has tables that the planner cannot draw.
    """
    if not isinstance(layout.measured, TwoClasses):
        raise FairnessError(
            "verdicts are foreseen for labels of two classes only; this charter's task counts "
            "something else of a record"
        )
    return replace(layout, explained=NOTHING_EXPLAINED)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Seen:
    """Tables drawn for one population under one noise."""

    drawing: Drawing
    population: Population
    noise: TableNoise
    effort: Effort

    def value(self, objective: Objective, selected: FloatArray) -> float:
        """Return the metric of a model, as the gate's estimator has it without noise or chance."""
        tables = self.drawing.expected(self.population, selected)
        return conclude(tables, objective, minimum_cell=0).estimate.value

    def chances(
        self,
        objectives: Sequence[Objective],
        selected: FloatArray,
        *,
        seed: tuple[int, ...],
    ) -> tuple[Chance, Chance]:
        """Return the chances, with noise and without, that all hold, or that any fails."""
        told: tuple[list[Outcome], list[Outcome]] = ([], [])
        for number, pair in zip(
            range(self.effort.draws), self._drawn(selected, seed), strict=False
        ):
            if number == self.effort.first and all(len(set(side)) == 1 for side in told):
                break
            for side, tables in zip(told, pair, strict=True):
                side.append(_together(tables, objectives))
        return _shares(told[0]), _shares(told[1])

    def holds(self, objective: Objective, selected: FloatArray, *, seed: tuple[int, ...]) -> float:
        """Return the chance that it holds under noise, from fewer draws: for a search."""
        pairs = zip(range(self.effort.searched), self._drawn(selected, seed), strict=False)
        return _shares([_together(noised, [objective]) for _, (noised, _) in pairs]).holds

    def _drawn(
        self, selected: FloatArray, seed: tuple[int, ...]
    ) -> Iterator[tuple[Tables, Tables]]:
        rng = np.random.default_rng((_SEED, *seed))
        return self.drawing.draw(self.population, selected, self.noise, rng)


def _together(tables: Tables, objectives: Sequence[Objective]) -> Outcome:
    outcomes = [conclude(tables, objective).outcome for objective in objectives]
    missed = [one for one, told in zip(objectives, outcomes, strict=True) if told == "fails"]
    # Holm's first step, as the gate takes it: some objective fails allowing for all of them.
    if any(conclude(tables, at_once(one, len(objectives))).outcome == "fails" for one in missed):
        return "fails"
    return "holds" if set(outcomes) == {"holds"} else "cannot conclude"


def _shares(told: Sequence[Outcome]) -> Chance:
    count = len(told)
    return Chance(holds=told.count("holds") / count, fails=told.count("fails") / count, draws=count)


def _checked(accuracy: float) -> float:
    if not (math.isfinite(accuracy) and 0.5 < accuracy < 1.0):
        raise FairnessError(
            f"--accuracy {accuracy:g}: the share that the model gets right is above 0.5 and below 1"
        )
    return accuracy


def _unplanned(objective: Objective) -> str:
    if find_metric(objective.metric).swapped:
        return "rests on scores with a word swapped, which the planner does not draw"
    return ""


def _accuracy(seen: _Seen, objectives: Sequence[Objective]) -> float:
    """Return the usual accuracy, or more where a floor would not be met with it."""
    layout, taken = seen.drawing.layout, USUAL_ACCURACY
    for objective in objectives:
        if is_gap(objective):
            continue
        value = seen.value(objective, fair(layout, USUAL_ACCURACY))
        good = (
            value <= objective.bar if objective.direction == "at-most" else value >= objective.bar
        )
        if good:
            continue
        skill = next(families(objective, seen.population, USUAL_ACCURACY))
        line = Line.along(skill, partial(seen.value, objective))
        at_bar = line.at(objective.bar, within=_WITHIN)
        if at_bar is not None:
            taken = max(taken, (1.0 + float(at_bar.selected[0, 1])) / 2.0)
    return min(taken, 0.999)


def _outlook(
    seen: _Seen,
    title: str,
    objective: Objective,
    accuracy: float,
    number: int,
    *,
    noise_at: Callable[[float], TableNoise],
    epsilon: float,
) -> Outlook:
    refused = _unplanned(objective)
    models = None if refused else _models(seen, objective, accuracy)
    if models is None:
        why = refused or "takes values that no model of the planner has"
        return Outlook(title=title, objective=objective, refused=why)
    levels = []
    for place, (truth, (selected, value)) in enumerate(models.items()):
        noised, exact = seen.chances([objective], selected, seed=(number, place))
        levels.append(AtTruth(truth=truth, value=value, noised=noised, exact=exact))
    found = Outlook(title=title, objective=objective, levels=tuple(levels))
    selected, _ = models[found.aim]
    if found.can_hold:
        return replace(found, records=seen.population.records, epsilon=epsilon)
    least: float | None = None
    if found.hopeless:
        least = math.inf
    elif not seen.effort.short:
        least = _epsilon(seen, objective, selected, number, noise_at=noise_at, epsilon=epsilon)
    return replace(found, records=_records(seen, objective, selected, number), epsilon=least)


def _models(
    seen: _Seen, objective: Objective, accuracy: float
) -> dict[Truth, tuple[FloatArray, float]] | None:
    """Return a model for each truth, all of the first family that has them all."""
    metric = find_metric(objective.metric)
    wanted = dict(_wanted(objective, metric))
    within = _WITHIN * (metric.high - metric.low)
    if seen.effort.short:
        aim: Truth = "best" if is_gap(objective) else "half-way"
        wanted = {aim: wanted[aim]}
        selected = fair(seen.drawing.layout, accuracy)
        value = seen.value(objective, selected)
        if abs(value - wanted[aim]) <= within:
            return {aim: (selected, value)}
    for family in families(objective, seen.population, accuracy):
        line = Line.along(family, partial(seen.value, objective))
        found = {truth: line.at(target, within=within) for truth, target in wanted.items()}
        if all(model is not None for model in found.values()):
            return {
                truth: (model.selected, model.value)
                for truth, model in found.items()
                if model is not None
            }
    return None


def _wanted(objective: Objective, metric: Metric) -> Iterator[tuple[Truth, float]]:
    best = metric.low if objective.direction == "at-most" else metric.high
    for truth, factor in TRUTHS.items():
        far = best + factor * (objective.bar - best)
        yield truth, min(max(far, metric.low), metric.high)


def _records(seen: _Seen, objective: Objective, selected: FloatArray, number: int) -> int | None:
    """Return about the least records with which it holds with 80 %; None for none."""

    def enough(factor: float) -> bool:
        people = seen.population.times(factor)
        more = replace(seen, population=people)
        return more.holds(objective, selected, seed=(number, people.records)) >= POWER

    low, high = 1.0, 2.0
    while not enough(high):
        low, high = high, 2.0 * high
        if high > _MOST_TIMES:
            return None
    for _ in range(_FINE_STEPS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return seen.population.times(high).records


_EPSILONS = (1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)


def _epsilon(
    seen: _Seen,
    objective: Objective,
    selected: FloatArray,
    number: int,
    *,
    noise_at: Callable[[float], TableNoise],
    epsilon: float,
) -> float | None:
    """Return about the least epsilon with which it holds with 80 %, of some multiples."""
    low, high = 0, len(_EPSILONS)
    while low < high:
        middle = (low + high) // 2
        noise = noise_at(epsilon * _EPSILONS[middle])
        less = replace(seen, noise=noise)
        if less.holds(objective, selected, seed=(number, middle)) >= POWER:
            high = middle
        else:
            low = middle + 1
    return epsilon * _EPSILONS[low] if low < len(_EPSILONS) else None
