"""The two factors of each adapter inside the vector: which of them a round trains, and their form.

A target's adapter is the product B A (A: rank x inputs, B: outputs x rank). Which factors the
vector holds follows from the charter's form; which of them the sites train follows from the form
and the round, so no message says it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedethics.charter.training_terms import AdapterTerms
from fedethics.errors import ModelError
from fedethics.training.learner import Learner

Form = Literal["ffa", "fedsvd", "both", "alternating", "fed-sb"]
Frozen = Literal["", "A", "B"]

_MARKS = {"A": ".lora_A.", "B": ".lora_B."}
# Float32 rows of unit length; what a coordinator could hide below this does nothing.
_ORTHONORMAL = 1e-3


@dataclass(frozen=True, slots=True)
class Pair:
    """Where one target's factors lie in the vector.

    Attributes:
        a, b: their places in the vector.
        a_shape: (rank, inputs).
        b_shape: (outputs, rank).
    """

    a: slice
    b: slice
    a_shape: tuple[int, int]
    b_shape: tuple[int, int]

    def read(self, vector: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return A and B in float64."""
        a = vector[self.a].astype(np.float64).reshape(self.a_shape)
        return a, vector[self.b].astype(np.float64).reshape(self.b_shape)


def frozen_factor(form: Form, round_number: int) -> Frozen:
    """Return the factor in the vector that the sites leave as it is in a round, counted from 1.

    Under "ffa", A is no part of the vector: it belongs to the basis that every hash covers.
    """
    if form == "fedsvd":
        return "A"
    if form == "alternating":
        # B starts at zero, where A has no gradient: so B comes first.
        return "A" if round_number % 2 else "B"
    return ""


def trained_coordinates(learner: Learner, frozen: Frozen) -> NDArray[np.bool_]:
    """Return which coordinates of the vector are trained when `frozen` is left alone, shape (p,).

    The head is trained in every round.
    """
    mark = _MARKS.get(frozen)
    parts = [
        np.full(parameter.numel(), mark is None or mark not in name)
        for name, parameter in learner.parameters.items()
    ]
    return np.concatenate(parts)


def pairs(learner: Learner) -> tuple[Pair, ...]:
    """Return the targets of which the vector holds both factors, in vector order of A."""
    places: dict[str, tuple[slice, tuple[int, int]]] = {}
    start = 0
    for name, parameter in learner.parameters.items():
        end = start + parameter.numel()
        if any(mark in name for mark in _MARKS.values()):
            rows, columns = parameter.shape
            places[name] = slice(start, end), (int(rows), int(columns))
        start = end
    found = []
    for name, (place, shape) in places.items():
        other = places.get(name.replace(_MARKS["A"], _MARKS["B"]))
        if _MARKS["A"] in name and other is not None:
            found.append(Pair(place, other[0], shape, other[1]))
    return tuple(found)


def check_form(
    learner: Learner, vector: NDArray[np.float32], terms: AdapterTerms, *, rounds_done: int
) -> None:
    """Refuse a received adapter that the charter's form cannot reach.

    Under "fedsvd", A is the agreed start before the first round and has orthonormal rows after it.
    The other forms allow every vector of the right length ("ffa" has no A in it).

    Args:
        learner: the model of the charter.
        vector: the received adapter, shape (p,).
        terms: the charter's adapter.
        rounds_done: rounds whose sums are in the adapter.

    Raises:
        ModelError: the vector is not of the form; nothing was computed with it.
    """
    if terms.form != "fedsvd":
        return
    initial = learner.initial_vector()
    for pair in pairs(learner):
        if rounds_done == 0:
            sound = bool(np.array_equal(vector[pair.a], initial[pair.a]))
        else:
            a, _ = pair.read(vector)
            sound = bool(np.abs(a @ a.T - np.eye(len(a))).max() <= _ORTHONORMAL)
        if not sound:
            raise ModelError(
                f'the adapter received after {rounds_done} rounds is not of form "fedsvd": '
                + (
                    "A is not the agreed start"
                    if rounds_done == 0
                    else "A's rows are not orthonormal"
                )
                + "; nothing was computed with it"
            )
