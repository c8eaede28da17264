"""The chances of each verdict at declared truths, and what would make a bar decidable.

Truths: see `chances`. Of a gap, the smallest group differs from all others; of a floor, every group
is alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from fedethics.errors import FairnessError
from fedethics.fairness.explained import NOTHING_EXPLAINED, FloatArray
from fedethics.fairness.judge import Objective, Outcome, conclude
from fedethics.fairness.layout import Layout, Tables
from fedethics.fairness.metrics import find_metric
from fedethics.fairness.together import at_once
from fedethics.foresight.asked import Asked, outlook_of
from fedethics.foresight.chances import (
    SEED,
    TRUTHS,
    WHOLE,
    AtTruth,
    Chance,
    Effort,
    Outlook,
    Truth,
    chances,
    counted,
    least_epsilon,
    least_records,
    wanted,
)
from fedethics.foresight.draws import Drawing, TableNoise
from fedethics.foresight.kinds import KINDS, NOT_DRAWN
from fedethics.foresight.models import Line, fair, families
from fedethics.foresight.population import Population

USUAL_ACCURACY = 0.75
_WITHIN = 0.01  # of a metric's range


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """All bars that are foreseen, together at one truth.

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
    """What the gate will be able to conclude of its bars.

    Attributes:
        records: held out at all sites together.
        accuracy: of the model that is supposed where a bar asks for gaps; None where no objective
            on group tables is foreseen.
        gate: all bars that are foreseen; `best` is a model without gaps that is right with
            probability `accuracy` for every group and label, and whose other bars are at `best`
            (a floor: half-way), independent of each other.
        objectives: in the charter's order, then bars on other sums.
        supposed: every default that was taken, one sentence each.
    """

    records: int
    accuracy: float | None
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
    others: Sequence[Asked] = (),
) -> Forecast:
    """Foresee the verdicts of a charter's bars.

    Args:
        objectives: title and objective, in order.
        population: who is held out.
        noise: on the opened tables.
        noise_at: the noise that another epsilon of evaluation would have.
        epsilon: of evaluation, by the charter.
        sites: in the sum.
        accuracy: of the model that is supposed; see `Forecast`.
        effort: how much is drawn.
        others: bars on other sums, in order.

    Raises:
        FairnessError: an accuracy that is none.
    """
    found: tuple[Outlook, ...]
    if type(population.layout.measured) in KINDS:
        drawing = Drawing.of(plain(population.layout), sites=sites)
        seen = _Seen(drawing=drawing, population=population, noise=noise, effort=effort)
        known = [objective for _, objective in objectives if not _unplanned(objective)]
        taken = _accuracy(seen, known) if accuracy is None else _checked(accuracy)
        found = tuple(
            _outlook(seen, title, objective, taken, number, noise_at=noise_at, epsilon=epsilon)
            for number, (title, objective) in enumerate(objectives)
        )
        best = [seen.chances(known, fair(drawing.layout, taken), seed=(len(found),))]
    else:
        found, best, known, taken = tuple(_undrawn(objectives)), [], [], None
    beside = tuple(outlook_of(asked, effort, number=number) for number, asked in enumerate(others))
    at_aim = [one.at(one.aim) for one in beside]
    best += [(level.noised, level.exact) for level in at_aim]
    levels = [one for one in (*found, *beside) if one.levels]
    return Forecast(
        records=population.records,
        accuracy=taken,
        gate=(
            Gate(
                truth="best",
                noised=_product([noised for noised, _ in best]),
                exact=_product([exact for _, exact in best]),
                together=not beside,
            ),
            *(() if effort.short else _independent(levels)),
        ),
        objectives=(*found, *beside),
        supposed=_supposed(population, taken, given=accuracy),
    )


def _supposed(
    population: Population, taken: float | None, *, given: float | None
) -> tuple[str, ...]:
    if taken is None:
        return ()
    said = (f"a model that is right for {taken:.0%} of each group (--accuracy)",)
    return (*population.defaults, *(said if given is None else ()))


