"""The noise on sums of score changes, and what releasing them costs a held-out unit.

A row moves one sum for each column left out and one for each feature swapped, each by at most
`STEPS`, and one count of flips for each feature swapped. The noise of the sums is independent, so
all of them cost what as many releases cost in each of which one entry moves by `STEPS`; an entry
that moves by less costs less, since the noise is log-concave: the best test stays a threshold, and
its power grows with the shift (`integer_loss` has the same argument for several rows of one unit).
"""

from __future__ import annotations

from dataclasses import dataclass

from fedethics.charter.ethics_terms import STEPS, ExplanationTerms
from fedethics.charter.model import Charter
from fedethics.privacy.calibration import LARGEST
from fedethics.privacy.events import CountMechanism, Event, NonPrivate, count_mechanism


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplanationNoise:
    """Standard deviations on which the guarantee rests, and the events of one release.

    Attributes:
        effects_std: on each sum of changes, in steps; 0.0 where there are none.
        flips_std: on each count of flips; 0.0 where there are none.
        events: what one release of all of them costs; empty where there are none.
    """

    effects_std: float
    flips_std: float
    events: tuple[Event, ...]


def explanation_noise(charter: Charter, base: float, *, shares: int) -> ExplanationNoise:
    """Return the noise at the common `base` of all evaluation noise, and its cost.

    Args:
        charter: the agreed terms.
        base: standard deviation that the charter's ratios are relative to.
        shares: sites whose noise together carries the guarantee.
    """
    terms, data = charter.ethics.explanation, charter.data
    changes, flips = terms.changes(data), len(terms.swap)
    effects_std = terms.effect_ratio * base * STEPS if changes else 0.0
    flips_std = terms.flip_ratio * base if flips else 0.0
    events = tuple(
        _event(charter, std=std, entries=entries, most=most, shares=shares)
        for std, entries, most in ((effects_std, changes, STEPS), (flips_std, flips, 1))
        if entries
    )
    return ExplanationNoise(effects_std=effects_std, flips_std=flips_std, events=events)


def largest_base(terms: ExplanationTerms, mechanism: type[CountMechanism]) -> float:
    """Return the largest base whose noise the accountant knows, counted in fine steps."""
    if not terms.asked:
        return LARGEST
    return 0.99 * mechanism.largest_std / (terms.effect_ratio * STEPS)


def _event(charter: Charter, *, std: float, entries: int, most: int, shares: int) -> Event:
    mechanism = charter.privacy.evaluation.mechanism
    if mechanism == "none":
        return NonPrivate('privacy.evaluation.mechanism = "none"')
    return count_mechanism(mechanism).of(
        std=std,
        shares=shares,
        releases=entries,
        sensitivity=most * charter.data.max_rows_per_person,
    )
