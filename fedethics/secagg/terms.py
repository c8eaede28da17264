"""What the charter fixes about secure aggregation: members, threshold rule, and kinds of sum."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

from fedethics import canonical
from fedethics.errors import CharterError
from fedethics.identity import key_fault
from fedethics.secagg.honest_sites import (
    COMPLETE_UP_TO,
    SMALLEST_HONEST,
    fewest_in_any_sum,
    share_threshold,
)
from fedethics.secagg.recovery import RECOVERIES, Recovery
from fedethics.secagg.suites import SUITES, Suite

COORDINATOR = "coordinator"
MAX_SITES = 5000
SMALLEST_COHORT = 3
LARGEST_RING_DROPOUT_RATE = 0.45
LONGEST_EPOCH_S = 366 * 24 * 3600

_HEX_32 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SecaggTerms:
    """The charter's terms for secure aggregation, handed in by the caller.

    Attributes:
        charter_hash: SHA-256 of the charter's canonical bytes, 64 hex digits.
        roster: site name -> Ed25519 public key, 64 hex digits.
        coordinator_key: the coordinator's Ed25519 public key, 64 hex digits.
        minimum_cohort: no sum over fewer sites is ever opened; at least 3.
        colluders: how many sites may work with the coordinator (c); at least two honest sites
            must be in any sum that can be opened (`fewest_in_any_sum`), or it would be one honest
            site's vector.
        mode: `strict` has every survivor sign the survivor set before a share is revealed;
            `fast` saves that round trip for the weaker bound of docs/secagg.md.
        suite: how sites agree on keys: 1 (X25519), 2 (P-256) or 3 (X25519 with ML-KEM-768).
        complete_up_to: up to this many sites everyone shares masks with everyone; in larger epochs
            each site does so with its neighbours on a ring.
        ring_dropout_rate: fraction of the sites that a sum on the ring should survive losing.
        recovery: how masks of a dropped site are recovered: from a `blob` under a shared key, or
            from a shared key of the session as in Bonawitz et al. (`classic`, suite 1 only).
        epoch_lifetime_s: seconds after which a site's epoch keys open no new session.
        draws_cohorts: whether the charter draws cohorts: those up to `complete_up_to` share masks
            with everyone in them, in epochs of any size.
        charter_name: what the charter is called; its versions replace each other.
        charter_version: a site that took part under one version refuses every earlier one.

    Raises:
        CharterError: a term is out of range or the roster is inconsistent.
    """

    charter_hash: str
    roster: Mapping[str, str]
    coordinator_key: str
    minimum_cohort: int
    colluders: int
    mode: Literal["strict", "fast"] = "strict"
    suite: int = 1
    complete_up_to: int = COMPLETE_UP_TO
    ring_dropout_rate: float = 0.1
    recovery: Literal["blob", "classic"] = "blob"
    epoch_lifetime_s: int = 7 * 24 * 3600
    draws_cohorts: bool = False
    charter_name: str = ""
    charter_version: int = 1

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise CharterError(f"secure-aggregation terms: {problem}")

    def threshold(self, cohort_size: int) -> int:
        """Return t for a cohort of n sites: max(floor(2n/3) + 1, floor((n + c)/2) + 1).

        Guarantee: with at most c colluding sites, t honest-or-colluding answers of one kind and
        t of the other cannot both be gathered when each honest site answers once (2t > n + c).
        """
        return share_threshold(cohort_size, colluders=self.colluders)

    def smallest_sum(self, cohort_size: int) -> int:
        """Return how many sites must be in a sum before it may be opened."""
        return max(self.threshold(cohort_size), self.minimum_cohort)

    @property
    def key_agreement(self) -> Suite:
        """The charter's suite."""
        return SUITES[self.suite]

    @property
    def mask_recovery(self) -> Recovery:
        """The charter's way to recover the masks of dropped sites."""
        return RECOVERIES[self.recovery]

    @property
    def relays_acknowledgements(self) -> bool:
        """Whether an epoch ends with JOINED, since sites need what others acknowledged."""
        return self.key_agreement.ciphertext_bytes > 0 or self.draws_ring

    @property
    def draws_ring(self) -> bool:
        """Whether the sites of an epoch draw a ring order together."""
        return len(self.roster) > self.complete_up_to

    def _hides_in_fast_mode(self) -> bool:
        sites = len(self.roster)
        possible = 0 <= self.colluders <= self.minimum_cohort - SMALLEST_HONEST
        if self.mode != "fast" or not possible or sites > self.complete_up_to:
            return True  # or another sentence says what is wrong
        fewest = fewest_in_any_sum(
            max(sites, self.minimum_cohort),
            colluders=self.colluders,
            minimum=self.minimum_cohort,
            mode=self.mode,
            whole_roster=False,
        )
        return fewest >= SMALLEST_HONEST

    def _problem(self) -> str:
        keys = [self.coordinator_key, *self.roster.values()]
        checks = {
            "charter_hash is not 64 lower-case hex digits": is_hash(self.charter_hash),
            **{
                f"the public key of {name} {key_fault(key)}": not key_fault(key)
                for name, key in (("the coordinator", self.coordinator_key), *self.roster.items())
            },
            "two members have the same public key": len(set(keys)) == len(keys),
            "a site's name is empty, unprintable, longer than 64 or 'coordinator'": all(
                is_name(name) and name != COORDINATOR for name in self.roster
            ),
            f"minimum_cohort {self.minimum_cohort} is below {SMALLEST_COHORT}": (
                self.minimum_cohort >= SMALLEST_COHORT
            ),
            f"colluders {self.colluders} is negative or leaves fewer than two honest sites in "
            f"a cohort of {self.minimum_cohort}": (
                0 <= self.colluders <= self.minimum_cohort - SMALLEST_HONEST
            ),
            f"in mode 'fast', {self.colluders} colluders and a lying coordinator could open one "
            f"honest site's vector alone, of {len(self.roster)} sites; use 'strict'": (
                self._hides_in_fast_mode()
            ),
            f"the roster has {len(self.roster)} sites; minimum_cohort is {self.minimum_cohort} "
            f"and the most supported is {MAX_SITES}": (
                self.minimum_cohort <= len(self.roster) <= MAX_SITES
            ),
            f"mode {self.mode!r} is neither 'strict' nor 'fast'": self.mode in {"strict", "fast"},
            f"complete_up_to {self.complete_up_to} is below {SMALLEST_COHORT}": (
                self.complete_up_to >= SMALLEST_COHORT
            ),
            f"ring_dropout_rate {self.ring_dropout_rate} is not in 0 to 0.45": (
                0 <= self.ring_dropout_rate <= LARGEST_RING_DROPOUT_RATE
            ),
            f"fast mode with {len(self.roster)} sites; above complete_up_to "
            f"({self.complete_up_to}) the survivor set must be signed: use 'strict'": (
                self.mode == "strict" or not self.draws_ring
            ),
            f"recovery {self.recovery!r} is neither 'blob' nor 'classic', or suite {self.suite} "
            "cannot do it (classic: suite 1 only)": (
                self.recovery == "blob" or (self.recovery == "classic" and self.suite == 1)
            ),
            f"epoch_lifetime_s {self.epoch_lifetime_s} is not in 1 to {LONGEST_EPOCH_S}": (
                0 < self.epoch_lifetime_s <= LONGEST_EPOCH_S
            ),
            f"suite {self.suite} is unknown; use one of {sorted(SUITES)}": self.suite in SUITES,
        }
        return "; ".join(problem for problem, holds in checks.items() if not holds)


