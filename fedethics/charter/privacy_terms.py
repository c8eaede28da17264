"""The unit of privacy, the neighbouring relation, and the two mechanisms with their budgets.

Whether the finished adapter is attacked before its release, and what that may cost.

Secure aggregation as the charter agrees it: suite, cohort rules, fixed-point grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedethics.secagg.honest_sites import SMALLEST_HONEST, fewest_in_any_sum
from fedethics.terms import term

# A threshold that is an edge of so many bins is one exactly, in floating point too.
_NESTED_BINS = (64, 128, 256, 512, 1024)


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditTerms:
    """A membership attack on the final adapter, read from secure sums (fedethics/privacy/audit).

    After the last round each site counts, by the probability that the adapter gives the true label,
    its trained and its held-out units; both histograms are summed with noise.

    Attributes:
        attack: "loss" is the attack by thresholds on the loss; "none" audits nothing.
        epsilon: what the histogram may cost one unit. It is a part of `privacy.training.epsilon`
            for trained units, and of `privacy.evaluation.epsilon` for held-out ones.
        bins: equal steps of the true label's probability.
    """

    attack: Literal["none", "loss"] = term(default="none")
    epsilon: float = term(default=0.5, above=0, at_most=1e3)
    bins: int = term(default=10, at_least=2, at_most=256)

    @property
    def asked(self) -> bool:
        """Whether there is an attack at all."""
        return self.attack != "none"


# A gradient of length l above the norm is scaled by norm / l. Lengths go up to 1e30; above this
# norm the factor then stays a normal number of float32 (1.2e-38), which has all of its digits.
SMALLEST_NORM, LARGEST_NORM = 1e-6, 1e6
# Below this the accountant's rounding shows beside delta.
SMALLEST_DELTA = 1e-12
# A unit that joins less than once in a million steps; sampling is exact to 2^-53.
SMALLEST_RATE = 1e-6
# More than this limits no attacker; `mechanism = "none"` says so.
LARGEST_EPSILON = 1e3


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPrivacy:
    """DP-SGD terms for the whole run; `mechanism = "none"` has epsilon infinity, and says so.

    Attributes:
        trust_mode: "local": each site's own noise gives the guarantee, however dishonest the
            others are.
            "distributed": each round is one step over all sites; a site sends its clipped gradient
            sum with a share of the noise, and the opened sum carries all of it, if at most
            `secagg.colluders` sites collude.
        epsilon: bound for one unit over all rounds of this run, at `privacy.delta`.
        clipping_norm: L2 bound of one unit's gradient.
        sampling_rate: Poisson probability that a unit joins a step.
        noise: of local trust: "fast" is float64 Gaussian noise; "strict" exact discrete Gaussian
            noise on integer gradients. Under distributed trust noise is always exact.
        adaptive_quantile: 0 keeps the clipping norm; otherwise the norm starts at `clipping-norm`
            in every round and moves, at each site by itself, towards the one that this share of
            units stays within (Andrew et al. 2021).
        adaptive_rate: how fast it moves.
        adaptive_share: share of the privacy of each step that the noised count of short gradients
            takes; the gradients' noise grows by 1 / sqrt(1 - share), and epsilon stays.
    """

    mechanism: Literal["dp-sgd", "none"] = term()
    trust_mode: Literal["local", "distributed"] = term()
    epsilon: float = term(above=0, at_most=LARGEST_EPSILON)
    clipping_norm: float = term(at_least=SMALLEST_NORM, at_most=LARGEST_NORM)
    sampling_rate: float = term(at_least=SMALLEST_RATE, at_most=1)
    noise: Literal["fast", "strict"] = term(default="fast")
    adaptive_quantile: float = term(default=0.0, at_least=0, below=1)
    adaptive_rate: float = term(default=0.2, at_least=1e-6, at_most=2)
    adaptive_share: float = term(default=0.05, at_least=1e-3, at_most=0.5)

    def problems(self) -> list[str]:
        """Refuse adaptive clipping where its count has no noise of the right kind."""
        exact = self.noise == "strict" or self.trust_mode == "distributed"
        if self.adaptive_quantile and exact:
            return [
                "adaptive-quantile: adaptive clipping is built for local trust with noise "
                '"fast" only; its count would need its own exact noise'
            ]
        return []


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationPrivacy:
    """Noise on the integer tables that leave the held-out records, over the whole run.

    Attributes:
        mechanism: "skellam" or "discrete-gaussian", both exact integer noise; "none" has epsilon
            infinity.
        trust_mode: "distributed": shares of noise add up to the guarantee in the opened sum, if
            at most `secagg.colluders` sites collude; "local": each site's noise is enough alone.
        epsilon: bound for one held-out unit over all evaluations of this run.
        tables: "nested": counts for each sensitive feature, and for each intersection that an
            objective names; scores in 8 coarse bins, crossed with `histogram_by`, and in `bins`
            fine ones over everyone. "crossed", or absent: counts over the cross product of all
            features, and one histogram of `bins`.
        histogram_by: sensitive features that the score histograms are crossed with. Fewer say
            more about everyone on few records.
        counts_ratio, histogram_ratio, progress_ratio: standard deviations relative to each other.
        progress_every: rounds between light evaluations without groups; 0 for none.
        bins: fine score bins over [0, 1].
        finest_at: score around which bins are finest, for scores that crowd there; absent: bins of
            equal width, of which the threshold must be an edge.
        threshold: score at and above which the prediction is positive.
    """

    mechanism: Literal["skellam", "discrete-gaussian", "none"] = term()
    trust_mode: Literal["local", "distributed"] = term()
    epsilon: float = term(above=0, at_most=LARGEST_EPSILON)
    tables: Literal["crossed", "nested"] | None = term(default=None)
    histogram_by: tuple[str, ...] = term(default=())
    counts_ratio: float = term(default=1.0, at_least=0.01, at_most=100)
    histogram_ratio: float = term(default=2.0, at_least=0.01, at_most=100)
    progress_ratio: float = term(default=4.0, at_least=0.01, at_most=100)
    progress_every: int = term(default=1, at_least=0, at_most=10_000)
    bins: int = term(default=64, at_least=64, at_most=1024)
    threshold: float = term(default=0.5, above=0, below=1)
    finest_at: float | None = term(default=None, at_least=0.001, at_most=0.999)

    def problems(self) -> list[str]:
        """Check what spans fields."""
        edge, found = self.threshold * self.bins, []
        if self.finest_at is None and edge != int(edge):
            found.append(
                f"threshold {self.threshold:g} is not an edge of {self.bins} bins of equal width. "
                "Take a multiple, or set finest-at, whose bins are cut at any threshold"
            )
        if self.tables == "nested" and self.bins not in _NESTED_BINS:
            listed = ", ".join(map(str, _NESTED_BINS))
            found.append(
                f'bins {self.bins}: under tables = "nested" the fine bins lie in 8 coarse ones, '
                f"so there are {listed} of them"
            )
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class PrivacyTerms:
    """The unit, the neighbouring relation, delta, and the two mechanisms.

    Training and held-out units are disjoint, so one unit is touched by one of the two mechanisms
    only (docs/adr/0003-unit-and-neighbours.md).

    Attributes:
        unit: "record", or "person": all rows with the same id in the column `data.person`.
        audit: whether the finished adapter is attacked before its release.
    """

    unit: Literal["record", "person"] = term()
    neighbouring: Literal["add-or-remove-one"] = term()
    delta: float = term(at_least=SMALLEST_DELTA, below=1)
    training: TrainingPrivacy = term()
    evaluation: EvaluationPrivacy = term()
    audit: AuditTerms = term(default=AuditTerms())

    def problems(self) -> list[str]:
        """Check that an audit has noise, and leaves some of each budget to what it audits."""
        if not self.audit.asked:
            return []
        found = [
            f"audit.epsilon {self.audit.epsilon:g} uses up privacy.{name}.epsilon {terms.epsilon:g}"
            for name, terms in (("training", self.training), ("evaluation", self.evaluation))
            if terms.mechanism != "none" and self.audit.epsilon >= terms.epsilon
        ]
        if self.training.mechanism != "none" and self.evaluation.mechanism == "none":
            found.append(
                "audit counts trained units with the noise of privacy.evaluation.mechanism, which "
                'is "none": the training would not be differentially private'
            )
        return found


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
        verify_slices: sites recompute slices of every sum that they receive.
        quorum: how many sites must be in the tables that a run opens once; absent for every site.
            Noise shares are sized for so few.
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
    quorum: int | None = term(default=None, at_least=3, at_most=5000)

    def problems(self) -> list[str]:
        """Every opened sum must include at least two honest sites."""
        if self.quorum is not None and self.quorum < self.minimum_cohort:
            return [
                f"quorum {self.quorum}: below minimum-cohort {self.minimum_cohort}, and no sum "
                "over fewer sites is ever opened"
            ]
        if self.recovery == "classic" and self.suite != 1:
            return [f'recovery "classic" goes with suite 1 only, not with suite {self.suite}']
        if self.minimum_cohort - self.colluders < SMALLEST_HONEST:
            return [
                f"minimum-cohort {self.minimum_cohort} with {self.colluders} colluders leaves "
                "fewer than 2 honest sites in a sum; raise minimum-cohort or lower colluders"
            ]
        return []

    def fewest_honest(self, sites: int, *, whole_roster: bool) -> int:
        """Return the fewest honest sites in any sum that can be opened.

        Args:
            sites: on the roster; for a draft without one, the minimum cohort.
            whole_roster: of sums that span the roster, or a quorum of it, or stay closed, as all
                sums of counts; otherwise of sums of updates.
        """
        if whole_roster and self.quorum is not None:
            return fewest_in_any_sum(
                max(sites, self.quorum),
                colluders=self.colluders,
                minimum=self.quorum,
                mode=self.mode,
                whole_roster=False,
            )
        return fewest_in_any_sum(
            sites,
            colluders=self.colluders,
            minimum=self.minimum_cohort,
            mode=self.mode,
            whole_roster=whole_roster,
        )
