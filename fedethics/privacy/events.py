"""What a data set can be charged for: each event is one mechanism, as the accountant knows it.

A mechanism is one class: what it costs (`loss`), how a site draws its noise (`draw`), how ledgers
and plans spell it (`document`), and its noise (`variance`). The accountant, the ledger and the
permit know this interface and no class of it, so a mechanism that is not in the registry is refused
by name and never taken for another.

An event holds everything that its privacy cost depends on and nothing else. Its `noise_multiplier`
or `std` is always relative to sensitivity 1: one unit, added or removed, moves the true value by
at most 1 (training divides by the clipping norm; a record touches one entry of a table by one).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from fedethics.canonical import Json
from fedethics.errors import AccountingError
from fedethics.privacy import discrete_gaussian, skellam, wide_gaussian
from fedethics.privacy.noise import NoiseSource

_WHOLE = frozenset({"steps", "releases", "shares", "sensitivity"})


class Event(ABC):
    """One mechanism, used some number of times.

    Attributes:
        kind: its name in ledgers and plans.
        counted: the field that says how often it is used; empty where that does not matter.
    """

    __slots__ = ()
    kind: ClassVar[str]
    counted: ClassVar[str] = ""
    __match_args__: ClassVar[tuple[str, ...]]

    @property
    @abstractmethod
    def multiplier(self) -> float | None:
        """Standard deviation of the noise over the sensitivity; None without noise."""

    @property
    def variance(self) -> float:
        """Variance of the noise over the squared sensitivity; 0.0 without noise."""
        return (self.multiplier or 0.0) ** 2

    @property
    def times(self) -> int:
        """How often the mechanism is used."""
        return int(getattr(self, self.counted)) if self.counted else 1

    @abstractmethod
    def loss(self, interval: float) -> Any:  # noqa: ANN401  untyped library object
        """Return the privacy loss distribution of one use, on a grid of this step.

        Guarantee: pessimistic.

        Raises:
            AccountingError: it has none, or its noise is out of range.
        """

    @abstractmethod
    def rough_rho(self) -> float:
        """Return a rough guess of what all uses cost in zCDP, for the choice of a grid."""

    def rough_range(self) -> float:
        """Return a rough guess of the widest loss of one use, for the choice of a grid."""
        return 0.0

    def once(self) -> Self:
        """Return one use of the same mechanism."""
        return self._used(1)

    def plus(self, other: Event) -> Self:
        """Return both, where `other` is of the same mechanism (see `same`)."""
        return self._used(self.times + other.times)

    def same(self) -> tuple[Any, ...]:
        """Return what two events of one mechanism have in common."""
        fields = self._fields()
        fields.pop(self.counted, None)
        return (self.kind, *fields.values())

    def document(self) -> Json:
        """Return the canonical-encodable form, as ledgers and plans hold it."""
        fields = self._fields().items()
        return {"kind": self.kind, **{name.replace("_", "-"): value for name, value in fields}}

    def _used(self, times: int) -> Self:
        fields = self._fields()
        if self.counted:
            fields[self.counted] = times
        return type(self)(**fields)

    def _fields(self) -> dict[str, Any]:
        # A dataclass lists its parameters there, in order.
        return {name: getattr(self, name) for name in self.__match_args__}


@dataclass(frozen=True, slots=True)
class SampledGaussian(Event):
    """`steps` Gaussian mechanisms, each on a fresh Poisson sample of the data set.

    How a site draws the noise of a step is of `training.gradient_noise`.

    Attributes:
        noise_multiplier: standard deviation over sensitivity, above 0.
        sampling_rate: probability that a unit joins a step, in (0, 1].
        steps: number of steps, at least 1; a step on an empty sample counts like any other.
    """

    kind: ClassVar[str] = "sampled-gaussian"
    counted: ClassVar[str] = "steps"

    noise_multiplier: float
    sampling_rate: float
    steps: int

    def __post_init__(self) -> None:
        _require_positive(noise_multiplier=self.noise_multiplier, steps=self.steps)
        if not 0 < self.sampling_rate <= 1:
            raise AccountingError(f"sampling_rate {self.sampling_rate} is not in (0, 1]")

    @property
    def multiplier(self) -> float:
        """The noise multiplier."""
        return self.noise_multiplier

    def loss(self, interval: float) -> Any:  # noqa: ANN401
        """Return that of one step, by dp-accounting."""
        # Imported here so that reading a ledger or a policy does not wait for it.
        from dp_accounting.pld import privacy_loss_distribution as pld

        return pld.from_gaussian_mechanism(
            self.noise_multiplier,
            value_discretization_interval=interval,
            sampling_prob=self.sampling_rate,
        )

    def rough_rho(self) -> float:
        """Return zCDP with a factor for the sampling."""
        inverse = self.noise_multiplier**-2
        amplified = self.sampling_rate**2 * math.expm1(min(inverse, 700.0)) / 2
        return self.steps * min(inverse / 2, amplified)

    def rough_range(self) -> float:
        """Return one step's ten-sigma range."""
        inverse = 1 / self.noise_multiplier
        return inverse * inverse / 2 + 10 * inverse


