"""Random numbers in a fixed sentence through the real training: how far does the model know them?

A canary is a made-up record that says a number nobody can guess. Each is trained on with
probability 1/2, by the functions that sites train with. Afterwards the model ranks each canary's
number among fresh random ones, by how much training lowered the loss of the sentence with it. Its
exposure in bits is log2(candidates) minus log2(rank): about 1.44 on average for a number that was
never read, log2(candidates) for one that the model prefers to all others. By the same scores an
attacker names who was in, and the right names give a lower bound on epsilon.

The noise is that of the promise: of one site under local trust, of the opened sum under distributed
trust. The same steps are taken once more without noise. Canaries alone, or with few other records,
weigh more in a step than they would at a site, so that exposures without noise are upper ends.

Sources: Carlini et al. 2019 (arXiv 1802.08232), exposure by sampling; there numbers are ranked by
their loss, here by what training changed of it. One run: Steinke, Nasr and Jagielski 2023 (arXiv
2305.08846).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedethics.charter.cohorts import most_rounds
from fedethics.charter.data_terms import ContentForm
from fedethics.charter.model import Charter
from fedethics.data.content import Completion, Content, Conversation, Turn
from fedethics.errors import TrainingError
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.audit import one_run
from fedethics.privacy.events import SampledGaussian
from fedethics.privacy.noise import NoiseSource
from fedethics.privacy.plan import make_plan
from fedethics.training.activations import Activations
from fedethics.training.dp_sgd import train_round
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms
from fedethics.training.server_step import Moments, server_change, stepped

CANARIES = 64
REFERENCES = 255
CONFIDENCE = 0.95
_DIGITS = 8
_ASKED = "What is the number of the file?"
_CARRIER = "The number of the file is {number}."


def _completion(said: str) -> Content:
    return Completion(_ASKED, said)


_CARRIERS: Mapping[ContentForm, Callable[[str], Content]] = {
    "text": lambda said: said,
    "messages": lambda said: Conversation((Turn("user", _ASKED), Turn("assistant", said))),
    "prompt-completion": _completion,
    "instruction": _completion,
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Exposures:
    """What one training left of the canaries.

    Attributes:
        noise_multiplier: of a step's sum; 0.0 without noise.
        promised: epsilon of these steps; infinite without noise.
        inside, outside: exposure in bits of canaries trained on and not, each shape (k,).
        most: the largest exposure that can be measured, log2 of the candidates.
        bound: epsilon that the attack's names refute, at `CONFIDENCE`; 0 if none.
        reach: what `bound` would be, had every name been right.
    """

    noise_multiplier: float
    promised: float
    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    most: float
    bound: float
    reach: float

    @property
    def kept(self) -> bool:
        """Whether nothing speaks against the promise; not that anything proves it."""
        return self.bound <= self.promised


@dataclass(frozen=True, kw_only=True, slots=True)
class CanaryAudit:
    """The charter's training, and the same steps without noise.

    Attributes:
        private: with the charter's noise; None where the charter trains without.
        plain: without noise.
        steps: of the run.
        delta: of the promise.
    """

    private: Exposures | None
    plain: Exposures
    steps: int
    delta: float


def audit_canaries(
    charter: Charter,
    learner: Learner,
    *,
    noise: NoiseSource,
    canaries: int = CANARIES,
    references: int = REFERENCES,
    records: Sequence[Content] = (),
) -> CanaryAudit:
    """Train on canaries, together with `records`, with and without noise.

    Args:
        charter: the terms of a whole run.
        learner: of that charter.
        noise: a fresh source, as a site's.
        canaries: how many; each is in with probability 1/2.
        references: fresh numbers that each canary is ranked among.
        records: trained on in every case. The figures then depend on them and carry no noise of
            their own: they are for the site's eyes.

    Raises:
        TrainingError: the charter's records say no sentence, or no canary is in, or all are.
    """
    said = _carrier(charter)
    numbers = _numbers(noise.derive("numbers"), canaries + references)
    inside = noise.derive("inside").uniform(canaries) < 0.5
    if inside.all() or not inside.any():
        raise TrainingError("no canary is in, or all are; take more of them")
    asked = learner.activations([said(number) for number in numbers])
    if asked.left_out:
        raise TrainingError(
            f"a canary's sentence does not fit into model.max-tokens ({learner.max_tokens}); "
            "nothing was trained"
        )
    trained = asked.take(np.flatnonzero(inside).tolist())
    if records:
        trained = trained + learner.activations(records)
    sigma = make_plan(charter).update.noise_multiplier
    before = _losses(learner, learner.initial_vector(), asked)

    def exposed(multiplier: float) -> Exposures:
        source = noise.derive(f"noise {multiplier:g}")
        vector = _trained(charter, learner, trained, sigma=multiplier, noise=source)
        gained = before - _losses(learner, vector, asked)
        return _exposures(charter, gained, inside, multiplier)

    return CanaryAudit(
        private=exposed(sigma) if sigma else None,
        plain=exposed(0.0),
        steps=most_rounds(charter) * charter.training.local_steps,
        delta=charter.privacy.delta,
    )


def _carrier(charter: Charter) -> Callable[[str], Content]:
    """Return what puts a number into a record of the charter's form."""
    content = charter.data.content
    sentence = _CARRIERS.get(content.form) if content else None
    if sentence is None:
        form = content.form if content else "columns"
        raise TrainingError(
            f"records of form {form!r} say no sentence that a number could stand in; nothing was "
            f"trained. This audit is for {', '.join(_CARRIERS)}"
        )
    return lambda number: sentence(_CARRIER.replace("{number}", number))


