"""Who will be held out, as far as it can be declared: how many, of which groups, with which labels.

Whatever is not declared has a default, and the default is named in the answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from fedethics.errors import FairnessError
from fedethics.fairness.explained import FloatArray
from fedethics.fairness.layout import Layout, SensitiveFeature

_BASE_RATE = 0.5
# Rates by two features speak of the same people; they may be rounded.
_ROUNDED = 0.02
_RAKED = 100


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Population:
    """The held-out records of all sites, as declared.

    Attributes:
        layout: of the charter's tables.
        records: how many.
        shares: of the records, by cell and label, shape (cells, labels); they add up to 1.
        defaults: what nobody declared and was supposed instead, one sentence each.
    """

    layout: Layout
    records: int
    shares: FloatArray
    defaults: tuple[str, ...]

    def times(self, factor: float) -> Population:
        """Return as many times the records, of the same mix."""
        return replace(self, records=max(1, round(self.records * factor)))


def population(
    layout: Layout,
    *,
    records: int,
    groups: Mapping[str, tuple[int, ...]],
    base_rate: float | None = None,
    base_rates: Mapping[str, tuple[float, ...]] | None = None,
) -> Population:
    """Return the population that was declared, features independent of each other.

    Args:
        layout: of the charter's tables.
        records: held-out records of all sites together.
        groups: by feature, the records of each group in declared order; equal where not given.
        base_rate: share of positive labels over everyone; follows from `base_rates` where given.
        base_rates: by feature, the share of positive labels in each group.

    Raises:
        FairnessError: no records, an unknown feature, not one number for each group, sizes that do
            not add up, a share that is none, or shares that contradict each other.
    """
    if records < 1:
        raise FairnessError(f"--held-out {records}: at least one record is held out")
    rates = base_rates or {}
    sizes = {f.name: _sizes(f, groups, records) for f in _named(layout, (*groups, *rates))}
    everyone = _everyone(layout, sizes, base_rate, rates)
    shares = np.ones((*layout.shape, 2))
    targets = [
        (axis, np.stack([size * (1.0 - positive), size * positive], axis=1))
        for axis, feature in enumerate(layout.features)
        for size in [sizes[feature.name]]
        for positive in [np.array(rates.get(feature.name, (everyone,) * len(size)), dtype=float)]
    ]
    # Features without rates of their own take what the others give them: only their sizes count.
    for _ in range(_RAKED):
        for axis, target in targets:
            others = tuple(a for a in range(len(layout.shape)) if a != axis)
            if layout.features[axis].name in rates:
                shares *= _towards(target, shares.sum(axis=others), axis, shares.ndim, both=True)
            else:
                size = shares.sum(axis=(*others, shares.ndim - 1))
                shares *= _towards(target.sum(axis=1), size, axis, shares.ndim, both=False)
        positive = shares[..., 1].sum() / shares.sum()
        shares *= np.array([(1.0 - everyone) / (1.0 - positive), everyone / positive])
    return Population(
        layout=layout,
        records=records,
        shares=(shares / shares.sum()).reshape(-1, 2),
        defaults=tuple(_defaults(layout, groups, base_rate, rates)),
    )


def population_of_classes(
    layout: Layout,
    *,
    records: int,
    groups: Mapping[str, tuple[int, ...]],
    names: tuple[str, ...],
    classes: tuple[int, ...] = (),
) -> Population:
    """Return the population of several classes, the same mix of them in every group.

    Args:
        layout: of the charter's tables.
        records: held-out records of all sites together.
        groups: by feature, the records of each group in declared order; equal where not given.
        names: of the classes.
        classes: records of each class in that order; empty for as many of each.

    Raises:
        FairnessError: as `population`.
    """
    if records < 1:
        raise FairnessError(f"--held-out {records}: at least one record is held out")
    if classes and (len(classes) != len(names) or sum(classes) != records or min(classes) < 0):
        raise FairnessError(
            f"--classes: {len(classes)} numbers that add up to {sum(classes)}; give one for each "
            f"of {', '.join(names)}, which add up to the {records} of --held-out"
        )
    mix = np.array(classes, dtype=float) if classes else np.ones(len(names))
    shares = np.maximum(mix / mix.sum(), 1e-9)
    cells = np.ones(())
    for feature in _named(layout, tuple(groups)):
        cells = np.multiply.outer(cells, _sizes(feature, groups, records))
    whole = np.multiply.outer(cells.reshape(-1), shares)
    equal = [feature.name for feature in layout.features if feature.name not in groups]
    said = [f"groups of {name} of equal size (--groups {name}=N,N)" for name in equal]
    said.append(
        "the same mix of classes in every group"
        if classes
        else "as many records of each class in every group (--classes N,N)"
    )
    said.append("wrong answers that fall on every other class as often")
    return Population(
        layout=layout, records=records, shares=whole / whole.sum(), defaults=tuple(said)
    )


def _named(layout: Layout, names: tuple[str, ...]) -> tuple[SensitiveFeature, ...]:
    for name in names:
        layout.feature(name)
    return layout.features


def _sizes(
    feature: SensitiveFeature, groups: Mapping[str, tuple[int, ...]], records: int
) -> FloatArray:
    count = len(feature.groups)
    if feature.name not in groups:
        return np.full(count, 1.0 / count)
    given = groups[feature.name]
    _one_each(feature, "--groups", given)
    if min(given) < 0 or sum(given) != records:
        listed = ", ".join(map(str, given))
        raise FairnessError(
            f"--groups {feature.name}={listed} are {sum(given)} records, --held-out says "
            f"{records}: every held-out record is in one group"
        )
    # A group of nobody keeps a trace, so that nothing is divided by 0.
    return np.maximum(np.array(given, dtype=float) / records, 1e-9)


def _one_each(feature: SensitiveFeature, option: str, given: tuple[float, ...]) -> None:
    if len(given) != len(feature.groups):
        raise FairnessError(
            f"{option} {feature.name}: {len(given)} numbers for {len(feature.groups)} groups; give "
            f"one for each, in this order: {', '.join(feature.groups)}"
        )


def _everyone(
    layout: Layout,
    sizes: Mapping[str, FloatArray],
    base_rate: float | None,
    rates: Mapping[str, tuple[float, ...]],
) -> float:
    """Return the share of positive labels over everyone, which all that is declared agrees on."""
    said = {} if base_rate is None else {"everyone": base_rate}
    for name, given in rates.items():
        _one_each(layout.feature(name), "--base-rate", given)
        for rate in given:
            _share(name, rate)
        said[name] = float(sizes[name] @ np.array(given))
    for name, rate in said.items():
        _share(name, rate)
    if said and max(said.values()) - min(said.values()) > _ROUNDED:
        listed = ", ".join(f"{rate:.3f} by {name}" for name, rate in said.items())
        raise FairnessError(
            f"--base-rate: over everyone the positive labels are {listed}; they are the same "
            "records, so the shares must agree"
        )
    return next(iter(said.values()), _BASE_RATE)


def _share(name: str, rate: float) -> None:
    if not (math.isfinite(rate) and 0.0 < rate < 1.0):
        raise FairnessError(
            f"--base-rate {name}: {rate:g} is not a share of positive labels between 0 and 1"
        )


def _towards(
    target: FloatArray, present: FloatArray, axis: int, dimensions: int, *, both: bool
) -> FloatArray:
    """Return factors that bring a margin to its target (iterative proportional fitting)."""
    shape = [1] * dimensions
    shape[axis] = len(target)
    if both:
        shape[-1] = 2
    factors: FloatArray = (target / np.maximum(present, 1e-300)).reshape(shape)
    return factors


def _defaults(
    layout: Layout,
    groups: Mapping[str, tuple[int, ...]],
    base_rate: float | None,
    rates: Mapping[str, tuple[float, ...]],
) -> list[str]:
    equal = [feature.name for feature in layout.features if feature.name not in groups]
    said = [f"groups of {name} of equal size (--groups {name}=N,N)" for name in equal]
    if base_rate is None and not rates:
        said.append(f"{_BASE_RATE:.0%} positive labels in every group (--base-rate)")
    elif not rates:
        said.append("the same share of positive labels in every group (--base-rate FEATURE=R,R)")
    return said
