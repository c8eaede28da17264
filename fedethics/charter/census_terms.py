"""Who is in the data, counted before anything is trained: by group and label, over all sites.

The counts are one sum with an epsilon of its own. They are compared with a reference population,
whose shares people wrote down with where they found them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fedethics.charter.data_terms import FEATURE, NOT_RECORDED, DataTerms
from fedethics.charter.privacy_terms import LARGEST_EPSILON, PrivacyTerms
from fedethics.charter.spelling import pair_problem, shown_pair
from fedethics.terms import term

Multiplicity: TypeAlias = Literal["holm", "benjamini-hochberg"]
MOST_WORDS = 500
_MOST_EDGES = 50
_LONGEST_WORD = 64
# Shares may be rounded to a tenth of a percent.
_ROUNDED = 0.005


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceTerms:
    r"""Shares of a feature's groups in the population that the model is for.

    Attributes:
        feature: a sensitive feature.
        shares: each `group=share`, for each group but "not recorded"; they add up to 1. An "=" in
            the group itself is written "\=".
        source: where the shares come from, printed with them.
    """

    feature: str = term(pattern=FEATURE)
    shares: tuple[str, ...] = term(nonempty=True, pattern=r".+=.+")
    source: str = term(nonempty=True, prose=True)

    @property
    def by_group(self) -> Mapping[str, float]:
        """Share by group."""
        return {group: float(share) for group, share in map(shown_pair, self.shares)}

    def problems(self) -> list[str]:
        """Refuse what is no share, and shares that do not add up."""
        faults = [f"shares: {fault}" for fault in map(pair_problem, self.shares) if fault]
        pairs = [] if faults else [shown_pair(entry) for entry in self.shares]
        for group, share in pairs:
            if not _is_share(share):
                faults.append(f"shares: {group}={share} is no number between 0 and 1")
        if faults:
            return faults
        if len({group for group, _ in pairs}) < len(pairs):
            return ["shares: a group is listed twice"]
        total = math.fsum(self.by_group.values())
        if abs(total - 1) > _ROUNDED:
            return [f"shares: they add up to {total:g}; every person is in one group, so to 1"]
        return []


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True, slots=True)
class CensusWords:
    """Public words of which it is counted how many records of each group hold them.

    Attributes:
        words: whole words, found in small and capital letters alike; at most 500.
        of_a_record: so many of the words that a record holds are counted, the first of the list.
            More of them need more noise.
        multiplicity: how it is allowed for that many words are looked at: "holm" bounds the chance
            of any false word, "benjamini-hochberg" the expected share of false ones.
        level: of that chance or share.
    """

    words: tuple[str, ...] = term(nonempty=True)
    of_a_record: int = term(default=4, at_least=1, at_most=64)
    multiplicity: Multiplicity = term(default="holm")
    level: float = term(default=0.05, above=0, at_most=0.5)

    def problems(self) -> list[str]:
        """Refuse words that are listed twice, and what is no word."""
        found = []
        if len({word.casefold() for word in self.words}) < len(self.words):
            found.append("words: a word is listed twice; small and capital letters are found alike")
        found += [
            f"words: {word!r} has a blank at an end, or nothing else"
            for word in self.words
            if word != word.strip() or not word
        ]
        if len(self.words) > MOST_WORDS:
            found.append(f"words: {len(self.words)} of them; at most {MOST_WORDS} are counted")
        if max(map(len, self.words), default=0) > _LONGEST_WORD:
            found.append(f"words: one is longer than {_LONGEST_WORD} characters")
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class CensusTerms:
    """One sum over all records that a run uses, opened before the first step.

    Attributes:
        labels: whether each group is counted by label. A group's size is then a sum over labels,
            with as many times the noise's variance.
        by: sensitive feature by whose groups missing values, lengths and words are counted; empty
            for everyone together.
        missing: columns whose missing values are counted.
        lengths: inner edges, in characters, of the bins in which texts are counted; empty for none.
        sites_from: each site adds 1 for each group of which it has this many records; absent where
            nobody counts such sites.
        minimum: records of each group that a release needs; absent for no bar.
        largest_difference: how far a group's share may be from the reference; absent for no bar.
        confidence: of each interval.
        epsilon: what the sum costs each record, out of `privacy.training.epsilon` or
            `privacy.evaluation.epsilon`, whichever it pays from.
        reference: the population that the model is for, by feature.
        vocabulary: words that may go with a group.
        stop: whether the coordinator ends the run, before anything is trained, where a bar of the
            census is shown to be missed.
    """

    labels: bool = term(default=True)
    by: str = term(default="")
    missing: tuple[str, ...] = term(default=())
    lengths: tuple[int, ...] = term(default=(), at_least=1)
    sites_from: int | None = term(default=None, at_least=1)
    minimum: int | None = term(default=None, at_least=1)
    largest_difference: float | None = term(default=None, above=0, below=1)
    confidence: float = term(default=0.95, at_least=0.5, at_most=0.999)
    epsilon: float = term(default=0.25, at_least=0.02, at_most=LARGEST_EPSILON)
    reference: tuple[ReferenceTerms, ...] = term(default=())
    vocabulary: CensusWords | None = term(default=None)
    stop: bool = term(default=False)

    def problems(self) -> list[str]:
        """Refuse bars that nothing could be compared with, and bins that are none."""
        found = []
        if list(self.lengths) != sorted(set(self.lengths)):
            found.append("lengths: edges must increase")
        if len(self.lengths) > _MOST_EDGES:
            found.append(f"lengths: {len(self.lengths)} edges; at most {_MOST_EDGES}")
        if len(set(self.missing)) < len(self.missing):
            found.append("missing: a column is listed twice")
        features = [one.feature for one in self.reference]
        if len(set(features)) < len(features):
            found.append("reference: a feature has two references")
        if self.largest_difference is not None and not self.reference:
            found.append("largest-difference: there is no reference to differ from")
        if self.stop and self.minimum is None and self.largest_difference is None:
            found.append("stop: no bar is set that could be missed; give minimum, or a reference")
        return found

    def of(self, feature: str) -> ReferenceTerms | None:
        """Return the reference of a feature, where there is one."""
        return next((one for one in self.reference if one.feature == feature), None)


def census_rule(census: CensusTerms, data: DataTerms, privacy: PrivacyTerms) -> Iterator[str]:
    """Yield what is wrong between the census, the schema and the budgets."""
    yield from _schema_problems(census, data)
    training, evaluation = privacy.training, privacy.evaluation
    for name, terms in (("training", training), ("evaluation", evaluation)):
        if terms.mechanism != "none" and census.epsilon >= terms.epsilon:
            yield (
                f"census.epsilon {census.epsilon:g} uses up privacy.{name}.epsilon "
                f"{terms.epsilon:g}"
            )
    if training.mechanism != "none" and evaluation.mechanism == "none":
        yield (
            "census counts trained records with the noise of privacy.evaluation.mechanism, which "
            'is "none": the training would not be differentially private'
        )


def _schema_problems(census: CensusTerms, data: DataTerms) -> Iterator[str]:
    features = {feature.name: feature.groups for feature in data.sensitive}
    if census.by and census.by not in features:
        yield f"census.by: {census.by!r} is not a sensitive feature"
    if census.vocabulary is not None and not census.by:
        yield "census.vocabulary: census.by names no feature whose groups words could go with"
    columns = {column.name: column for column in data.columns}
    for name in census.missing:
        if name not in columns:
            yield f"census.missing: {name!r} is not among data.columns"
        elif not columns[name].may_be_nothing:
            yield (
                f"census.missing: a row without {name!r} is left out (on-empty = "
                '"drop-row"), so no record that is used lacks it. Set on-empty = "say"'
            )
    for index, reference in enumerate(census.reference):
        for problem in _reference_problems(reference, features):
            yield f"census.reference[{index}].{problem}"


def _reference_problems(
    reference: ReferenceTerms, features: Mapping[str, tuple[str, ...]]
) -> Iterator[str]:
    if reference.feature not in features:
        yield f"feature: {reference.feature!r} is not a sensitive feature"
        return
    if reference.problems():
        return
    groups = {group for group in features[reference.feature] if group != NOT_RECORDED}
    if unknown := sorted(set(reference.by_group) - groups):
        yield f"shares: {', '.join(unknown)} is no group of {reference.feature}"
    if absent := sorted(groups - set(reference.by_group)):
        yield f"shares: {', '.join(absent)} has no share; write 0 for nobody"
