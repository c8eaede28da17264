"""Which words of a public list go with a group, before a model learns it.

For each word and group, the share of the group's records that hold the word is compared with that
of all other records. With a of n records in the group and b of m in the others, a m - b n has mean
0 where the shares are equal, whatever noise did to n and m. Its variance is that of the sample,
n m (n + m) p (1 - p), with p the pooled share by Wilson's centre, and that of the noise to first
order. Two-sided p-values of the normal approximation; then Holm's steps (1979) or those of
Benjamini and Hochberg (1995) over all pairs of word and group.

The log odds ratio next to it is put together from the intervals of both shares (square-and-add,
Zou and Donner 2008).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fedethics.aggregates.census.opened import OpenedCensus
from fedethics.charter.census_terms import CensusWords, Multiplicity
from fedethics.fairness import Estimate
from fedethics.fairness.estimate import Bands, bounded_mean, differences, estimated
from fedethics.fairness.explained import FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class WordOfGroup:
    """How one word goes with one group.

    Attributes:
        log_odds: of the word in the group, over the others; natural logarithm, above 0 where the
            group's records hold it more often.
        p: that shares as unlike as these, or more so, come by chance.
        found: whether it stands after all words and groups were allowed for.
    """

    word: str
    group: str
    log_odds: Estimate
    p: float
    found: bool


def words_of_groups(census: OpenedCensus) -> tuple[WordOfGroup, ...]:
    """Return every pair of word and group, by word; empty where no words are counted.

    Of two groups the second is the first's mirror image, and only the first is looked at.
    """
    terms, layout = census.terms.vocabulary, census.layout
    if terms is None or not layout.words or len(layout.by) < 2:
        return ()
    looked_at = range(1 if len(layout.by) == 2 else len(layout.by))
    pairs = [(word, group) for word in range(len(layout.words)) for group in looked_at]
    values = np.array([_p_value(census, word, group) for word, group in pairs])
    found = rejected(values, terms.multiplicity, level=terms.level)
    return tuple(
        WordOfGroup(
            word=layout.words[word],
            group=layout.by[group],
            log_odds=_log_odds(census, word, group),
            p=float(p),
            found=bool(stands),
        )
        for (word, group), p, stands in zip(pairs, values, found, strict=True)
    )


def rejected(
    p: FloatArray, method: Multiplicity, *, level: float
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which of the p-values, shape (n,), stand after a step-wise correction."""
    order, count = np.argsort(p, kind="stable"), len(p)
    steps = np.arange(1, count + 1)
    if method == "holm":
        passes = p[order] <= level / (count + 1 - steps)
        last = count if passes.all() else int(np.argmin(passes))
    else:
        below = np.flatnonzero(p[order] <= level * steps / count)
        last = int(below[-1]) + 1 if below.size else 0
    found = np.zeros(count, dtype=np.bool_)
    found[order[:last]] = True
    return found


def adjusted_words(terms: CensusWords) -> str:
    """Return what the correction bounds, in words."""
    if terms.multiplicity == "holm":
        return f"Holm's steps, so that any false word among them has a chance of {terms.level:g}"
    return (
        "the steps of Benjamini and Hochberg, so that of the words that stand a share of "
        f"{terms.level:g} is expected to be false"
    )


def _parts(census: OpenedCensus, word: int, group: int) -> tuple[float, float, float, float]:
    """Return records with the word and all records: of the group, and of the others."""
    held, (people, _) = census.blocks["words", ""][word], census.of_by()
    own, all_own = float(held[group]), float(people[group])
    return own, all_own, float(held.sum()) - own, float(people.sum()) - all_own


def _p_value(census: OpenedCensus, word: int, group: int) -> float:
    from scipy.special import ndtr  # here: it takes half a second to import

    a, n, b, m = _parts(census, word, group)
    if min(n, m) < 2 * math.sqrt(census.of_by()[1]) or min(n, m) <= 0:
        return 1.0
    z = census.z
    pooled = min(max(a + b, 0.0) + z * z / 2, n + m + z * z / 2) / (n + m + z * z)
    others = len(census.layout.by) - 1
    people = census.of_by()[1]
    spread = n * m * (n + m) * pooled * (1 - pooled)
    spread += census.variance * (m * m + others * n * n) + people * (b * b + others * a * a)
    return float(2 * ndtr(-abs(a * m - b * n) / math.sqrt(spread)))


def _log_odds(census: OpenedCensus, word: int, group: int) -> Estimate:
    a, n, b, m = _parts(census, word, group)
    others = len(census.layout.by) - 1
    first, second = (
        _logit(census, held, people, many) for held, people, many in ((a, n, 1), (b, m, others))
    )
    with np.errstate(invalid="ignore"):  # an infinite end less another
        value, low, high = (float(side[0, 0]) for side in differences(first, second))
    confidence = census.terms.confidence
    if not math.isfinite(value):
        note = "none of the records of one side is seen to hold it"
        return Estimate(
            value=math.nan, low=-math.inf, high=math.inf, confidence=confidence, note=note
        )
    # The end that noise or a lack of records leaves open.
    low = -math.inf if math.isnan(low) else low
    high = math.inf if math.isnan(high) else high
    return estimated(value, low, high, confidence=confidence)


def _logit(census: OpenedCensus, held: float, people: float, many: int) -> Bands:
    bands = bounded_mean(
        np.array([held]), np.array([people]), total_noise=many * census.variance,
        people_noise=many * census.of_by()[1], most=1.0, z=census.z,
    )  # fmt: skip
    with np.errstate(divide="ignore"):
        inside = [np.clip(side, 0.0, 1.0) for side in bands]
        return Bands(*(np.log(side) - np.log1p(-side) for side in inside))