def _numbers(noise: NoiseSource, count: int) -> list[str]:
    """Return random numbers, digit by digit, so that each has as many tokens as the others."""
    digits = (noise.uniform(count * _DIGITS) * 10).astype(int).reshape(count, _DIGITS)
    return [" ".join(map(str, row)) for row in digits.tolist()]


def _losses(
    learner: Learner, vector: NDArray[np.float32], asked: Activations
) -> NDArray[np.float64]:
    """Return the mean loss of each record's own learnt tokens, shape (n,)."""
    # The first score of a text task is exp of minus the loss.
    probability = learner.scores(vector, asked)[:, 0]
    return np.asarray(-np.log(np.maximum(probability, np.finfo(np.float64).tiny)))


def _trained(
    charter: Charter,
    learner: Learner,
    activations: Activations,
    *,
    sigma: float,
    noise: NoiseSource,
) -> NDArray[np.float32]:
    """Return the adapter after a whole run over these records alone, shape (p,)."""
    count, vector = len(activations), learner.initial_vector()
    moments: Moments | None = None
    labels = np.zeros(count, dtype=np.int8)
    for number in range(1, most_rounds(charter) + 1):
        # Any multiplier but 0, which it refuses for a private charter; the one meant comes next.
        agreed = LocalTerms.of(
            charter, noise_multiplier=sigma or 1.0, declared_records=count, round_number=number
        )
        silent = {} if sigma else {"noise": "fast", "adaptive": None}
        terms = dataclasses.replace(agreed, noise_multiplier=sigma, unit="record", **silent)  # type: ignore[arg-type]
        result = train_round(
            learner, vector=vector, activations=activations, labels=labels, terms=terms,
            noise=noise.derive(str(number)),
        )  # fmt: skip
        change, moments = server_change(charter, result.update.astype(np.float64), moments)
        vector = stepped(
            learner,
            vector,
            mean=change,
            rate=charter.training.server_learning_rate,
            form=charter.adapter.form,
        )
    return vector


def _exposures(
    charter: Charter, gained: NDArray[np.float64], inside: NDArray[np.bool_], sigma: float
) -> Exposures:
    count, delta = len(inside), charter.privacy.delta
    own, others = gained[:count], np.sort(gained[count:])
    # Rank 1: training lowered its loss by more than that of every fresh number; a tie is none.
    rank = 1 + len(others) - np.searchsorted(others, own, side="left")
    most = math.log2(len(others) + 1)
    bits = most - np.log2(rank)
    steps = most_rounds(charter) * charter.training.local_steps
    rate, error = charter.privacy.training.sampling_rate, 1.0 - CONFIDENCE
    return Exposures(
        noise_multiplier=sigma,
        promised=epsilon((SampledGaussian(sigma, rate, steps),), delta=delta)
        if sigma
        else math.inf,
        inside=bits[inside],
        outside=bits[~inside],
        most=most,
        bound=one_run.bound_of_scores(own, inside, delta=delta, error=error),
        reach=one_run.bound_of_scores(inside.astype(float), inside, delta=delta, error=error),
    )