def _undrawn(objectives: Sequence[tuple[str, Objective]]) -> Iterator[Outlook]:
    for title, objective in objectives:
        yield replace(_blank(title, objective), refused=NOT_DRAWN)


def _blank(title: str, objective: Objective) -> Outlook:
    return Outlook(
        title=title,
        bar=objective.bar,
        direction=objective.direction,
        aim=_aim(objective),
        alike=is_gap(objective),
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
    """Return the layout that is drawn: without what is explained."""
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
        return chances(
            (
                (_together(noised, objectives), _together(exact, objectives))
                for noised, exact in self._drawn(selected, seed)
            ),
            self.effort,
        )

    def holds(self, objective: Objective, selected: FloatArray, *, seed: tuple[int, ...]) -> float:
        """Return the chance that it holds under noise, from fewer draws: for a search."""
        pairs = zip(range(self.effort.searched), self._drawn(selected, seed), strict=False)
        return counted([_together(noised, [objective]) for _, (noised, _) in pairs]).holds

    def _drawn(
        self, selected: FloatArray, seed: tuple[int, ...]
    ) -> Iterator[tuple[Tables, Tables]]:
        rng = np.random.default_rng((SEED, *seed))
        return self.drawing.draw(self.population, selected, self.noise, rng)


def _together(tables: Tables, objectives: Sequence[Objective]) -> Outcome:
    outcomes = [conclude(tables, objective).outcome for objective in objectives]
    missed = [one for one, told in zip(objectives, outcomes, strict=True) if told == "fails"]
    # Holm's first step, as the gate takes it: some objective fails allowing for all of them.
    if any(conclude(tables, at_once(one, len(objectives))).outcome == "fails" for one in missed):
        return "fails"
    return "holds" if set(outcomes) == {"holds"} else "cannot conclude"


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
            taken = max(taken, (1.0 + float(at_bar.selected[0, -1])) / 2.0)
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
    blank = _blank(title, objective)
    refused = _unplanned(objective)
    models = None if refused else _models(seen, objective, accuracy)
    if models is None:
        why = refused or "takes values that no model of the planner has"
        return replace(blank, refused=why)
    levels = []
    for place, (truth, (selected, value)) in enumerate(models.items()):
        noised, exact = seen.chances([objective], selected, seed=(number, place))
        levels.append(AtTruth(truth=truth, value=value, noised=noised, exact=exact))
    found = replace(blank, levels=tuple(levels))
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
    truths = dict(wanted(_best(objective), objective.bar, metric.low, metric.high))
    within = _WITHIN * (metric.high - metric.low)
    if seen.effort.short:
        aim = _aim(objective)
        truths = {aim: truths[aim]}
        selected = fair(seen.drawing.layout, accuracy)
        value = seen.value(objective, selected)
        if abs(value - truths[aim]) <= within:
            return {aim: (selected, value)}
    for family in families(objective, seen.population, accuracy):
        line = Line.along(family, partial(seen.value, objective))
        found = {truth: line.at(target, within=within) for truth, target in truths.items()}
        if all(model is not None for model in found.values()):
            return {
                truth: (model.selected, model.value)
                for truth, model in found.items()
                if model is not None
            }
    return None


def _best(objective: Objective) -> float:
    metric = find_metric(objective.metric)
    return metric.low if objective.direction == "at-most" else metric.high


def _aim(objective: Objective) -> Truth:
    return "best" if is_gap(objective) else "half-way"


def _records(seen: _Seen, objective: Objective, selected: FloatArray, number: int) -> int | None:
    """Return about the least records with which it holds with 80 %; None for none."""

    def chance(factor: float) -> float:
        people = seen.population.times(factor)
        more = replace(seen, population=people)
        return more.holds(objective, selected, seed=(number, people.records))

    times = least_records(chance)
    return None if times is None else seen.population.times(times).records


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

    def chance(factor: float) -> float:
        less = replace(seen, noise=noise_at(epsilon * factor))
        return less.holds(objective, selected, seed=(number, round(1000 * factor)))

    times = least_epsilon(chance)
    return None if times is None else epsilon * times
