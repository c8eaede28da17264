"""What a data set can be charged for: each event is one mechanism, as the accountant knows it.

An event holds everything that its privacy cost depends on and nothing else. Its `noise_multiplier`
or `std` is always relative to sensitivity 1: one unit, added or removed, moves the true value by
at most 1 (training divides by the clipping norm; a record touches one entry of a table by one).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from fedethics.canonical import Json
from fedethics.errors import AccountingError


@dataclass(frozen=True, slots=True)
class SampledGaussian:
    """`steps` Gaussian mechanisms, each on a fresh Poisson sample of the data set.

    Attributes:
        noise_multiplier: standard deviation over sensitivity, above 0.
        sampling_rate: probability that a unit joins a step, in (0, 1].
        steps: number of steps, at least 1; a step on an empty sample counts like any other.
    """

    noise_multiplier: float
    sampling_rate: float
    steps: int

    def __post_init__(self) -> None:
        _require_positive(noise_multiplier=self.noise_multiplier, steps=self.steps)
        if not 0 < self.sampling_rate <= 1:
            raise AccountingError(f"sampling_rate {self.sampling_rate} is not in (0, 1]")


@dataclass(frozen=True, slots=True)
class SkellamRelease:
    """`releases` integer tables with Skellam noise, in each of which a unit moves few entries.

    Attributes:
        std: standard deviation on which the guarantee rests: what is left of the noise when every
            party that may collude has subtracted its own share.
        releases: number of such tables, at least 1.
        sensitivity: rows of one unit in a table: what it moves entries by, added up.
    """

    std: float
    releases: int = 1
    sensitivity: int = 1

    def __post_init__(self) -> None:
        _require_positive(std=self.std, releases=self.releases, sensitivity=self.sensitivity)


@dataclass(frozen=True, slots=True)
class DiscreteGaussianRelease:
    """`releases` integer tables with discrete Gaussian noise; a unit moves few entries of each.

    Attributes:
        std: each of `shares` sites adds N_Z(std^2 / shares), whose sum is not quite N_Z(std^2).
        shares: sites that do not collude and whose noise stays in the sum; 1 for one draw.
        releases: number of such tables, at least 1.
        sensitivity: rows of one unit in a table: what it moves entries by, added up.
    """

    std: float
    shares: int = 1
    releases: int = 1
    sensitivity: int = 1

    def __post_init__(self) -> None:
        _require_positive(
            std=self.std,
            shares=self.shares,
            releases=self.releases,
            sensitivity=self.sensitivity,
        )


@dataclass(frozen=True, slots=True)
class NonPrivate:
    """A release without differential privacy. Its epsilon is infinite, and is printed so."""

    reason: str


Event: TypeAlias = SampledGaussian | SkellamRelease | DiscreteGaussianRelease | NonPrivate


def merge(events: Sequence[Event]) -> tuple[Event, ...]:
    """Return the same spending with equal mechanisms counted together, in one fixed order.

    Composition does not depend on order, so `epsilon(merge(e)) == epsilon(e)`.
    """
    merged: dict[tuple[Any, ...], Event] = {}
    for event in events:
        key = _mechanism(event)
        merged[key] = _plus(merged[key], event) if key in merged else event
    return tuple(merged[key] for key in sorted(merged))


def document(event: Event) -> Json:
    """Return the canonical-encodable form of an event, as ledgers and plans hold it."""
    match event:
        case SampledGaussian():
            return {
                "kind": "sampled-gaussian",
                "noise-multiplier": event.noise_multiplier,
                "sampling-rate": event.sampling_rate,
                "steps": event.steps,
            }
        case SkellamRelease():
            return {
                "kind": "skellam",
                "std": event.std,
                "releases": event.releases,
                "sensitivity": event.sensitivity,
            }
        case DiscreteGaussianRelease():
            return {
                "kind": "discrete-gaussian",
                "std": event.std,
                "shares": event.shares,
                "releases": event.releases,
                "sensitivity": event.sensitivity,
            }
        case NonPrivate():
            return {"kind": "non-private", "reason": event.reason}


def from_document(table: object) -> Event:
    """Read an event back.

    Raises:
        AccountingError: unknown kind, missing or extra keys, or values out of range.
    """
    if not isinstance(table, Mapping):
        raise AccountingError(f"an event must be a table, got {type(table).__name__}")
    fields = {str(key).replace("-", "_"): value for key, value in table.items()}
    classes: dict[object, Callable[..., Event]] = {
        "sampled-gaussian": SampledGaussian,
        "skellam": SkellamRelease,
        "discrete-gaussian": DiscreteGaussianRelease,
        "non-private": NonPrivate,
    }
    kind = fields.pop("kind", None)
    if kind not in classes:
        known = ", ".join(str(name) for name in classes)
        raise AccountingError(f"unknown kind of event {kind!r}; known: {known}")
    try:
        return classes[kind](**fields)
    except TypeError as error:
        raise AccountingError(f"malformed {kind} event: {error}") from error


def _mechanism(event: Event) -> tuple[Any, ...]:
    match event:
        case SampledGaussian():
            return ("sampled-gaussian", event.noise_multiplier, event.sampling_rate)
        case SkellamRelease():
            return ("skellam", event.std, event.sensitivity)
        case DiscreteGaussianRelease():
            return ("discrete-gaussian", event.std, event.shares, event.sensitivity)
        case NonPrivate():
            return ("non-private",)


def _plus(first: Event, second: Event) -> Event:
    match first, second:
        case SampledGaussian(), SampledGaussian():
            return replace(first, steps=first.steps + second.steps)
        case SkellamRelease(), SkellamRelease():
            return replace(first, releases=first.releases + second.releases)
        case DiscreteGaussianRelease(), DiscreteGaussianRelease():
            return replace(first, releases=first.releases + second.releases)
        case _:
            return first


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise AccountingError(f"{name} must be a number, got {value!r}")
        if name in {"steps", "releases", "shares", "sensitivity"} and not isinstance(value, int):
            raise AccountingError(f"{name} must be a whole number, got {value!r}")
        if not (math.isfinite(value) and value > 0):
            raise AccountingError(f"{name} must be finite and above 0, got {value!r}")
