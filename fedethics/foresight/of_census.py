"""What an opened census says of the held-out records, in place of shares that people declare.

The counts are noised, so they are made into a population first: sizes below zero become half a
record, the groups of a feature add up to all records, and label rates of every feature are brought
to one rate over everyone by the same shift of log odds. Nothing is read of any record again.
"""

from __future__ import annotations

import math

import numpy as np

from fedethics.aggregates.census.layout import EVERYONE
from fedethics.aggregates.census.opened import OpenedCensus
from fedethics.charter.model import Charter
from fedethics.errors import FairnessError
from fedethics.fairness.explained import FloatArray
from fedethics.foresight.of_charter import Declared

_STEPS = 60


def declared_of(
    charter: Charter,
    census: OpenedCensus,
    *,
    held_out: int | None = None,
    accuracy: float | None = None,
) -> Declared:
    """Return the held-out records of a charter as a census of the same groups shows them.

    Args:
        charter: that is planned; its groups must be those of the census.
        census: of an earlier charter, or of this one.
        held_out: records, where somebody knows better than the census.
        accuracy: share that the model is expected to get right.

    Raises:
        FairnessError: the groups or labels are not those of the census, or it shows no records.
    """
    features = {one.name: one.groups for one in charter.data.sensitive} or {EVERYONE: (EVERYONE,)}
    if dict(census.layout.features) != features:
        raise FairnessError(
            "--census: the census counts other groups than this charter declares; plan with "
            "--groups and --base-rate, or take a census with this charter"
        )
    labels = census.layout.labels
    if len(labels) > 1 and labels != charter.data.labels.names:
        raise FairnessError("--census: the census counts other labels than this charter declares")
    records = held_out or round(census.records() * charter.data.holdout_fraction)
    if records < 1:
        raise FairnessError(
            "--census: through the noise it shows no records that could be held out; give their "
            "number with --held-out N"
        )
    named = {} if EVERYONE in features else features
    sizes = {name: _whole(census.sizes(name), records) for name in named}
    if len(labels) > 2:  # several classes: their mix, and no share of positive labels
        return Declared(
            records=records,
            groups=sizes,
            accuracy=accuracy,
            classes=_whole(_of_labels(census, next(iter(features))), records),
        )
    return Declared(
        records=records,
        groups=sizes,
        base_rates=_rates(census, sizes) if len(labels) > 1 else {},
        accuracy=accuracy,
    )


def _of_labels(census: OpenedCensus, feature: str) -> FloatArray:
    counts: FloatArray = census.blocks["groups", feature].sum(axis=0)
    return counts


def _whole(sizes: FloatArray, records: int) -> tuple[int, ...]:
    """Return whole sizes that add up to all records, by largest remainder."""
    kept = np.maximum(sizes, 0.5)
    exact = kept / kept.sum() * records
    whole = np.floor(exact).astype(np.int64)
    left = records - int(whole.sum())
    for place in np.argsort(whole - exact, kind="stable")[:left]:
        whole[place] += 1
    return tuple(map(int, whole))


def _rates(census: OpenedCensus, sizes: dict[str, tuple[int, ...]]) -> dict[str, tuple[float, ...]]:
    """Return the share of labels other than the first in each group, one rate over everyone."""
    raw, overall = {}, []
    for name in sizes:
        block = np.maximum(census.blocks["groups", name], 0.0)
        positive, everyone = block[:, 1:].sum(axis=1), block.sum(axis=1)
        # One in two more of each keeps a group of few off 0 and 1, which no population has.
        raw[name] = (positive + 0.5) / (everyone + 1.0)
        overall.append((positive.sum() + 0.5) / (everyone.sum() + 1.0))
    target = float(np.mean(overall)) if overall else 0.5
    return {name: _shifted(rates, np.array(sizes[name]), target) for name, rates in raw.items()}


def _shifted(rates: FloatArray, sizes: FloatArray, target: float) -> tuple[float, ...]:
    """Return the rates with their log odds shifted so that over everyone they are `target`."""
    odds, weights = np.log(rates / (1 - rates)), sizes / max(1, int(sizes.sum()))
    low, high = -50.0, 50.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        over = float(weights @ (1 / (1 + np.exp(-(odds + middle))))) > target
        low, high = (low, middle) if over else (middle, high)
    found = 1 / (1 + np.exp(-(odds + (low + high) / 2)))
    return tuple(min(max(float(rate), 1e-6), 1 - 1e-6) for rate in found if math.isfinite(rate))
