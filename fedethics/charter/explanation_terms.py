"""What is asked of the model's reasons: which columns it leans on, and what a swapped word changes.

Records are rows told as text. Leaving a column's phrase out and scoring again shows how much the
score leans on it; writing the other group's word shows how much a decision hangs on that word. The
sums of both belong to the group tables of the last round and share their budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fedethics.charter.data_terms import Column, DataTerms, SensitiveColumn
from fedethics.terms import term

# A change of `largest-change` counts as this many steps; a change below half a step as none.
STEPS = 64
EVERY_TOLD_COLUMN = "*"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplanationTerms:
    """Sums of score changes over the held-out records of the last round; off by default.

    Attributes:
        columns: columns to leave out, one at a time; "*" alone for every told column.
        by: sensitive feature whose groups are summed apart; empty for everyone together. Each
            group's sum has noise of its own, so everyone's figure has that many times more.
        swap: sensitive features whose word is swapped for that of each other group.
        largest_change: a record's change of score counts up to this much. Less means less noise
            and an importance that is cut for the records that change more.
        effect_ratio: standard deviation of the noise on a sum of changes, a change of
            `largest-change` counting 1, relative to `privacy.evaluation.counts-ratio` and its like.
        flip_ratio: the same for counts of decisions that flip.
    """

    columns: tuple[str, ...] = term(default=())
    by: str = term(default="")
    swap: tuple[str, ...] = term(default=())
    largest_change: float = term(default=0.5, at_least=1e-3, at_most=1)
    effect_ratio: float = term(default=4.0, at_least=0.01, at_most=16)
    flip_ratio: float = term(default=2.0, at_least=0.01, at_most=16)

    @property
    def asked(self) -> bool:
        """Whether anything is explained at all."""
        return bool(self.columns or self.swap)

    def occluded(self, data: DataTerms) -> tuple[str, ...]:
        """Return the columns to leave out, in the order of the text."""
        told = tuple(column.name for column in data.columns if column.phrase)
        if self.columns == (EVERY_TOLD_COLUMN,):
            return told
        return tuple(name for name in told if name in self.columns)

    def changes(self, data: DataTerms) -> int:
        """Return how many sums of score changes one record can enter."""
        return len(self.occluded(data)) + len(self.swap)

    def problems(self) -> list[str]:
        """Check what spans fields."""
        found: list[str] = []
        for name, values in (("columns", self.columns), ("swap", self.swap)):
            if len(set(values)) < len(values):
                found.append(f"{name}: a name stands twice")
        if EVERY_TOLD_COLUMN in self.columns and len(self.columns) > 1:
            found.append(f'columns: "{EVERY_TOLD_COLUMN}" means all of them and stands alone')
        if self.by and not self.columns:
            found.append("by: nothing is left out, so nothing can be told by group")
        return found


def stand_ins(feature: SensitiveColumn, column: Column) -> dict[str, str]:
    """Return the raw value that stands for each group: the first declared one that is in it."""
    found: dict[str, str] = {}
    for raw in column.choices:
        found.setdefault(feature.merged.get(raw, raw), raw)
    return found


def explanation_problems(terms: ExplanationTerms, data: DataTerms) -> Iterator[str]:
    """Yield what the data cannot answer: columns nobody tells, words that cannot be swapped."""
    told = {column.name for column in data.columns if column.phrase}
    named = set(terms.columns) - {EVERY_TOLD_COLUMN}
    for name in sorted(named - told):
        yield f"columns: {name!r} is not told in the text, so the model never reads it"
    if terms.columns and len(told) < 2:
        yield (
            f"columns: {', '.join(sorted(told)) or 'no column'} is all that the model reads; "
            "leaving it out leaves nothing to judge. Explanations of free text by its words are "
            "not built"
        )
    features = {feature.name: feature for feature in data.sensitive}
    if terms.by and terms.by not in features:
        yield f"by: {terms.by!r} is not a sensitive feature"
    for name in terms.swap:
        if name not in features:
            yield f"swap: {name!r} is not a sensitive feature"
        else:
            yield from _swap_problems(features[name], data)


def _swap_problems(feature: SensitiveColumn, data: DataTerms) -> Iterator[str]:
    column = next((one for one in data.columns if one.name == feature.column), None)
    if column is None:
        return  # said by the schema
    if column.kind != "category" or feature.edges:
        yield (
            f"swap: {feature.name!r} is read from {column.name!r}, which is no category; only a "
            "word can be swapped for another"
        )
        return
    if not column.phrase:
        yield (
            f"swap: {feature.name!r} is read from {column.name!r}, which is not told in the text; "
            "no word says it, so swapping would change nothing and prove nothing"
        )
    wordless = sorted(set(feature.groups) - set(stand_ins(feature, column)))
    if wordless or len(feature.groups) < 2:
        yield (
            f"swap: {feature.name!r} needs two groups or more, each named by a declared value of "
            f"{column.name!r}; without one: {', '.join(wordless) or 'the other group'}"
        )