class CountMechanism(Event):
    """A mechanism of integer tables, in each of which a unit moves few entries.

    Sites add shares of its noise, whose variances add up.

    Attributes:
        std: standard deviation on which the guarantee rests: what is left of the noise when every
            party that may collude has subtracted its own share.
        releases: number of such tables, at least 1.
        sensitivity: rows of one unit in a table: what it moves entries by, added up.
        largest_std: the largest that its loss is known of.
    """

    __slots__ = ()
    counted: ClassVar[str] = "releases"
    largest_std: ClassVar[float]

    std: float
    releases: int
    sensitivity: int

    @classmethod
    @abstractmethod
    def of(cls, *, std: float, shares: int, releases: int = 1, sensitivity: int = 1) -> Self:
        """Return what tables cost whose noise of this std comes in `shares` honest shares."""

    @staticmethod
    @abstractmethod
    def draw(noise: NoiseSource, *, variance: float, size: int) -> NDArray[np.int64]:
        """Return one site's noise for `size` entries, mean 0.

        Raises:
            AccountingError: the variance is not above 0, or out of the mechanism's range.
        """

    @property
    def multiplier(self) -> float:
        """The standard deviation over the sensitivity."""
        return self.std / self.sensitivity

    def rough_rho(self) -> float:
        """Return zCDP of Gaussian noise of this std."""
        return self.releases * self.sensitivity**2 / (2 * self.std**2)


@dataclass(frozen=True, slots=True)
class SkellamRelease(CountMechanism):
    """Skellam noise. Shares add up to Skellam, so their number does not matter."""

    kind: ClassVar[str] = "skellam"
    largest_std: ClassVar[float] = skellam.MAXIMUM_STD

    std: float
    releases: int = 1
    sensitivity: int = 1

    def __post_init__(self) -> None:
        _require_positive(std=self.std, releases=self.releases, sensitivity=self.sensitivity)

    @classmethod
    def of(cls, *, std: float, shares: int, releases: int = 1, sensitivity: int = 1) -> Self:
        """Return the release, however many shares its noise comes in."""
        return cls(std, releases, sensitivity)

    @staticmethod
    def draw(noise: NoiseSource, *, variance: float, size: int) -> NDArray[np.int64]:
        """Draw exactly: see `NoiseSource.skellam`."""
        return noise.skellam(variance=variance, size=size)

    def loss(self, interval: float) -> Any:  # noqa: ANN401
        """Return that of one table: see `skellam.privacy_loss`."""
        return skellam.privacy_loss(self.std, interval=interval, sensitivity=self.sensitivity)


