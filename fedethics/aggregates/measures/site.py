"""A site's part in the measures: numbers of its held-out records, in steps, with noise.

Guarantee: a record moves each measure's entries by `GRID` steps added up, and each spread by at
most as many; so does its absence. The caller has reserved the cost before calling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedethics.aggregates.measures import MEASURES, MeasureLayout, layout_of_measures, terms_of
from fedethics.aggregates.measuring import Vector, scores_of, share_of
from fedethics.charter.measure_terms import GRID, WORDS_OF_A_RECORD, CounterfactualTerms
from fedethics.counterfactuals import Scored, WordFinder, WordSwap, find_change
from fedethics.data.content import Content, digest, rewritten
from fedethics.data.records import Records
from fedethics.errors import FairnessError
from fedethics.explanation.words import explained_targets, without_words
from fedethics.fairness.bounded import on_grid
from fedethics.fairness.measured import Measured
from fedethics.learning_tasks import find_task
from fedethics.privacy.noise import NoiseSource
from fedethics.scorers import Scoring, find_scorer, score_of
from fedethics.secagg import Opening
from fedethics.site.explanation import score_texts
from fedethics.site.request_context import RequestContext
from fedethics.training.generation import answers
from fedethics.training.text_classifier import classifier_of


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Numbers:
    """What was measured of some records.

    Attributes:
        rows: which records, shape (m,).
        values: numbers in [0, 1], shape (m,).
    """

    rows: NDArray[np.intp]
    values: NDArray[np.float64]


_NONE: Final = Numbers(rows=np.zeros(0, dtype=np.intp), values=np.zeros(0))


def sum_values(
    context: RequestContext, adapter: Vector, _opening: Opening, noise: NoiseSource
) -> NDArray[np.int64]:
    """Return hits, misses and spreads with this site's share of the noise.

    Raises:
        AccountingError: the charter asks for no measures. Nothing was computed.
    """
    plan, layout = MEASURES.of(context.plan.sums), layout_of_measures(context.charter)
    part = context.workbench.records.held_out
    terms = terms_of(context.charter)
    scored = terms.names or terms.counterfactuals or terms.vocabulary
    scores = scores_of(context, adapter, part) if scored else np.zeros(0)
    numbers = _of_the_task(context, scores) | _of_answers(context, adapter, part)
    numbers |= _of_swapped_words(context, adapter, part, scores)
    groups = _groups(context, part)
    vector = np.concatenate(
        [
            tabulate_values(layout, groups=groups, numbers=numbers),
            _of_words(context, adapter, part, scores, groups),
        ]
    )
    shares = (
        share_of(context, plan.values, layout.values_length, noise.derive("values")),
        share_of(context, plan.spread, layout.spread_length, noise.derive("spread")),
        share_of(context, plan.words, layout.words_length, noise.derive("words")),
    )
    return np.asarray(vector + np.concatenate(shares), dtype=np.int64)


def tabulate_values(
    layout: MeasureLayout, *, groups: NDArray[np.int64], numbers: Mapping[str, Numbers]
) -> NDArray[np.int64]:
    """Return hits, misses and spreads of one site without noise; words come behind them.

    Guarantee: what a record adds follows from that record alone, see `MeasureLayout`.

    Args:
        layout: of the charter.
        groups: number of each record's group, shape (n,).
        numbers: of each measure.

    Raises:
        FairnessError: a measure is missing, a record stands in one twice, or a number is outside
            [0, 1].
    """
    hits, spreads = [], []
    for name, measure_of in layout.measures.items():
        own = numbers.get(name)
        if own is None or own.rows.shape != own.values.shape:
            raise FairnessError(f"{name} was not measured; nothing was sent")
        if len(np.unique(own.rows)) < len(own.rows):
            raise FairnessError(f"{name} was measured of a record twice; nothing was sent")
        table = np.zeros((len(layout.groups), 3), dtype=np.int64)
        np.add.at(table, groups[own.rows], on_grid(own.values, grid=GRID))
        if measure_of.apart:
            without = np.delete(groups, own.rows)
            apart = GRID * np.bincount(without, minlength=len(layout.groups))
            hits.append(np.column_stack([table[:, :2], apart]))
        else:
            hits.append(table[:, :2])
        if not measure_of.binary:
            spreads.append(table[:, 2])
    blocks = [each.ravel() for each in (*hits, *spreads)]
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.int64)


def tabulate_words(
    effects: NDArray[np.float64], *, groups: NDArray[np.int64], count: int, largest_change: float
) -> NDArray[np.int64]:
    """Return the sums of what words move at one site, without noise, [word, group, rose or fell].

    Guarantee: a record moves all entries by at most `GRID` steps added up, in its own group, and no
    other record's part depends on it. Steps are cut off and never rounded up.

    Args:
        effects: what each word moves in each record, shape (records, words); 0 where it is not.
            Any float: what is beyond a whole score is cut.
        groups: number of each record's group, shape (records,).
        count: how many groups there are.
        largest_change: what all words of a record together count up to.
    """
    # What is no number has no effect; nothing beyond a whole score has one.
    effects = np.clip(np.nan_to_num(effects, nan=0.0), -1.0, 1.0)
    together = np.abs(effects).sum(axis=1, keepdims=True)
    scale = GRID / np.maximum(together, largest_change)
    steps = np.floor(np.abs(effects) * scale).astype(np.int64)
    table = np.zeros((count, effects.shape[1], 2), dtype=np.int64)
    for side, own in ((0, effects > 0), (1, effects < 0)):
        np.add.at(table[:, :, side], groups, np.where(own, steps, 0))
    return table.transpose(1, 0, 2).ravel()


def word_effects(
    words: Sequence[str],
    texts: Sequence[Content],
    scores: NDArray[np.float64],
    *,
    told: Callable[[NDArray[np.float64], NDArray[np.intp]], NDArray[np.float64]],
    score: Callable[[Sequence[Content]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Return what each word moves in each record that holds it, shape (records, words).

    Guarantee: how many texts are scored follows from the number of records and of words alone. Of a
    record that holds more than `WORDS_OF_A_RECORD` words, that many are scored, chosen by the
    record's own text as if by chance; the others count as moving nothing.

    Args:
        words: of the charter's list.
        texts: what each record says.
        scores: of the records as they are, shape (n,) or (n, columns).
        told: from scores, and the records that they are of, to the score of each one's answer.
        score: the model.
    """
    effects = np.zeros((len(texts), len(words)))
    if not len(texts):
        return effects
    finders = [WordFinder.of(word) for word in words]
    everyone = np.arange(len(texts))
    whole = told(scores, everyone)
    chosen = [_chosen_words(text, words, finders) for text in texts]
    for place in range(min(len(words), WORDS_OF_A_RECORD)):
        # A place that is not used scores the text as it is: the time that this takes is seen.
        changed = [
            without_words(text, finders[own[place]]) if place < len(own) else text
            for text, own in zip(texts, chosen, strict=True)
        ]
        moved = whole - told(score(changed), everyone)
        for row, own in enumerate(chosen):
            if place < len(own):
                effects[row, own[place]] = moved[row]
    return effects


