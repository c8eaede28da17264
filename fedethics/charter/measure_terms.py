"""What is measured of a held-out text besides the group tables: numbers between two bounds.

A measure is a number of one record: the share of its tokens that the model guesses, its loss cut at
a bound. Its mean over all sites, by group, follows from one sum, which has an epsilon of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from fedethics.charter.classifier_terms import ClassifierTerms
from fedethics.charter.data_terms import DataTerms
from fedethics.charter.privacy_terms import LARGEST_EPSILON, PrivacyTerms
from fedethics.charter.training_terms import ModelTerms
from fedethics.counterfactuals import Pair, change_names, clashes, find_change, pairs_of
from fedethics.errors import FairnessError
from fedethics.learning_tasks import find_task
from fedethics.learning_tasks.task import Bounded
from fedethics.scorers import find_scorer
from fedethics.terms import term

_MOST_WORDS: Final = 500
_LONGEST_WORD: Final = 64
# So many words of a record are left out of it, one at a time: always as many texts are scored.
WORDS_OF_A_RECORD: Final = 16
# A number is counted in so many steps from the least to the greatest possible one.
GRID: Final = 256
Combine: TypeAlias = Literal["", "difference", "ratio", "group_min", "group_max"]
COMBINES: Final[tuple[Combine, ...]] = ("difference", "ratio", "group_min", "group_max")
# A comparison can be asked one way only: the other would reward disparity.
_SENSE: Final = {
    "difference": "at-most", "ratio": "at-least", "group_min": "at-least", "group_max": "at-most",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureObjective:
    """A bar for the mean of a measure, over everyone or between groups.

    Attributes:
        metric: a measure; or one with _difference, _ratio, _group_min or _group_max behind it, over
            the groups of `measures.feature`.
        bar: the value not to cross, in the measure's own unit.
        direction: which side of the bar is good.
        confidence: level of the interval that must lie on the good side.
        why: the reason in plain words, printed in every report.
    """

    metric: str = term(nonempty=True)
    bar: float = term()
    direction: Literal["at-most", "at-least"] = term()
    confidence: float = term(default=0.95, above=0.5, below=1.0)
    why: str = term(nonempty=True, prose=True)

    def parts(self) -> tuple[str, Combine]:
        """Return the measure, and how its groups are put together; empty for everyone."""
        for combine in COMBINES:
            if self.metric.endswith(f"_{combine}"):
                return self.metric.removesuffix(f"_{combine}"), combine
        return self.metric, ""


def _scorer_problem(pinned: object) -> str:
    try:
        find_scorer(str(pinned))
    except FairnessError as error:
        return str(error)
    return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationTerms:
    """What the finished model writes for held-out prompts, and what judges it; off by default.

    Attributes:
        scorers: names with versions, for example "rouge_l/1", that every site has installed.
        max_new_tokens: of one answer; each next token is the likeliest one.
        records: about how many held-out records of a site are answered. Which they are follows
            from each record's own words, so that one more or less changes no other's part.
        classifiers: text classifiers in a folder at each site, pinned by their hash.
    """

    scorers: tuple[str, ...] = term(default=(), check=_scorer_problem)
    max_new_tokens: int = term(default=32, at_least=1, at_most=1024)
    records: int = term(default=200, at_least=1, at_most=100_000)
    # Absent and not empty, so that charters of before keep their hash.
    classifiers: tuple[ClassifierTerms, ...] | None = term(default=None, nonempty=True)

    @property
    def asked(self) -> bool:
        """Whether any answer is generated."""
        return bool(self.scorers or self.classifiers)

    def problems(self) -> list[str]:
        """Refuse a scorer that is asked for twice."""
        names = [find_scorer(pinned).name for pinned in self.scorers]
        found = ["scorers: one is listed twice"] if len(set(names)) < len(names) else []
        names += [one.name for one in self.classifiers or ()]
        if not found and len(set(names)) < len(names):
            found.append("classifiers: two scorers have the same name")
        return found

    def bounded(self) -> dict[str, Bounded]:
        """Return each scorer as a measure, by its name."""
        scorers = [find_scorer(pinned) for pinned in self.scorers]
        own = {one.name: Bounded(meaning=one.meaning, binary=one.binary) for one in scorers}
        return own | {one.name: one.bounded() for one in self.classifiers or ()}


def _pair_problem(entry: object) -> str:
    if pairs_of(str(entry)):
        return ""
    return (
        f"{entry!r} is no pair of words: write 'he/she' to swap both ways, or 'his>her' to write "
        "the second for the first alone"
    )


def _change_problem(name: object) -> str:
    try:
        find_change(str(name))
    except FairnessError as error:
        return str(error)
    return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CounterfactualTerms:
    """Words that are swapped in all that the model reads of a record, and what is compared then.

    Attributes:
        name: of the list; the measures are called by it, for example "gender_flips".
            At most 500 entries in all, each word of at most 64 characters.
        pairs: "he/she" swaps both ways, "his>her" writes the second word for the first alone.
            Whole words, in the case that they are written in; no character has a special meaning.
        first, second: two lists of as many names; each name is swapped for the one at its place.
        count: changes that are measured: "flips" (of decisions or chosen answers) and
            "loss_change" (nats, either way, cut at `measures.largest-loss`).
    """

    name: str = term(pattern=r"[a-z][a-z0-9_]{0,31}")
    pairs: tuple[str, ...] = term(default=(), check=_pair_problem)
    first: tuple[str, ...] = term(default=(), nonempty=False)
    second: tuple[str, ...] = term(default=(), nonempty=False)
    count: tuple[str, ...] = term(check=_change_problem)

    @property
    def swaps(self) -> tuple[Pair, ...]:
        """Return each word and its stand-in, both ways where the charter says so."""
        listed = [pair for entry in self.pairs for pair in pairs_of(entry)]
        both = zip(self.first, self.second, strict=True)
        return (*listed, *(way for a, b in both for way in (Pair(a, b), Pair(b, a))))

    def problems(self) -> list[str]:
        """Refuse lists that do not pair, words with two stand-ins, and what is listed twice."""
        if len(self.first) != len(self.second):
            return [
                f"first has {len(self.first)} names and second {len(self.second)}: each is swapped "
                "for the one at its place"
            ]
        if too_many := self._too_many():
            return [too_many]
        found = [
            f"first, second: {one!r} is swapped for {two!r}: two different words are needed, "
            "without blanks at an end"
            for one, two in zip(self.first, self.second, strict=True)
            if one == two or not one or not two or one != one.strip() or two != two.strip()
        ]
        if not self.pairs and not self.first:
            found.append("pairs: no word is listed")
        if not self.count or len(set(self.count)) < len(self.count):
            found.append(f"count: name each of {', '.join(change_names())} at most once")
        return found or [f"pairs: {clash}" for clash in clashes(self.swaps)]

    def _too_many(self) -> str:
        listed = len(self.pairs) + len(self.first)
        if listed > _MOST_WORDS:
            return f"pairs, first: {listed} entries; at most {_MOST_WORDS} are swapped"
        longest = max((len(word) for pair in self.swaps for word in pair), default=0)
        if longest > _LONGEST_WORD:
            return (
                f"pairs, first, second: a word of {longest} characters; at most {_LONGEST_WORD} "
                "are swapped"
            )
        return ""

    def bounded(self, largest_loss: float) -> dict[str, Bounded]:
        """Return each change as a measure, by its name."""
        return {
            f"{self.name}_{name}": find_change(name).bounded(self.name, largest_loss=largest_loss)
            for name in self.count
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class VocabularyTerms:
    """Public words of which it is summed how much each moves the answers of held-out records.

    Attributes:
        words: whole words, found in the case that they are written in; at most 500, of at most 64
            characters. Of one record at most 16 are scored.
        largest_change: of a score; what all words of one record move together counts up to this.
        ratio: noise on these sums over that on the sums of the measures, for the same movement.
    """

    words: tuple[str, ...] = term(nonempty=True)
    largest_change: float = term(default=0.5, at_least=1e-3, at_most=1)
    ratio: float = term(default=1.0, at_least=0.1, at_most=16)

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
        if len(self.words) > _MOST_WORDS:
            found.append(f"words: {len(self.words)} of them; at most {_MOST_WORDS} are scored")
        longest = max(map(len, self.words), default=0)
        if longest > _LONGEST_WORD:
            found.append(
                f"words: one of {longest} characters; at most {_LONGEST_WORD} are looked for"
            )
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureTerms:
    """Numbers between two bounds that are measured of each held-out record in the last round.

    Attributes:
        names: the task's measures, for example "token_accuracy" and "token_loss".
        feature: sensitive feature whose groups are summed apart; empty for everyone together.
        largest_loss: nats at which a loss, and a margin, is cut. It is fixed before the run: a
            mean of an unbounded number cannot be protected by noise. The noise grows with it.
        spread_ratio: noise on the sums that tell how far the numbers are spread, over that on the
            sums of the numbers. They move by at most as much.
        epsilon: what the sum costs each held-out unit, out of `privacy.evaluation.epsilon`.
        generation: whether and how answers are generated and scored.
        objectives: bars that the release is held to.
        counterfactuals: words that are swapped, and what is compared.
        vocabulary: words of which it is summed how much they move the answers.
    """

    names: tuple[str, ...] = term(default=())
    feature: str = term(default="")
    largest_loss: float = term(default=4.0, at_least=0.01, at_most=100)
    spread_ratio: float = term(default=2.0, at_least=0.1, at_most=16)
    epsilon: float = term(default=1.0, at_least=0.02, at_most=LARGEST_EPSILON)
    generation: GenerationTerms = term(default=GenerationTerms())
    objectives: tuple[MeasureObjective, ...] = term(default=())
    # Absent and not empty, so that charters of before keep their hash.
    counterfactuals: tuple[CounterfactualTerms, ...] | None = term(default=None)
    vocabulary: VocabularyTerms | None = term(default=None)

    def problems(self) -> list[str]:
        """Refuse what could not be counted."""
        found = []
        others = self.generation.asked or self.counterfactuals or self.vocabulary
        if not self.names and not others:
            found.append(
                "names: nothing is measured; name a measure or a scorer, or leave the table out"
            )
        if len(set(self.names)) < len(self.names):
            found.append("names: a measure is listed twice")
        lists = [one.name for one in self.counterfactuals or ()]
        if len(set(lists)) < len(lists):
            found.append("counterfactuals: two lists have the same name")
        return found

    def clashes(self, task: str) -> list[str]:
        """Return each name that two measures have, or one and what compares another's groups.

        All measures of the task count, asked for or not.
        """
        names = [*find_task(task).values]
        names += [find_scorer(pinned).name for pinned in self.generation.scorers]
        names += [one.name for one in self.generation.classifiers or ()]
        names += [
            name
            for words in self.counterfactuals or ()
            for name in words.bounded(self.largest_loss)
        ]
        compared = {f"{name}_{combine}" for name in names for combine in COMBINES}
        return sorted({name for name in names if names.count(name) > 1 or name in compared})

    def bounded(self, task: str) -> dict[str, Bounded]:
        """Return the measures that are asked for and that a task has, by name, in their order."""
        known = find_task(task).values
        own = {name: known[name].cut_at(self.largest_loss) for name in self.names if name in known}
        swapped: dict[str, Bounded] = {}
        for words in self.counterfactuals or ():
            swapped |= words.bounded(self.largest_loss)
        return own | self.generation.bounded() | swapped


def measures_rule(
    measures: MeasureTerms, model: ModelTerms, data: DataTerms, privacy: PrivacyTerms
) -> Iterator[str]:
    """Yield what is wrong between the measures, the task, the groups and the budget."""
    known = measures.bounded(model.task)
    listed = ", ".join(find_task(model.task).values) or "none"
    for name in measures.names:
        if name not in known:
            yield (
                f"measures.names: {name!r} is no measure of model.task {model.task!r}; it has: "
                f"{listed}"
            )
    for name in measures.clashes(model.task):
        yield (
            f"measures: {name!r} would be the name of two things; rename the classifier or the "
            f"list of words (model.task {model.task!r} has the measures: {listed})"
        )
    if measures.generation.asked and not find_task(model.task).answers:
        yield (
            f"measures.generation.scorers: model.task {model.task!r} has no prompt that could be "
            "answered"
        )
    yield from _undecided(measures, model)
    features = {feature.name: feature for feature in data.sensitive}
    if measures.feature and measures.feature not in features:
        yield f"measures.feature: {measures.feature!r} is not a sensitive feature"
    evaluation = privacy.evaluation
    if evaluation.mechanism != "none" and measures.epsilon >= evaluation.epsilon:
        yield (
            f"measures.epsilon {measures.epsilon:g} leaves nothing of privacy.evaluation.epsilon "
            f"{evaluation.epsilon:g} for the group tables"
        )
    for index, objective in enumerate(measures.objectives):
        for problem in _objective_problems(objective, measures, known):
            yield f"measures.objectives[{index}]: {problem}"


def _undecided(measures: MeasureTerms, model: ModelTerms) -> Iterator[str]:
    decided = find_task(model.task).labelled
    if measures.vocabulary and not find_task(model.task).explained:
        yield (
            f"measures.vocabulary: model.task {model.task!r} learns whole texts and answers "
            "nothing, so no word moves an answer"
        )
    for words in measures.counterfactuals or ():
        for name in words.count:
            if find_change(name).decides and not decided:
                yield (
                    f"measures.counterfactuals.count: model.task {model.task!r} decides nothing of "
                    f'a record, so it has no {name!r}; count "loss_change"'
                )


def _objective_problems(
    objective: MeasureObjective, measures: MeasureTerms, known: dict[str, Bounded]
) -> Iterator[str]:
    name, combine = objective.parts()
    if name not in known:
        listed = ", ".join(known) or "none"
        yield (
            f"metric {objective.metric!r} is none of measures.names ({listed}), alone or with "
            f"_{', _'.join(COMBINES)} behind it"
        )
        return
    measure = known[name]
    if combine and not measures.feature:
        yield f"metric {objective.metric!r} compares groups, and measures.feature names none"
    if combine == "ratio" and measure.low != 0:
        yield f"metric {objective.metric!r}: {name} can be negative, so it has no ratio"
    width = measure.high - measure.low
    low, high = {"difference": (0.0, width), "ratio": (0.0, 1.0)}.get(
        combine, (measure.low, measure.high)
    )
    if not low <= objective.bar <= high:
        yield f"bar {objective.bar:g} for {objective.metric} is outside [{low:g}, {high:g}]"
    sense = _SENSE.get(combine, objective.direction)
    if objective.direction != sense:
        yield f"{objective.metric} can only be asked to be {sense} a bar"
