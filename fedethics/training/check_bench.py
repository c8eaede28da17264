"""What `dp-check` works on: a learner, made-up records and the charter's own terms.

Records made up from a charter's columns alone, to try the engine where no data may be.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedethics.charter.data_terms import Column, ContentForm, DataTerms
from fedethics.charter.model import Charter
from fedethics.data.content import Completion, Content, Conversation, Preference, Turn
from fedethics.data.records import Targets, Value
from fedethics.data.rendering import row_content
from fedethics.privacy.noise import NoiseSource
from fedethics.privacy.plan import PrivacyPlan, make_plan
from fedethics.training.activations import Activations
from fedethics.training.clipping import Site, clipped_sum
from fedethics.training.dp_sgd import RoundResult, train_round
from fedethics.training.engines import gradients_of
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms

_SEED = 20_240_601
_WIDEST = 1000.0
_WORDS = ("one", "patient", "applied", "with", "two", "years", "of", "work", "and", "some", "pain")


def sample_records(
    terms: DataTerms, count: int, *, classes: int = 2
) -> tuple[tuple[Content, ...], Targets]:
    """Return `count` texts as a site's records would be worded, and alternating targets.

    Nothing in them is real: numbers are uniform in their range, categories uniform, and in every
    other record the last column is not recorded, so that lengths differ.
    """
    random = np.random.Generator(np.random.Philox(_SEED))
    shown = [column for column in terms.columns if column.phrase]
    texts: list[Content] = []
    for row in range(count):
        if terms.content is not None:
            texts.append(_MADE_UP[terms.content.form](random, row))
            continue
        kept = shown[: max(1, len(shown) - row % 2)]
        values = {column.name: _value(column, random) for column in kept}
        if terms.labels.answer_with is not None:
            values |= {
                name: f"{number} {_words(random)}"
                for number, name in enumerate(terms.labels.options or ())
            }
        texts.append(row_content(values, terms, kept))
    return tuple(texts), np.arange(count, dtype=np.int16) % classes


def _words(random: np.random.Generator) -> str:
    return " ".join(random.choice(_WORDS, int(random.integers(1, 6))))


def _conversation(random: np.random.Generator, row: int) -> Content:
    pairs = [
        turn
        for _ in range(1 + row % 2)
        for turn in (Turn("user", _words(random)), Turn("assistant", _words(random)))
    ]
    return Conversation(tuple(pairs))


def _completion(random: np.random.Generator, _row: int) -> Content:
    return Completion(_words(random), _words(random))


def _preference(random: np.random.Generator, _row: int) -> Content:
    return Preference(_words(random), _words(random), f"{_words(random)} not")


_MADE_UP: Mapping[ContentForm, Callable[[np.random.Generator, int], Content]] = {
    "text": lambda random, _row: f"{_words(random)} {_words(random)}",
    "messages": _conversation,
    "prompt-completion": _completion,
    "instruction": _completion,
    "preference": _preference,
}


def _value(column: Column, random: np.random.Generator) -> Value:
    if column.kind == "category":
        raws = tuple(column.choices)
        return raws[int(random.integers(len(raws)))]
    if column.kind == "text":
        return " ".join(random.choice(_WORDS, int(random.integers(1, 40))))[: column.max_chars]
    low, high = max(column.minimum, -_WIDEST), min(column.maximum, _WIDEST)
    return round(float(random.uniform(low, high)), 1)


RECORDS = 12
_DECLARED = 100


@dataclass(frozen=True, slots=True)
class Bench:
    """What the checks work on: a learner, made-up records, a plan and a round's terms."""

    learner: Learner
    plan: PrivacyPlan
    activations: Activations
    labels: Targets
    terms: LocalTerms
    vector: NDArray[np.float32]

    @classmethod
    def of(cls, charter: Charter, learner: Learner) -> Bench:
        """Make records up from the charter's columns, and take its first round's terms."""
        texts, labels = sample_records(charter.data, RECORDS, classes=learner.classes)
        plan = make_plan(charter)
        sigma = plan.update.noise_multiplier or 0.0
        terms = LocalTerms.of(
            charter, noise_multiplier=sigma, declared_records=_DECLARED, round_number=1
        )
        # Away from B = 0, where A has no gradient.
        ripple = (0.02 * np.sin(np.arange(learner.size))).astype(np.float32)
        vector = learner.initial_vector() + ripple
        return cls(learner, plan, learner.activations(texts), labels, terms, vector)

    def train(
        self,
        source: NoiseSource,
        labels: Targets | None = None,
        **changes: object,
    ) -> RoundResult:
        """Train one step with plain gradient descent, or as `changes` say."""
        plain = {"steps": 1, "optimizer": "sgd", "momentum": 0.0, "learning_rate": 1.0}
        return train_round(
            self.learner,
            vector=self.vector,
            activations=self.activations,
            labels=self.labels if labels is None else labels,
            terms=dataclasses.replace(self.terms, **{**plain, **changes}),  # type: ignore[arg-type]
            noise=source,
            units=np.arange(RECORDS),
        )

    @contextmanager
    def site(self) -> Iterator[Site]:
        """Give what gradients are taken from, with the learner held."""
        engine = gradients_of(self.learner)
        with self.learner.lock, engine as gradients:
            self.learner.load(self.vector)
            yield Site(
                learner=self.learner,
                gradients=gradients,
                activations=self.activations,
                labels=self.labels,
                units=np.arange(RECORDS),
            )

    def total(self, site: Site, rows: NDArray[np.intp], **changes: object) -> Tensor:
        """Return the sum of clipped gradients of `rows`."""
        terms = dataclasses.replace(self.terms, **changes)  # type: ignore[arg-type]
        return clipped_sum(site, rows, terms=terms).total
