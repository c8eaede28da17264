"""What a run leaves behind for its examiners: one document, written once, read strictly.

The coordinator writes it at the end of a run. It holds opened sums, public facts of the plan and
documents that sites signed; nothing of any record and no site's own table. Every verdict, figure
and number of a release is recomputed from this file and the charter, never copied. It holds no
sentence of the coordinator: what pages say in words comes from the charter, or is fedethics' own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedethics import canonical, terms
from fedethics.aggregates.registry import unknown_kind
from fedethics.charter.signing import CharterSignature
from fedethics.errors import ReleaseError
from fedethics.identity import public_key_term
from fedethics.release import durable
from fedethics.terms import KEY, NAME, SIGNATURE, TIME, term

# One of the protocol's own words, such as "record" or "masked-update".
_WORD = r"[a-z][a-z -]{0,39}"
# An opened count is a number of units with its noise, and floats hold it exactly.
_LARGEST = 2**53
# Products of a few of them stay finite.
_MOST_NOISE = 1e30


def _no_evidence(text: object) -> str:
    """Return why a text is no evidence of a run, or "": a coordinator has no words of its own."""
    try:
        parse(str(text).encode("utf-8"), where="a trial's evidence")
    except (ReleaseError, UnicodeEncodeError):
        return "not the evidence of a run in its canonical form"
    return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """One installed package and its version."""

    name: str = term(pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
    version: str = term(pattern=r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,99}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Public privacy facts, fixed before the first round.

    Attributes:
        noise_multiplier: std / clipping norm of DP-SGD; absent without DP.
        sampling_rate: Poisson probability that a unit joins a step.
        steps: noisy steps of one site over all rounds.
        training_epsilon, evaluation_epsilon: bound for one unit over the run, at `delta`;
            absent means infinite, that is, no guarantee at all.
        counts_std, histogram_std, progress_std: std of the noise on each integer of the opened
            sum; 0 without noise.
        effects_std, flips_std: the same for what the charter asks to have explained.
    """

    unit: str = term(pattern=_WORD)
    neighbouring: str = term(pattern=_WORD)
    delta: float = term(above=0, below=1)
    noise_multiplier: float | None = term(default=None, above=0)
    sampling_rate: float = term(above=0, at_most=1)
    steps: int = term(at_least=0)
    training_epsilon: float | None = term(default=None, above=0)
    evaluation_epsilon: float | None = term(default=None, above=0)
    counts_std: float = term(at_least=0, at_most=_MOST_NOISE)
    histogram_std: float = term(at_least=0, at_most=_MOST_NOISE)
    progress_std: float = term(at_least=0, at_most=_MOST_NOISE)
    effects_std: float = term(default=0.0, at_least=0, at_most=_MOST_NOISE)
    flips_std: float = term(default=0.0, at_least=0, at_most=_MOST_NOISE)
    training_trust_mode: str = term(pattern=_WORD)
    evaluation_trust_mode: str = term(pattern=_WORD)


