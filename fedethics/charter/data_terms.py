"""The charter's data schema: columns, a row as text, the label, sensitive features, the split."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from fedethics.charter.record_rules import Condition, RecordRule
from fedethics.charter.spelling import exact_number, pair_problem, shown_pair
from fedethics.terms import term

FEATURE = r"[a-z][a-z0-9_]{0,31}"
# The group of a value that is not there, where a charter declares it.
NOT_RECORDED = "not recorded"
# Characters of one cell; a file's reader takes no more, so no charter may ask for more.
MAX_CELL = 1_000_000
# From here on, two whole numbers may be the same floating-point number.
_EXACT_INTEGERS = 2.0**53


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    r"""One column of the site's table and its phrase in the text.

    Attributes:
        name: header in the file.
        kind: "number" is parsed and range-checked; "category" must be one of `values`; "text" is
            free text, read as it is.
        phrase: text with one `{value}`; empty keeps the column out of the text.
        values: allowed raw values of a category, each `raw` or `raw=shown in the text`; an "=" in
            the raw value itself is written "\=".
        minimum, maximum: plausible range of a number; a value outside is an error, not clipped.
        max_chars: longest text that is read; a longer one is an error; it is never cut without a
            message.
        not_recorded: raw values that mean "not recorded"; the text says so.
        on_empty: what an empty cell does: "drop-row" leaves the record out, counted in the
            site's own log; "say" writes the phrase with "not recorded".
    """

    name: str = term(nonempty=True)
    kind: Literal["number", "category", "text"] = term()
    phrase: str = term(default="", prose=True)
    values: tuple[str, ...] = term(default=())
    minimum: float = term(default=-1e9)
    maximum: float = term(default=1e9)
    max_chars: int = term(default=0, at_least=0, at_most=MAX_CELL)
    not_recorded: tuple[str, ...] = term(default=())
    on_empty: Literal["drop-row", "say"] = term(default="drop-row")

    def problems(self) -> list[str]:
        """Check what spans fields."""
        found: list[str] = []
        if self.phrase and self.phrase.count("{value}") != 1:
            found.append(f"phrase {self.phrase!r} needs exactly one {{value}}")
        if self.kind == "category" and not self.values:
            found.append("a category needs its values")
        if (self.kind == "text") != (self.max_chars > 0):
            found.append("max-chars above 0 goes with kind text, and a text needs it")
        if self.minimum >= self.maximum:
            found.append(f"minimum {self.minimum:g} is not below maximum {self.maximum:g}")
        found.extend(_value_problems(self))
        return found

    @property
    def choices(self) -> Mapping[str, str]:
        """Words for each allowed raw value of a category, in the charter's order."""
        return _choices(self.values)

    @property
    def readable(self) -> tuple[str, ...]:
        """The raw values of a category that a record can hold: those that are not "nothing"."""
        return tuple(raw for raw in self.choices if raw not in self.not_recorded)

    @property
    def may_be_nothing(self) -> bool:
        """Whether a record can be without a value in this column."""
        return self.on_empty == "say" or bool(self.not_recorded)


@lru_cache(maxsize=1024)
def _choices(values: tuple[str, ...]) -> Mapping[str, str]:
    pairs = map(shown_pair, values)
    return {raw: shown or raw for raw, shown in pairs}


def _value_problems(column: Column) -> Iterator[str]:
    """Yield what no cell could ever be, or would be taken for something else."""
    yield from _blank_ends("name", [column.name])
    if column.kind != "category" and column.values:
        yield f"values: only a category has them; kind {column.kind!r} would never read them"
    faults = list(filter(None, map(pair_problem, column.values)))
    yield from (f"values: {fault}" for fault in faults)
    if not faults and len(column.choices) < len(column.values):
        yield "values: a value is listed twice"
    yield from _blank_ends("not-recorded", column.not_recorded)
    if column.kind == "category" and column.values and not faults and not column.readable:
        yield 'values: all of them mean "not recorded", so no record has a value'


