"""What objectives on one of several classes need: a class that is declared, had, and carried."""

from __future__ import annotations

import math
from collections.abc import Iterator

from fedethics.charter.data_terms import DataTerms
from fedethics.charter.ethics_terms import Objective

_FEWEST_COMPARED = 2


def impossible_problems(data: DataTerms) -> Iterator[str]:
    """Yield entries of `data.label.impossible` that name no group and class, or leave too few."""
    known = {
        f"{feature.name}={group}: {name}"
        for feature in data.sensitive
        for group in feature.groups
        for name in data.labels.names
    }
    for entry in data.labels.impossible or ():
        if entry not in known:
            yield (
                f"data.label.impossible: {entry!r} names no declared group and class; write "
                "'feature=group: class'"
            )
    for feature in data.sensitive:
        gone = {name for of, name in data.labels.incomparable if of == feature.name}
        if gone and len(data.labels.names) - len(gone) < _FEWEST_COMPARED:
            yield (
                f"data.label.impossible: fewer than two classes are left that every group of "
                f"{feature.name!r} can have"
            )


def class_problems(objective: Objective, data: DataTerms) -> Iterator[str]:
    """Yield why the class that an objective names cannot be judged."""
    _, bracket, rest = objective.metric.partition("[")
    if not bracket:
        return
    name, features = rest.removesuffix("]"), objective.feature.split("*")
    if name not in data.labels.names:
        yield (
            f"{name!r} is no class of data.label, whose classes are "
            f"{', '.join(data.labels.names[:20])}"
        )
    for entry in data.labels.impossible or ():
        if entry.partition("=")[0] in features and entry.endswith(f": {name}"):
            yield (
                f"{objective.metric} compares groups of which one cannot have the class "
                f"({entry!r} in data.label.impossible); name a class that all can have, or none"
            )


def too_many_classes(objective: Objective, data: DataTerms, *, held_out: int) -> str:
    """Return why an objective on every class cannot be judged, or "".

    Args:
        objective: the charter's.
        data: of the same charter.
        held_out: about how many records the roster's sites hold out.
    """
    if "[" in objective.metric or not _over_every_class(objective):
        return ""
    sizes = {feature.name: len(feature.groups) for feature in data.sensitive}
    groups = math.prod(sizes.get(name, 1) for name in objective.feature.split("*"))
    cells = len(data.labels.names) * groups
    if held_out >= cells:
        return ""
    return (
        f"{objective.metric} rests on each of {len(data.labels.names)} classes in each of {groups} "
        f"groups, and the sites hold out about {held_out} records: fewer than one for each. Judge "
        "accuracy_score, or name one class, or fewer classes"
    )


def _over_every_class(objective: Objective) -> bool:
    from fedethics.fairness.metrics import PER_CLASS, find_metric  # officers start without it

    metric = find_metric(objective.metric)
    means = ("balanced_accuracy_score", "precision_macro", "f1_macro")
    bases = metric.bases or (metric.name,)
    return any(base in PER_CLASS or base in means for base in bases)