@dataclass(frozen=True, kw_only=True, slots=True)
class SumSpec:
    """One kind of sum; its hash is bound into every OPEN.

    Attributes:
        name: e.g. "update", "progress", "fairness".
        length: coordinates of one site's vector.
        word_bits: ring of the masked vector, 2**word_bits.
        bound: largest magnitude of one coordinate of one site's vector, noise included.
        whole_cohort: the sum is opened only over the whole cohort; for static data such as
            counts, where the difference of two sums would be one site's table.
        at_least: the sum is opened over no fewer sites; 0 for the rule of the threshold alone.

    Raises:
        CharterError: a value is out of range.
    """

    name: str
    length: int
    word_bits: Literal[16, 32, 64]
    bound: int
    whole_cohort: bool
    at_least: int = 0

    def __post_init__(self) -> None:
        if not is_name(self.name):
            raise CharterError(f"sum name {self.name!r} must be 1 to 64 printable characters")
        if self.word_bits not in {16, 32, 64}:
            raise CharterError(f"sum {self.name}: word_bits {self.word_bits} is not 16, 32 or 64")
        if not 1 <= self.length <= 2**30:
            raise CharterError(f"sum {self.name}: length {self.length} is not in 1 to 2**30")
        if not 1 <= self.bound < 2 ** (self.word_bits - 1):
            raise CharterError(
                f"sum {self.name}: bound {self.bound} does not fit {self.word_bits}-bit words"
            )

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical spelling, 64 hex digits."""
        return canonical.sha256_hex(canonical.encode(self.document()))

    @property
    def dtype(self) -> DTypeLike:
        """The unsigned little-endian word in which vectors are masked and summed."""
        return np.dtype(f"<u{self.word_bits // 8}")

    @property
    def body_bytes(self) -> int:
        """Bytes of one masked vector on the wire."""
        return self.length * self.word_bits // 8

    def fits(self, sites: int) -> bool:
        """Say whether a sum over `sites` sites cannot wrap: sites * bound < 2**(word_bits - 1)."""
        limit: int = 2 ** (self.word_bits - 1)
        return sites * self.bound < limit

    def document(self) -> dict[str, canonical.Json]:
        """Return the fields as a document for hashing and storage."""
        quorum: dict[str, canonical.Json] = {"at_least": self.at_least} if self.at_least else {}
        return quorum | {
            "bound": self.bound,
            "length": self.length,
            "name": self.name,
            "whole_cohort": self.whole_cohort,
            "word_bits": self.word_bits,
        }


def is_hash(value: object) -> bool:
    """Say whether `value` is 64 lower-case hex digits: a SHA-256 or a 32-byte key."""
    return isinstance(value, str) and _HEX_32.fullmatch(value) is not None


def is_name(value: object) -> bool:
    """Say whether `value` can name a site, a run or an aggregate."""
    return isinstance(value, str) and 1 <= len(value) <= 64 and value.isprintable()