def _chosen_words(
    text: Content, words: Sequence[str], finders: Sequence[WordFinder]
) -> tuple[int, ...]:
    """Return which words of the list are left out of a text, one at a time."""
    held = [at for at, finder in enumerate(finders) if without_words(text, finder) != text]
    if len(held) > WORDS_OF_A_RECORD:
        held = sorted(held, key=lambda at: digest([words[at], text]))[:WORDS_OF_A_RECORD]
    return tuple(held)


def _of_words(
    context: RequestContext,
    adapter: Vector,
    part: Records,
    scores: NDArray[np.float64],
    groups: NDArray[np.int64],
) -> NDArray[np.int64]:
    charter = context.charter
    terms, layout = terms_of(charter).vocabulary, layout_of_measures(charter)
    if terms is None or not len(part.texts):
        return np.zeros(layout.words_length, dtype=np.int64)
    measured = find_task(charter.model.task).measured(charter.data.labels)
    targets = explained_targets(
        measured,
        scores,
        part.labels,
        threshold=charter.privacy.evaluation.threshold,
        labelled=charter.data.label is not None,
    )
    effects = word_effects(
        terms.words,
        part.texts,
        scores,
        told=lambda found, rows: measured.sureness(targets[rows], found),
        score=partial(score_texts, context.workbench.learner, adapter),
    )
    return tabulate_words(
        effects, groups=groups, count=len(layout.groups), largest_change=terms.largest_change
    )


def _groups(context: RequestContext, part: Records) -> NDArray[np.int64]:
    terms = terms_of(context.charter)
    if not terms.feature:
        return np.zeros(len(part.texts), dtype=np.int64)
    names = [feature.name for feature in context.charter.data.sensitive]
    return np.asarray(part.groups[:, names.index(terms.feature)], dtype=np.int64)


