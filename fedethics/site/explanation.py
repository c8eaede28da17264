"""The sums of score changes at a site: each held-out record changed and scored again.

One more pass over the held-out records for each column left out and each other group's word, once a
run. Texts are scored in portions, so that memory does not grow with the number of columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fedethics import charter_sums
from fedethics.data.content import Content
from fedethics.data.rendering import occluded_scores, swapped_scores
from fedethics.fairness.tabulate import tabulate_explanation
from fedethics.site.request_context import RequestContext
from fedethics.training.learner import Learner

_PORTION = 512


def explain(
    context: RequestContext, adapter: NDArray[np.float32], scores: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the site's sums of changes, without noise, shape (layout.explained.length,).

    Sensitive: the caller adds this site's share of the noise before anything leaves.

    Args:
        context: the site.
        adapter: the model, shape (p,).
        scores: of the held-out records as they are, shape (n,).
    """
    layout = charter_sums.layout_of(context.charter)
    part, data = context.workbench.records.held_out, context.charter.data
    score = partial(score_texts, context.workbench.learner, adapter)
    occluded = {
        column: occluded_scores(score, part, data, scores, column)
        for column in layout.explained.columns
    }
    swaps = {
        feature.name: swapped_scores(score, part, data, scores, feature.name)
        for feature in layout.explained.swaps
    }
    return tabulate_explanation(
        layout, groups=part.groups, scores=scores, occluded=occluded, swapped=swaps
    )


def score_texts(
    learner: Learner, adapter: NDArray[np.float32], texts: Sequence[Content]
) -> NDArray[np.float64]:
    """Return the score of each text, float64, (n,) or (n, columns); what overflows counts as 0.

    Guarantee: no text is an error. One that cannot be put into tokens is scored as one that does
    not fit; each is computed by itself, so that none waits for the proof of a shape.

    Args:
        learner: the model.
        adapter: its vector.
        texts: made from records: with words left out or swapped, or unchanged.
    """
    found = [
        learner.scores(adapter, learner.derived(texts[start : start + _PORTION], records=_PORTION))
        for start in range(0, len(texts), _PORTION)
    ]
    scores = np.concatenate(found) if found else np.zeros(0)
    # As for the tables: an error would tell of one record without noise.
    return np.where(np.isfinite(scores), scores, 0.0)