def _blank_ends(key: str, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if name != name.strip():
            yield (
                f"{key}: {name!r} has a blank at an end; blanks are removed from every cell and "
                "header, so nothing in a file can match it"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class SensitiveColumn:
    r"""A sensitive feature: a category's values as groups, or a number cut at `edges`.

    Attributes:
        name: name of the feature in metrics and reports.
        column: the column that it is read from.
        groups: the declared groups; a record outside them is an error, never dropped.
        edges: for numbers, increasing inner edges; group i holds edges[i-1] <= x < edges[i]. A last
            group more, called "not recorded", holds the records without a number.
        merge: values that count as another group, each `value=group`; "not recorded" is a value
            too. Small groups are put together here, where everyone who signs can see it. An "=" in
            the value itself is written "\=".
    """

    name: str = term(pattern=FEATURE)
    column: str = term(nonempty=True)
    groups: tuple[str, ...] = term(nonempty=True)
    edges: tuple[float, ...] = term(default=())
    merge: tuple[str, ...] = term(default=(), pattern=r".+=.+")

    def problems(self) -> list[str]:
        """Check what spans fields."""
        found: list[str] = []
        banded = self.groups[:-1] if self.groups[-1:] == (NOT_RECORDED,) else self.groups
        if self.edges and len(banded) != len(self.edges) + 1:
            found.append(
                f"{len(self.edges)} edges make {len(self.edges) + 1} groups, and perhaps "
                f'"{NOT_RECORDED}" as the last one'
            )
        if list(self.edges) != sorted(set(self.edges)):
            found.append("edges must increase")
        if len(set(self.groups)) < len(self.groups):
            found.append("a group is listed twice")
        faults = [f"merge: {fault}" for fault in map(pair_problem, self.merge) if fault]
        if faults:
            return found + faults
        merged = self.merged
        unknown = sorted(set(merged.values()) - set(self.groups))
        if unknown:
            found.append(f"merge: {', '.join(unknown)} not among the groups")
        if len(merged) < len(self.merge) or set(merged) & set(self.groups):
            found.append("merge: a value is listed twice, or is a group itself")
        return found

    @property
    def merged(self) -> dict[str, str]:
        """Group by value, for the values that count as another group."""
        return dict(map(shown_pair, self.merge))

    @property
    def by_number(self) -> Mapping[str, int]:
        """Index of the group of each number that a group or a merge names, by its exact value."""
        return _by_number(self.groups, self.merge)


@lru_cache(maxsize=1024)
def _by_number(groups: tuple[str, ...], merge: tuple[str, ...]) -> Mapping[str, int]:
    named = {group: group for group in groups} | dict(map(shown_pair, merge))
    exact = ((exact_number(name), group) for name, group in named.items())
    return {name: groups.index(group) for name, group in exact if name and group in groups}


MOST_CLASSES = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelColumn:
    r"""What is learned of a record, by the raw value in a column; any other value is an error.

    Either a yes or no, with `positive` and `negative`; or one of several classes, with `classes`.

    Attributes:
        column: header in the file.
        positive, negative: raw values that mean yes, and those that mean no.
        positive_name, negative_name: what the two are called.
        classes: from 2 to 1,000 classes, none of which is "positive". Each is its name, which is
            also its raw value; or `name=value`, or `name=value|value`. An "=" or "|" that belongs
            to a name or value is written "\=" or "\|".
        options: of multiple choice: the column with each class's option, in the order of the
            classes, told in the text as any column. A record's options differ, none is empty
            where its label names it, and it has at least two.
        answer_with: "options": the model's answers are the words of the record's own options, and
            the prompt tells only those whose columns have a phrase. Absent, the answers are the
            classes' names, and the options are told in the text.
        on_empty: "drop-row" leaves a record without a label out, counted in the site's own log;
            absent, it is an error.
        impossible: classes that a group cannot have, as "sex=Male: pregnancy". Comparisons of that
            feature's groups leave the class out; no record is refused for it.
    """

    column: str = term(nonempty=True)
    positive: tuple[str, ...] = term(default=())
    negative: tuple[str, ...] = term(default=())
    positive_name: str = term(default="")
    negative_name: str = term(default="")
    # Without it, a charter is the same bytes as before there were classes.
    classes: tuple[str, ...] | None = term(default=None)
    options: tuple[str, ...] | None = term(default=None, nonempty=True)
    answer_with: Literal["options"] | None = term(default=None)
    on_empty: Literal["drop-row"] | None = term(default=None)
    impossible: tuple[str, ...] | None = term(default=None, nonempty=True)

    def problems(self) -> list[str]:
        """Refuse values that no cell can have, and classes that cannot be distinguished."""
        found = list(_blank_ends("column", [self.column]))
        found.extend(self._option_problems())
        if self.impossible is not None and self.classes is None:
            found.append("impossible: it is about `classes`, and this label is a yes or no")
        if self.classes is None:
            return found + list(self._two_label_problems())
        if self.positive or self.negative or self.positive_name or self.negative_name:
            found.append(
                "classes: given together with positive and negative; a label uses one form or the "
                "other"
            )
        return found + list(_class_problems(self.classes))

    def _option_problems(self) -> Iterator[str]:
        if self.options is None:
            if self.answer_with is not None:
                yield "answer-with: it needs `options`, the columns that hold the answers"
            return
        if self.classes is None:
            yield "options: they need `classes` as their names, such as A to E"
        elif len(self.options) != len(self.classes):
            yield (
                f"options: {len(self.options)} columns for {len(self.classes)} classes; each class "
                "names one option"
            )
        if len(set(self.options)) < len(self.options):
            yield "options: a column is listed twice"

    def _two_label_problems(self) -> Iterator[str]:
        for key, given in (
            ("positive", self.positive), ("negative", self.negative),
            ("positive-name", self.positive_name.strip()),
            ("negative-name", self.negative_name.strip()),
        ):  # fmt: skip
            if not given:
                yield (
                    f"{key}: missing; a label with two values needs it, a label with more classes "
                    "needs `classes`"
                )
        yield from _blank_ends("positive", self.positive)
        yield from _blank_ends("negative", self.negative)
        if self.positive_name and self.positive_name == self.negative_name:
            yield (
                f"positive-name and negative-name are both {self.positive_name!r}; the two answers "
                "could not be distinguished"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """What each class is called, in the order of their numbers; no before yes."""
        if self.classes is None:
            return self.negative_name, self.positive_name
        return tuple(name for name, _ in map(class_entry, self.classes))

    @property
    def incomparable(self) -> tuple[tuple[str, str], ...]:
        """Feature and class of each entry of `impossible`."""
        return tuple(
            (entry.partition("=")[0], name)
            for entry in self.impossible or ()
            for name in self.names
            if entry.endswith(f": {name}")
        )

    @property
    def by_cell(self) -> Mapping[str, int]:
        """Number of the class that each raw value means."""
        if self.classes is None:
            return _by_cell((self.negative, self.positive))
        return _by_cell(tuple(cells for _, cells in map(class_entry, self.classes)))


@lru_cache(maxsize=4096)
def class_entry(entry: str) -> tuple[str, tuple[str, ...]]:
    """Return a class's name and its raw values, from an entry of `classes`."""
    name, equals, values = entry.replace(r"\=", "\0").replace(r"\|", "\1").partition("=")
    parts = [name, *values.split("|")] if equals else [name, name]
    name, *cells = (one.replace("\0", "=").replace("\1", "|") for one in parts)
    return name, tuple(cells)


@lru_cache(maxsize=64)
def _by_cell(classes: tuple[tuple[str, ...], ...]) -> Mapping[str, int]:
    return {cell: number for number, cells in enumerate(classes) for cell in cells}


def _class_problems(classes: tuple[str, ...]) -> Iterator[str]:
    if not 2 <= len(classes) <= MOST_CLASSES:
        yield f"classes: {len(classes)} of them; a charter has 2 to {MOST_CLASSES:,}"
    entries = [class_entry(entry) for entry in classes]
    for entry, (name, cells) in zip(classes, entries, strict=True):
        if not name.strip():
            yield f"classes: {entry!r} has no name"
        if not all(cells):
            yield f"classes: {entry!r} names an empty value; an empty cell is never a label"
        elif "=" in entry.replace(r"\=", "").partition("=")[2]:
            yield (
                f"classes: {entry!r} has two =; if one belongs to the name or the value, write it "
                "with a backslash"
            )
        yield from _blank_ends("classes", (name, *cells))
    names = Counter(name for name, _ in entries)
    cells_of = Counter(cell for _, cells in entries for cell in cells)
    for what, counted in (("name", names), ("value", cells_of)):
        if twice := [one for one, count in counted.items() if one and count > 1]:
            yield f"classes: the {what} {', '.join(map(repr, twice))} is listed twice"


# What a charter says of labels where it has none: no cell means anything.
NO_LABEL = LabelColumn(column="", positive=(), negative=(), positive_name="", negative_name="")
ContentForm = Literal["text", "messages", "prompt-completion", "instruction", "preference"]
# The fields of a file that each form is read from, as `ContentTerms` names them.
FORM_FIELDS: Mapping[ContentForm, tuple[str, ...]] = {
    "text": ("text",),
    "messages": ("messages",),
    "prompt-completion": ("prompt", "completion"),
    "instruction": ("instruction", "input", "output"),
    "preference": ("prompt", "chosen", "rejected"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ContentTerms:
    """Where a record's free text is in the file, and in what form; one form for all records.

    Attributes:
        form: "text"; "messages": a list of turns, each a role and what is said;
            "prompt-completion"; "instruction": Alpaca's instruction, input (may be empty) and
            output; "preference": a prompt with an answer that is preferred and one that is not.
        text, messages, prompt, completion, instruction, input, output, chosen, rejected: the
            file's name for each field; those that the form does not have are not read.
        role, content: the names in a turn.
        max_characters: of all that a record says; a longer record is an error, never cut.
        max_turns: of one conversation.
    """

    form: ContentForm = term()
    max_characters: int = term(at_least=1, at_most=MAX_CELL)
    max_turns: int = term(default=64, at_least=1, at_most=1000)
    text: str = term(default="text", nonempty=True)
    messages: str = term(default="messages", nonempty=True)
    prompt: str = term(default="prompt", nonempty=True)
    completion: str = term(default="completion", nonempty=True)
    instruction: str = term(default="instruction", nonempty=True)
    input: str = term(default="input", nonempty=True)
    output: str = term(default="output", nonempty=True)
    chosen: str = term(default="chosen", nonempty=True)
    rejected: str = term(default="rejected", nonempty=True)
    role: str = term(default="role", nonempty=True)
    content: str = term(default="content", nonempty=True)

    @property
    def fields(self) -> tuple[str, ...]:
        """The file's names of the fields that the form is read from."""
        return tuple(str(getattr(self, name)) for name in FORM_FIELDS[self.form])

    def problems(self) -> list[str]:
        """Refuse names that no field could have, or that two have."""
        found = list(_blank_ends(self.form, self.fields))
        if len(set(self.fields)) < len(self.fields):
            found.append(f"{self.form}: two of its fields have one name")
        if self.role == self.content:
            found.append("role and content: a turn's two names are one")
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class DataTerms:
    """The schema that every site's file must have.

    Attributes:
        source: what the data are, and whether the partition into sites is natural or simulated.
        holdout_fraction: probability that a record is held out, decided by a keyed hash of the
            record alone, so that no record's side depends on another record.
        split_salt: key of that hash; a new salt is a new split.
        person: header of the column that says whose record it is, where the unit of privacy is the
            person. It is read to tell persons apart and never enters a text or leaves the site.
        max_rows_per_person: rows of one person that are used; which, a keyed hash of each row
            decides. Noise on counts grows with it.
        label: which cells mean which answer; absent for a task that learns from the text alone.
        content: where a record's free text stands; absent if the columns' phrases are the text.
        columns: besides the content: what the model reads, and what groups are read from.
        sensitive: whose groups are compared; none only where `ethics.without-groups` says why.
        rules: combinations of values that no record can have.
    """

    source: str = term(nonempty=True, prose=True)
    holdout_fraction: float = term(above=0, below=1)
    split_salt: str = term(nonempty=True)
    person: str = term(default="")
    max_rows_per_person: int = term(default=1, at_least=1, at_most=1000)
    label: LabelColumn | None = term(default=None)
    content: ContentTerms | None = term(default=None)
    columns: tuple[Column, ...] = term(default=())
    sensitive: tuple[SensitiveColumn, ...] = term(default=())
    # Without it, a charter is the same bytes as before there were rules.
    rules: tuple[RecordRule, ...] | None = term(default=None, nonempty=True)

    def problems(self) -> list[str]:
        """Check that label, persons and groups are columns and values that a file can have."""
        found: list[str] = []
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            found.append("columns: a name is listed twice")
        if self.label and self.label.column in names:
            found.append(f"columns: the label {self.label.column!r} must not be an input")
        if self.person and self.person in {*names, self.labels.column}:
            found.append(
                f"person: {self.person!r} identifies persons; it must not be an input or the label"
            )
        if not self.person and self.max_rows_per_person > 1:
            found.append("max-rows-per-person: needs the column `person`")
        if set(self.labels.positive) & set(self.labels.negative):
            found.append("label: a value is both positive and negative")
        told = [column.name for column in self.columns if column.phrase]
        options = self.labels.options or ()
        answers = self.labels.answer_with is not None
        if answers and (absent := [one for one in options if one not in names]):
            found.append(f"label.options: {', '.join(absent)}: no column of that name")
        if untold := [one for one in options if not (answers or one in told)]:
            found.append(
                f"label.options: {', '.join(untold)}: no column of that name has a phrase, so the "
                "model would not read the option"
            )
        if not told and self.content is None:
            found.append("columns: none has a phrase, so the model would read nothing of a record")
        found.extend(_blank_ends("person", [self.person]))
        found.extend(self._content_problems(names, told))
        found.extend(self._sensitive_problems())
        found.extend(self._rule_problems())
        return found

    @property
    def labels(self) -> LabelColumn:
        """The label, or `NO_LABEL` where there is none: what tasks are asked with."""
        return self.label or NO_LABEL

    def _content_problems(self, names: list[str], told: list[str]) -> Iterator[str]:
        if self.content is None:
            return
        if told:
            yield (
                f"columns: {', '.join(told)} have a phrase, but data.content says what the model "
                "reads of a record, so the phrases would have no effect"
            )
        others = {*names, self.labels.column, self.person}
        if twice := sorted(others & set(self.content.fields)):
            yield (
                f"content: {', '.join(twice)} is also a column, label or person; a field can have "
                "only one use"
            )

    def _rule_problems(self) -> Iterator[str]:
        """Yield each contradiction between the rules and the columns, label and groups."""
        names = [rule.name for rule in self.rules or ()]
        if len(set(names)) < len(names):
            yield "rules: a name is listed twice"
        columns = {column.name: column for column in self.columns}
        grouped = {feature.column for feature in self.sensitive}
        for rule in self.rules or ():
            for condition in rule.never:
                if condition.label is not None:
                    problem = _no_class(condition.label, self.labels.names if self.label else ())
                elif (column := columns.get(condition.column or "")) is None:
                    problem = f"no column {condition.column!r} among data.columns"
                else:
                    problem = _unfit(condition, column)
                if problem:
                    yield f"rules {rule.name!r}: {problem}"
            if rule.on_broken == "drop-row" and {one.column for one in rule.never} <= grouped:
                yield (
                    f"rules {rule.name!r}: it reads columns of sensitive features only, so it "
                    "would leave a group out; add another column, or set on-broken to refuse"
                )

    def _sensitive_problems(self) -> Iterator[str]:
        columns = {column.name: column for column in self.columns}
        for feature in self.sensitive:
            said = f"sensitive {feature.name!r}"
            column = columns.get(feature.column)
            if column is None:
                yield f"{said}: no column {feature.column!r}"
            elif column.kind == "text":
                yield f"{said}: free text has no groups"
            else:
                yield from (f"{said}: {problem}" for problem in group_problems(feature, column))
        features = [feature.name for feature in self.sensitive]
        if len(set(features)) < len(features):
            yield "sensitive: a name is listed twice"


def _no_class(named: tuple[str, ...], names: tuple[str, ...]) -> str:
    unknown = [name for name in named if name not in names]
    return f"label: no class {', '.join(map(repr, unknown))}" if unknown else ""


def _unfit(condition: Condition, column: Column) -> str:
    """Return why no record could meet a condition on a column, or ""."""
    said = f"column {column.name!r}"
    if condition.empty is not None:
        return "" if column.may_be_nothing else f"{said} is never without a value in a record"
    if condition.one_of is not None:
        if column.kind != "category":
            return f"{said} is a {column.kind}; one-of is for a category"
        unknown = [value for value in condition.one_of if value not in column.readable]
        return f"{said} has no value {', '.join(map(repr, unknown))}" if unknown else ""
    if column.kind != "number":
        return f"{said} is a {column.kind}; below and above are for a number"
    low, high = condition.above, condition.below
    if (low is not None and low >= column.maximum) or (high is not None and high <= column.minimum):
        return f"{said} ranges from {column.minimum:g} to {column.maximum:g}: no number fits"
    return ""


def group_problems(feature: SensitiveColumn, column: Column) -> Iterator[str]:
    """Yield each contradiction between a feature's groups and the values of its column.

    Guarantee: where nothing is yielded, some cell that the column allows is in each group, and
    each declared value of a category is in one.
    """
    reached, stray = _reached(feature, column)
    if feature.edges and column.kind == "category":
        yield f"edges divide numbers, but column {column.name!r} is a category"
        return
    empty = [group for group in feature.groups if group not in reached]
    if empty:
        yield (
            f"no value of column {column.name!r} can be in the group{'s' * (len(empty) > 1)} "
            f"{', '.join(map(repr, empty))}; {_allowed(feature, column)}. Use these values as "
            "names of groups, or merge values into a group with `merge`"
        )
    if stray:
        yield (
            f"{', '.join(map(repr, stray))} of column {column.name!r} would be in no declared "
            "group, and a site with such a record could not take part; declare that group, or "
            "merge it into another with `merge`"
        )
    if column.kind == "number" and not feature.edges:
        named = list(map(exact_number, [*feature.groups, *feature.merged]))
        twice = {number for number in named if number and named.count(number) > 1}
        if twice:
            yield "groups, merge: the same number is listed twice, in two spellings"
    dead = [value for value in feature.merged if not _can_be(value, feature, column)]
    if dead:
        yield (
            f"merge: {', '.join(map(repr, dead))} cannot be a value of column {column.name!r}; "
            f"{_allowed(feature, column)}"
        )


def _reached(feature: SensitiveColumn, column: Column) -> tuple[set[str], list[str]]:
    """Return the groups that some value is in, and the values that are in none."""
    merged = feature.merged
    values = [NOT_RECORDED] if column.may_be_nothing else []
    reached: set[str] = set()
    if column.kind == "category":
        values += column.readable
    elif feature.edges:
        reached |= {name for name, *ends in _bands(feature) if _overlaps(ends, column)}
    else:
        named = [*feature.groups, *merged]
        values += [name for name in named if _can_be(name, feature, column)]
    groups = {value: merged.get(value, value) for value in values}
    reached |= set(groups.values()) & set(feature.groups)
    stray = [value for value, group in groups.items() if group not in feature.groups]
    # A gap in no group is an error of its row alone; it is no value that the charter declares.
    return reached, [value for value in stray if value != NOT_RECORDED]


def _can_be(value: str, feature: SensitiveColumn, column: Column) -> bool:
    """Say whether some cell of the column is read as the value that a group or a merge names."""
    if value == NOT_RECORDED and column.may_be_nothing:
        return True
    if column.kind == "category":
        return value in column.readable
    number = exact_number(value)
    if feature.edges or number is None or number in map(exact_number, column.not_recorded):
        return False
    size = float(value)
    return column.minimum <= size <= column.maximum and abs(size) < _EXACT_INTEGERS


def _bands(feature: SensitiveColumn) -> Iterator[tuple[str, float, float]]:
    """Yield each group with its lower end, which it holds, and its upper end, which it does not."""
    ends = (-math.inf, *feature.edges, math.inf)
    yield from zip(feature.groups, ends, ends[1:], strict=False)


def _overlaps(ends: Iterable[float], column: Column) -> bool:
    low, high = ends
    return max(low, column.minimum) < high and low <= column.maximum


def _allowed(feature: SensitiveColumn, column: Column) -> str:
    if column.kind == "category":
        return f"its values are {', '.join(map(repr, column.readable))}"
    if feature.edges:
        return f"its numbers range from {column.minimum:g} to {column.maximum:g}"
    return (
        f"its groups without edges are numbers from {column.minimum:g} to {column.maximum:g}, "
        "below 2^53 in size"
    )
