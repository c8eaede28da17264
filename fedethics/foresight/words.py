"""A forecast in words: for a README, a screen before the run, and a program."""

from __future__ import annotations

import math

from fedethics.canonical import Json
from fedethics.fairness.needed import POWER, two_digits
from fedethics.foresight.chances import TRUTHS, Chance, Outlook, Truth
from fedethics.foresight.forecast import Forecast

NAMES: dict[Truth, str] = {
    "best": "best",
    "half-way": "half-way to the bar",
    "bar": "at the bar",
    "twice": "twice the bar",
}


def sentences(found: Forecast) -> list[str]:
    """Return the short form: the gate as a whole, then what each open objective lacks."""
    passes, exact = found.best.noised.holds, found.best.exact.holds
    model = "the model that is supposed"
    if found.accuracy is not None:
        model = f"a model without gaps that is right for {found.accuracy:.0%} of each group"
    levels = [one for one in found.objectives if one.levels]
    if not levels:
        return [f"No bar is foreseen: {found.objectives[0].refused}."] if found.objectives else []
    beside = any(one.spends != "evaluation epsilon" for one in levels)
    said = [
        f"With {found.records:,} held-out records, {model} passes all "
        f"{'bars that are foreseen' if beside else 'objectives'} with a probability of about "
        f"{passes:.0%}"
        + ("." if passes >= POWER else f"; without any noise, of about {exact:.0%}.")
    ]
    able = [one.title for one in found.objectives if one.can_hold]
    if able:
        said.append(f"Can be decided: {', '.join(able)}.")
    said += [
        f"Likely undecided: {one.title}. {remedy(one)}"
        for one in found.objectives
        if one.levels and not one.can_hold
    ]
    said += [
        f"Not foreseen: {one.title}: it {one.refused}." for one in found.objectives if one.refused
    ]
    return said


def remedy(objective: Outlook) -> str:
    """Say what lets an objective hold with 80 % of a model as good as its aim; "" if it does."""
    if objective.can_hold or not objective.levels:
        return ""
    if objective.alike:
        truth = "if the groups truly do not differ"
    else:
        truth = f"if the metric truly is {_value(objective.at(objective.aim).value)}"
    if objective.hopeless:
        cure = "No epsilon would do with these records"
    elif objective.epsilon is None and len(objective.levels) == 1:
        cure = f"A larger {objective.spends} would do"
    elif objective.epsilon is None:
        cure = "With these records only next to no noise would do"
    else:
        cure = f"{objective.spends} of about {objective.epsilon:.3g} would do"
        cure = f"{'An' if cure[0] in 'ae' else 'A'} {cure}"
    if objective.records is None:
        need = "no number of records would"
    else:
        need = f"so would about {two_digits(objective.records)} records"
        need = need.removeprefix("so would ") + " would" if objective.hopeless else need
    return f"{cure}; {need} ({truth}, with {POWER:.0%})."


def needs(objective: Outlook) -> str:
    """Return what lets it hold, as a table has it: records; epsilon."""
    if objective.can_hold:
        return "as planned"
    records = "never" if objective.records is None else two_digits(objective.records)
    if objective.hopeless:
        return f"{records}; no epsilon"
    return f"{records}; {'-' if objective.epsilon is None else f'{objective.epsilon:.3g}'}"


def document(found: Forecast) -> dict[str, Json]:
    """Return the JSON form."""
    return {
        "held-out": found.records,
        "accuracy": found.accuracy,
        "supposed": list(found.supposed),
        "gate": [
            {
                "truth": level.truth,
                "with-noise": _chance(level.noised),
                "without-noise": _chance(level.exact),
                "drawn-together": level.together,
            }
            for level in found.gate
        ],
        "objectives": [_objective(one) for one in found.objectives],
        "sentences": [*sentences(found)],
    }


def _objective(one: Outlook) -> Json:
    return {
        "name": one.title,
        "bar": one.bar,
        "direction": one.direction,
        "levels": [
            {
                "truth": level.truth,
                "value": level.value,
                "with-noise": _chance(level.noised),
                "without-noise": _chance(level.exact),
            }
            for level in one.levels
        ],
        "aim": one.aim,
        "decidable": one.can_hold,
        "no-epsilon-decides": one.hopeless,
        "records": one.records,
        "epsilon": None if one.epsilon is None or math.isinf(one.epsilon) else one.epsilon,
        "not-foreseen": one.refused,
    }


def _chance(chance: Chance) -> Json:
    return {
        "holds": chance.holds,
        "fails": chance.fails,
        "cannot-conclude": chance.cannot,
        "draws": chance.draws,
    }


def cells(one: Outlook) -> tuple[str, ...]:
    """Return a table's row: the objective, one cell for each truth, what lets it hold."""
    sign = "<=" if one.direction == "at-most" else ">="
    named = f"{one.title} {sign} {one.bar:g}"
    if one.refused:
        return (named, *("" for _ in TRUTHS), "not foreseen")
    told = (
        f"at {_value(level.value)}: {shares(level.noised, level.exact)}" for level in one.levels
    )
    return (named, *told, needs(one))


def _value(value: float) -> str:
    return f"{round(value, 3) + 0.0:g}"


def shares(noised: Chance, exact: Chance) -> str:
    """Return "holds/fails/cannot (without noise holds/fails/cannot)" in per cent."""
    return f"{_percent(noised)} ({_percent(exact)})"


def _percent(chance: Chance) -> str:
    return "/".join(f"{100 * x:.0f}" for x in (chance.holds, chance.fails, chance.cannot))