def _of_the_task(context: RequestContext, scores: NDArray[np.float64]) -> dict[str, Numbers]:
    charter = context.charter
    terms = terms_of(charter)
    measured = find_task(charter.model.task).measured(charter.data.labels)
    asked = [name for name in terms.names if name in measured.values]
    if not asked:
        return {}
    if not len(scores):
        return dict.fromkeys(asked, _NONE)
    rows = np.arange(len(scores))
    return {
        name: Numbers(rows=rows, values=measured.values[name](scores, terms.largest_loss))
        for name in asked
    }


def _of_swapped_words(
    context: RequestContext, adapter: Vector, part: Records, scores: NDArray[np.float64]
) -> dict[str, Numbers]:
    charter = context.charter
    terms = terms_of(charter)
    found: dict[str, Numbers] = {}
    for words in terms.counterfactuals or ():
        found |= swapped_numbers(
            words,
            part,
            scores,
            score=partial(score_texts, context.workbench.learner, adapter),
            measured=find_task(charter.model.task).measured(charter.data.labels),
            threshold=charter.privacy.evaluation.threshold,
            largest_loss=terms.largest_loss,
        )
    return found


def swapped_numbers(
    words: CounterfactualTerms,
    part: Records,
    scores: NDArray[np.float64],
    *,
    score: Callable[[Sequence[Content]], NDArray[np.float64]],
    measured: Measured,
    threshold: float,
    largest_loss: float,
) -> dict[str, Numbers]:
    """Return each change of a list of words, of the records that hold one of them.

    Guarantee: as many texts are scored as there are records, whatever words they hold.

    Args:
        words: the charter's list.
        part: the records.
        scores: of the records as they are, shape (n,) or (n, columns).
        score: the model.
        measured: what the task measures.
        threshold: of the charter's decision.
        largest_loss: nats at which a loss is cut.
    """
    if not len(part.texts):
        return {f"{words.name}_{name}": _NONE for name in words.count}
    swap = WordSwap(words.swaps)
    changed = [rewritten(text, swap) for text in part.texts]
    held = np.array([new != old for new, old in zip(changed, part.texts, strict=True)])
    scored = Scored(
        measured=measured,
        targets=part.labels,
        before=scores,
        # Of every record, also where nothing was swapped: the time that this takes is seen.
        after=score(changed),
        threshold=threshold,
        largest_loss=largest_loss,
    )
    found = {}
    for name in words.count:
        values = find_change(name).of(scored)
        told = held & ~np.isnan(values)
        found[f"{words.name}_{name}"] = Numbers(rows=np.flatnonzero(told), values=values[told])
    return found


def _of_answers(context: RequestContext, adapter: Vector, part: Records) -> dict[str, Numbers]:
    terms = terms_of(context.charter).generation
    if not terms.asked:
        return {}
    scorers: dict[str, Scoring] = {find_scorer(one).name: find_scorer(one) for one in terms.scorers}
    for pinned, folder in context.classifiers.items():
        scorers[pinned.name] = classifier_of(folder, pinned)
    rows = chosen_rows(part.texts, share=_share(context), salt=context.charter.data.split_salt)
    found = answers(
        context.workbench.learner,
        adapter,
        [part.texts[row] for row in rows],
        most=terms.max_new_tokens,
    )
    numbers = {}
    for name, scorer in scorers.items():
        scores = [score_of(scorer, said, reference=own) for said, own in found]
        numbers[name] = Numbers(rows=rows, values=np.array(scores, dtype=np.float64))
    return numbers


def chosen_rows(texts: Sequence[Content], *, share: float, salt: str) -> NDArray[np.intp]:
    """Return which records are answered: each by its own words, as if by chance.

    Guarantee: whether a record is chosen follows from it and public facts. "The first 200" would
    not do: one record more would push out another, and two would change their part.
    """
    lots = [int(digest([f"answered/{salt}", text])[:16], 16) / 2.0**64 for text in texts]
    return np.flatnonzero(np.array(lots) < share)


def _share(context: RequestContext) -> float:
    """Return the share of held-out records that are answered, from public numbers."""
    charter = context.charter
    member, held_out = charter.member(context.site), charter.data.holdout_fraction
    declared = member.declared_records if member else 0
    expected = declared / (1.0 - held_out) * held_out
    return terms_of(charter).generation.records / max(expected, 1.0)
