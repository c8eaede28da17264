"""From the labels of several people to one label of a record, or none.

Source: Dawid and Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM
Algorithm", Applied Statistics 28 (1979) 20-28, equations 2.3 to 2.5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
# By annotator, the place of each one's label.
Labels: TypeAlias = Mapping[str, int]

_MOST_STEPS = 1000
_CHANGE = 1e-10
# Of a label: more probable than all others together.
_DECIDED = 0.5
TIE, FEW, NONE = "a tie", "too few labels", "no label"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """What becomes of one record.

    Attributes:
        label: its place; None where it stays open.
        why: how it was decided, or why it was not.
        confidence: share of the labels, or probability, that the label has.
    """

    label: int | None
    why: str
    confidence: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Skill:
    """What Dawid and Skene's model says.

    Attributes:
        shares: of each true label, shape (K,).
        errors: of each annotator, the probability of each label given the true one, shape
            (annotators, K true, K given).
        posterior: of each record, the probability of each label, shape (records, K).
        log_likelihood: of the labels, after each step; it never falls.
    """

    shares: FloatArray
    errors: FloatArray
    posterior: FloatArray
    log_likelihood: tuple[float, ...]


def dawid_skene(counts: FloatArray) -> Skill:
    """Estimate annotators' errors and records' labels together, from the shares of their labels.

    Args:
        counts: how often each annotator gave each label to each record, shape (records,
            annotators, K); each record has a label.
    """
    totals = counts.sum(axis=1)
    posterior = totals / totals.sum(axis=1, keepdims=True)
    likelihoods: list[float] = []
    while True:
        shares = posterior.mean(axis=0)
        errors = np.einsum("nk,naj->akj", posterior, counts)
        errors /= np.maximum(errors.sum(axis=2, keepdims=True), np.finfo(float).tiny)
        # No label, no weight: 0 times minus infinity is nothing here.
        with np.errstate(divide="ignore", invalid="ignore"):
            logs, log_shares = np.log(errors), np.log(shares)
            weighted = np.where(counts[:, :, None, :] > 0, counts[:, :, None, :] * logs, 0.0)
        joint = log_shares + weighted.sum(axis=(1, 3))
        largest = joint.max(axis=1, keepdims=True)
        likelihoods.append(float((largest[:, 0] + np.log(np.exp(joint - largest).sum(1))).sum()))
        after = np.exp(joint - largest)
        after /= after.sum(axis=1, keepdims=True)
        change = float(np.abs(after - posterior).max(initial=0.0))
        posterior = after
        if change < _CHANGE or len(likelihoods) >= _MOST_STEPS:
            return Skill(
                shares=shares, errors=errors, posterior=posterior,
                log_likelihood=tuple(likelihoods),
            )  # fmt: skip


def majority(labels: Sequence[Labels], _size: int) -> list[Decided]:
    """Return the label that most annotators gave; none where two have as many."""
    return [_most(one) for one in labels]


def by_skill(labels: Sequence[Labels], size: int) -> list[Decided]:
    """Return the label that is more probable than all others by Dawid and Skene's model."""
    given = [row for row, one in enumerate(labels) if one]
    names = sorted({name for one in labels for name in one})
    counts = np.zeros((len(given), len(names), size))
    for place, row in enumerate(given):
        for name, label in labels[row].items():
            counts[place, names.index(name), label] += 1
    found = [Decided(label=None, why=NONE, confidence=0.0)] * len(labels)
    if not given:
        return found
    for row, posterior in zip(given, dawid_skene(counts).posterior, strict=True):
        label, probability = int(posterior.argmax()), float(posterior.max())
        decided = probability > _DECIDED + _CHANGE
        found[row] = Decided(
            label=label if decided else None, confidence=probability,
            why="Dawid and Skene" if decided else TIE,
        )  # fmt: skip
    return found


def by_person(labels: Sequence[Labels], _size: int) -> list[Decided]:
    """Return the label that all annotators gave; a person must settle the others."""
    found = []
    for one in labels:
        alike = len(set(one.values())) == 1
        verdict = _most(one)
        found.append(verdict if alike or not one else Decided(
            label=None, why="not unanimous, and the adjudicator said nothing",
            confidence=verdict.confidence,
        ))  # fmt: skip
    return found


def _most(labels: Labels) -> Decided:
    if not labels:
        return Decided(label=None, why=NONE, confidence=0.0)
    (first, times), *others = Counter(labels.values()).most_common()
    share = times / len(labels)
    if others and others[0][1] == times:
        return Decided(label=None, why=TIE, confidence=share)
    return Decided(label=first, why="majority" if others else "unanimous", confidence=share)


METHODS: Mapping[str, Callable[[Sequence[Labels], int], list[Decided]]] = {
    "majority": majority,
    "dawid-skene": by_skill,
    "adjudicator": by_person,
}


def adjudicated(
    labels: Sequence[Labels],
    settled: Sequence[int | None],
    *,
    method: str,
    size: int,
    fewest: int = 1,
) -> list[Decided]:
    """Return what becomes of each record.

    Args:
        labels: of each record.
        settled: what a person decided for a record, in the tool or as adjudicator; that stands.
        method: one of `METHODS`.
        size: how many labels there are.
        fewest: labels that a record needs, unless it is settled.
    """
    found = []
    for one, decided, verdict in zip(labels, settled, METHODS[method](labels, size), strict=True):
        if decided is not None:
            verdict = Decided(label=decided, why="settled by a person", confidence=1.0)
        elif one and len(one) < fewest:
            verdict = Decided(label=None, why=FEW, confidence=0.0)
        found.append(verdict)
    return found
