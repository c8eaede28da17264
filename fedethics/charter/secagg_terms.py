"""Secure aggregation as the charter agrees it: suite, cohort rules, fixed-point grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedethics.secagg.honest_sites import SMALLEST_HONEST, fewest_in_any_sum
from fedethics.terms import term


@dataclass(frozen=True, kw_only=True, slots=True)
class AggregationTerms:
    """Secure aggregation: suite, cohort rules, and the fixed-point grid of updates.

    Attributes:
        suite: key agreement: 1 X25519, 2 P-256, 3 X25519 with ML-KEM-768 (post-quantum hybrid).
        minimum_cohort: no sum over fewer sites is ever opened.
        colluders: sites assumed to share all they know with the coordinator.
        mode: "strict" signs the survivor set, at one more round trip than "fast", in which sums
            over fewer honest sites can be opened (`fewest_honest`).
        clip: largest magnitude of one coordinate of an update that the grid carries.
        scale: grid steps per unit; rounding error is below 1/scale.
        word_bits: width of the masked words of an update.
        epoch_lifetime_s: seconds after which a site's session keys must be replaced.
        recovery: how a lost site's masks are removed: our "blob", or "classic" (suite 1 only).
        verify_slices: sites recompute slices of every sum that they are told.
    """

    suite: Literal[1, 2, 3] = term()
    minimum_cohort: int = term(at_least=3, at_most=5000)
    colluders: int = term(at_least=0, at_most=5000)
    mode: Literal["strict", "fast"] = term()
    clip: float = term(at_least=1e-6, at_most=1e9)
    scale: float = term(at_least=1, at_most=2.0**40)
    word_bits: Literal[16, 32, 64] = term(default=32)
    recovery: Literal["blob", "classic"] = term(default="blob")
    epoch_lifetime_s: int = term(default=604_800, at_least=60, at_most=31_536_000)
    verify_slices: bool = term(default=True)

    def problems(self) -> list[str]:
        """At least two honest sites must stand behind every opened sum."""
        if self.recovery == "classic" and self.suite != 1:
            return [f'recovery "classic" goes with suite 1 only, not with suite {self.suite}']
        if self.minimum_cohort - self.colluders < SMALLEST_HONEST:
            return [
                f"minimum-cohort {self.minimum_cohort} with {self.colluders} colluders leaves "
                "fewer than 2 honest sites in a sum; raise minimum-cohort or lower colluders"
            ]
        return []

    def fewest_honest(self, sites: int, *, whole_roster: bool) -> int:
        """Return the fewest honest sites in any sum that can be opened, whoever lies.

        Args:
            sites: on the roster; for a draft without one, the minimum cohort.
            whole_roster: of sums that span the roster or stay closed, as all sums of counts;
                otherwise of sums of updates.
        """
        return fewest_in_any_sum(
            sites,
            colluders=self.colluders,
            minimum=self.minimum_cohort,
            mode=self.mode,
            whole_roster=whole_roster,
        )