@dataclass(frozen=True, kw_only=True, slots=True)
class Steering:
    """Counts of training records before a round, summed and noised; what weights follow from.

    Attributes:
        counts: flat [group, label, prediction].
        variance: of the noise on each entry.
    """

    round: int = term(at_least=1)
    counts: tuple[int, ...] = term(at_least=-_LARGEST, at_most=_LARGEST)
    variance: float = term(at_least=0, at_most=_MOST_NOISE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The light evaluation of one round: the opened sum of noisy counts of decisions.

    Attributes:
        counts: as `fedethics.fairness.measure` reads them.
        variance: of the noise on each of them.
    """

    round: int = term(at_least=0)
    counts: tuple[int, ...] = term(at_least=-_LARGEST, at_most=_LARGEST)
    variance: float = term(at_least=0, at_most=_MOST_NOISE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """The opened integers of one sum, of a kind that has no field of its own in the evidence.

    The noise on them follows from the charter.
    """

    kind: str = term(nonempty=True, check=unknown_kind)
    round: int = term(at_least=1)
    counts: tuple[int, ...] = term(nonempty=True, at_least=-_LARGEST, at_most=_LARGEST)


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropout:
    """A site that did not finish, and the last protocol stage it was waited for in."""

    site: str = term(pattern=NAME)
    stage: str = term(pattern=_WORD)


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedSum:
    """One sum that secure aggregation opened.

    Attributes:
        kind: as `aggregates.registry` names it.
        session: SHA-256 of the OPEN that the sites answered.
        cohort: sites asked; survivors: sites whose vectors are in the sum.
        sum_sha256: of the opened integers, see the function of that name.
    """

    round: int = term(at_least=0)
    kind: str = term(nonempty=True, check=unknown_kind)
    session: str = term(pattern=KEY)
    cohort: tuple[str, ...] = term(nonempty=True, pattern=NAME)
    survivors: tuple[str, ...] = term(pattern=NAME)
    dropped: tuple[Dropout, ...] = term(default=())
    sum_sha256: str = term(pattern=KEY)


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedReceipt:
    """A site's statement of what the run spent there: canonical JSON text and its signature.

    `fedethics.release.receipts` turns a ledger's receipt into one, and reads it.
    """

    body: str = term(nonempty=True, prose=True)
    signature: str = term(pattern=SIGNATURE)
    public_key: str = public_key_term()


@dataclass(frozen=True, kw_only=True, slots=True)
class Countersignature:
    """A member's signature over all receipts of the run: it holds them and vouches for the list."""

    site: str = term(pattern=NAME)
    signature: str = term(pattern=SIGNATURE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """All that a release is judged by, besides the charter.

    Attributes:
        model_hash: SHA-256 of adapter/adapter_model.safetensors as released.
        code_hash: SHA-256 over the installed sources of fedethics, server and clients.
        test_mode: noise was fixed by a seed; then nothing here is private.
        counts, histogram: the opened sums, flat, in the order of the charter's layout.
        explanation: the opened sums of score changes and flips, flat, as `fairness.explained` lays
            them out; empty where the charter asks for none.
        counts_variance, histogram_variance: of the noise on each integer of them.
        effects_variance, flips_variance: of the noise on each integer of `explanation`.
        audit: the opened histograms of the membership audit, flat: trained units by the adapter's
            probability of their true label, then held-out ones; empty where there was none.
        counted: opened sums of all other kinds, in the order in which they were; absent without.
        countersignatures: of members who hold all these receipts (`fedethics.release.receipts`).
        charter_signatures: as they lay beside the charter when the run began.
        trials: of the final run of a search: the evidence of each trial, as its canonical text;
            absent without a search.
    """

    run_id: str = term(pattern=NAME)
    started: str = term(pattern=TIME)
    finished: str = term(pattern=TIME)
    charter_hash: str = term(pattern=KEY)
    model_hash: str = term(pattern=KEY)
    base_model_sha256: str = term(pattern=KEY)
    schema_hash: str = term(pattern=KEY)
    code_hash: str = term(pattern=KEY)
    versions: tuple[Package, ...] = term(nonempty=True)
    test_mode: bool = term()
    plan: Plan = term()
    counts: tuple[int, ...] = term(nonempty=True, at_least=-_LARGEST, at_most=_LARGEST)
    histogram: tuple[int, ...] = term(nonempty=True, at_least=-_LARGEST, at_most=_LARGEST)
    explanation: tuple[int, ...] = term(default=(), at_least=-_LARGEST, at_most=_LARGEST)
    counts_variance: float = term(at_least=0, at_most=_MOST_NOISE)
    histogram_variance: float = term(at_least=0, at_most=_MOST_NOISE)
    effects_variance: float = term(default=0.0, at_least=0, at_most=_MOST_NOISE)
    flips_variance: float = term(default=0.0, at_least=0, at_most=_MOST_NOISE)
    progress: tuple[Progress, ...] = term(default=())
    steering: tuple[Steering, ...] = term(default=())
    audit: tuple[int, ...] = term(default=(), at_least=-_LARGEST, at_most=_LARGEST)
    counted: tuple[Counted, ...] | None = term(default=None)
    rounds: tuple[OpenedSum, ...] = term()
    receipts: tuple[SignedReceipt, ...] = term(default=())
    countersignatures: tuple[Countersignature, ...] = term(default=())
    charter_signatures: tuple[CharterSignature, ...] = term(default=())
    trials: tuple[str, ...] | None = term(default=None, prose=True, check=_no_evidence)


def encode(evidence: Evidence) -> bytes:
    """Return the canonical bytes; their SHA-256 names the evidence in gate.json."""
    return canonical.encode(terms.document(evidence))


def write(evidence: Evidence, path: Path) -> None:
    """Write the evidence durably and whole.

    Raises:
        ReleaseError: the file cannot be written.
    """
    durable.write(path, encode(evidence))


def load(path: Path) -> Evidence:
    """Read the evidence, refusing any spelling or key but the canonical ones.

    Raises:
        ReleaseError: missing, not canonical, or malformed; the message lists every problem.
    """
    return parse(durable.read(path), where=str(path))


def parse(data: bytes, *, where: str = "evidence") -> Evidence:
    """Read the evidence from its canonical bytes."""
    return terms.parse(Evidence, data, what=where, error=ReleaseError)
