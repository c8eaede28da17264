"""What the protocol hands back to its callers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Stage: TypeAlias = Literal["share", "masked", "confirm", "reveal"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """A verified OPEN. The caller still compares `model_hash` with the model it holds."""

    session_id: str
    run: str
    aggregate: str
    round_number: int
    cohort: tuple[str, ...]
    threshold: int
    model_hash: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Result:
    """A sum as a site receives it: `total` has shape (length,), the exact integer sum."""

    session_id: str
    run: str
    aggregate: str
    round_number: int
    total: NDArray[np.int64]
    survivors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Opened:
    """A sum as the coordinator opened it.

    Attributes:
        total: the exact integer sum over `survivors`, shape (length,).
        survivors: the sites whose vectors are in the sum, sorted.
        dropped: each site that stopped answering -> the first stage it did not answer. A site that
            stopped at `confirm` or `reveal` is in the sum nevertheless.
        suspects: sites whose revealed shares contradict the reconstructed secrets.
        message: the signed RESULT, to send to every site of the cohort.
    """

    total: NDArray[np.int64]
    survivors: tuple[str, ...]
    dropped: Mapping[str, Stage]
    message: bytes
    suspects: tuple[str, ...] = ()


def first_silence(
    cohort: Iterable[str], answered: Mapping[Stage, Collection[str]]
) -> dict[str, Stage]:
    """Return each site that stopped answering -> the first stage that it did not answer."""
    silent: dict[str, Stage] = {}
    for site in cohort:
        missed = [stage for stage, there in answered.items() if site not in there]
        if missed:
            silent[site] = missed[0]
    return silent