@dataclass(frozen=True, slots=True)
class DiscreteGaussianRelease(CountMechanism):
    """Discrete Gaussian noise.

    Attributes:
        std: each of `shares` sites adds N_Z(std^2 / shares), whose sum is not quite N_Z(std^2).
        shares: sites that do not collude and whose noise stays in the sum; 1 for one draw.
        releases: number of such tables, at least 1.
        sensitivity: rows of one unit in a table: what it moves entries by, added up.
    """

    kind: ClassVar[str] = "discrete-gaussian"
    largest_std: ClassVar[float] = discrete_gaussian.MAXIMUM_STD

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

    @classmethod
    def of(cls, *, std: float, shares: int, releases: int = 1, sensitivity: int = 1) -> Self:
        """Return the release of the sum of that many shares."""
        return cls(std, shares, releases, sensitivity)

    @staticmethod
    def draw(noise: NoiseSource, *, variance: float, size: int) -> NDArray[np.int64]:
        """Draw exactly: see `wide_gaussian.sample`."""
        return wide_gaussian.sample(noise, size=size, sigma=math.sqrt(variance))

    def loss(self, interval: float) -> Any:  # noqa: ANN401
        """Return that of one table: see `discrete_gaussian.privacy_loss`."""
        return discrete_gaussian.privacy_loss(
            self.std, shares=self.shares, interval=interval, sensitivity=self.sensitivity
        )


@dataclass(frozen=True, slots=True)
class NonPrivate(Event):
    """A release without differential privacy. Its epsilon is infinite, and is printed so."""

    kind: ClassVar[str] = "non-private"

    reason: str

    @property
    def multiplier(self) -> None:
        """None: there is no noise."""
        return None

    def loss(self, interval: float) -> Any:  # noqa: ANN401
        """Refuse."""
        raise AccountingError("a release without noise has no privacy loss distribution")

    def rough_rho(self) -> float:
        """Return 0.0: no grid is chosen for it."""
        return 0.0

    def same(self) -> tuple[Any, ...]:
        """Return the kind: what is without noise is so for whatever reason."""
        return (self.kind,)


EVENTS: Final[Mapping[str, type[Event]]] = {
    each.kind: each
    for each in (SampledGaussian, SkellamRelease, DiscreteGaussianRelease, NonPrivate)
}
# By their name in `privacy.evaluation.mechanism`, which is that in ledgers.
COUNT_MECHANISMS: Final[Mapping[str, type[CountMechanism]]] = {
    each.kind: each for each in (SkellamRelease, DiscreteGaussianRelease)
}


def count_mechanism(name: str) -> type[CountMechanism]:
    """Return the mechanism of integer tables of this name.

    Raises:
        AccountingError: there is none of this name; nothing was drawn or charged.
    """
    if name not in COUNT_MECHANISMS:
        known = ", ".join(COUNT_MECHANISMS)
        raise AccountingError(f"no mechanism of counts is named {name!r}; known: {known}")
    return COUNT_MECHANISMS[name]


def merge(events: Sequence[Event]) -> tuple[Event, ...]:
    """Return the same spending with equal mechanisms counted together, in one fixed order.

    Composition does not depend on order, so `epsilon(merge(e)) == epsilon(e)`.
    """
    merged: dict[tuple[Any, ...], Event] = {}
    for event in events:
        key = event.same()
        merged[key] = merged[key].plus(event) if key in merged else event
    return tuple(merged[key] for key in sorted(merged))


def from_document(table: object) -> Event:
    """Read an event back.

    Raises:
        AccountingError: unknown kind, missing or extra keys, or values out of range.
    """
    if not isinstance(table, Mapping):
        raise AccountingError(f"an event must be a table, got {type(table).__name__}")
    fields = {str(key).replace("-", "_"): value for key, value in table.items()}
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in EVENTS:
        known = ", ".join(EVENTS)
        raise AccountingError(f"unknown kind of event {kind!r}; known: {known}")
    try:
        return EVENTS[kind](**fields)
    except TypeError as error:
        raise AccountingError(f"malformed {kind} event: {error}") from error


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise AccountingError(f"{name} must be a number, got {value!r}")
        if name in _WHOLE and not isinstance(value, int):
            raise AccountingError(f"{name} must be a whole number, got {value!r}")
        if not (math.isfinite(value) and value > 0):
            raise AccountingError(f"{name} must be finite and above 0, got {value!r}")
