"""What a draft proposes for records: columns, label, groups, sites, and how it is trained."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedethics import texts
from fedethics.charter.data_terms import MOST_CLASSES, LabelColumn
from fedethics.charter.spelling import NO, YES, exact_number
from fedethics.data.file_terms import FileTerms
from fedethics.drafting.base_model import EMBEDDED, BaseLines
from fedethics.drafting.columns import (
    FoundColumn,
    LeftOut,
    distinct,
    found_column,
    spellings,
    words,
)
from fedethics.drafting.groups import FoundFeature, found_feature
from fedethics.drafting.source import Source
from fedethics.errors import DataError
from fedethics.simulation.partition import Partitioner, Row, Taker, deal

FEWEST_SITES, MOST_SITES = 3, 100
HOLDOUT = 0.34
ROUNDS, LOCAL_STEPS = 5, 4
EPSILON = 3.0
_RECORDS_A_STEP = 1000
_MOST_RATE, _LEAST_RATE = 0.5, 0.01
_POSITIVE = YES | {"positive", "pos", "case", "ill", "sick"}
_SENSITIVE = frozenset(
    {"sex", "gender", "age", "race", "ethnicity", "religion", "nationality", "disability",
     "marital_status"}
)  # fmt: skip
_NO_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a person asked for.

    Attributes:
        label: column to be predicted.
        drop_unlabelled: leave out the records without a label, in place of an error.
        text: columns of free text.
        sensitive: columns to compare groups by; none for those that are known by their name.
        split: number of simulated sites; used where `sites` is empty and the records are not
            those of sites already.
        sites: column whose values are the sites.
        name: of charter and scenario.
        industry: of the charter.
        model: the base model.
    """

    label: str
    drop_unlabelled: bool = False
    text: tuple[str, ...] = ()
    sensitive: tuple[str, ...] = ()
    split: int = 4
    sites: str = ""
    name: str
    industry: str = "healthcare"
    model: BaseLines = EMBEDDED

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that are asked for by name.

        Raises:
            DataError: one is asked for twice.
        """
        named = [self.label, *filter(None, [self.sites]), *self.text, *self.sensitive]
        if len(set(named)) < len(named):
            raise DataError("a column is named twice; each has one use. Nothing was written")
        return tuple(named)


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """Everything that was decided. Sensitive: the rows are records, and sizes are exact.

    Attributes:
        label: as the charter would have it.
        label_counts: records of each value of the label.
        columns: those that are read, in the file's order.
        features: the sensitive ones, with their groups.
        left_out: columns that are not read.
        rows: of each site, all columns.
        records: in all, less the unlabelled.
        unlabelled: records among the rows that a run leaves out for want of a label.
        guessed: whether the sensitive columns were found by their names.
        dealt: whether the records came as those of sites.
        read: how their files were read.
    """

    wish: Wish
    label: LabelColumn
    label_counts: Mapping[str, int]
    columns: tuple[FoundColumn, ...]
    features: tuple[FoundFeature, ...]
    left_out: tuple[LeftOut, ...]
    rows: Mapping[str, Sequence[Row]]
    records: int
    unlabelled: int
    guessed: bool
    dealt: bool
    read: FileTerms

    @property
    def sampling_rate(self) -> float:
        """Share of the training records in a step: a thousand over all sites, half at most."""
        training = self.records * (1 - HOLDOUT)
        rate = min(_MOST_RATE, max(_LEAST_RATE, _RECORDS_A_STEP / training))
        return round(rate, 2)

    @property
    def delta(self) -> float:
        """A power of ten at most a tenth of one over the records of any site."""
        largest = max(map(len, self.rows.values()))
        return float(10.0 ** -max(4, len(str(largest)) + 1))


def propose(wish: Wish, source: Source) -> Proposal:
    """Decide what a first draft says of records.

    Raises:
        DataError: the label has one value, more than 1,000, or empty cells, a sensitive column has
            no usable groups, no column is left to be told, or too few or too many sites.
    """
    whole = [row for held in source.rows.values() for row in held]
    rows = [row for row in whole if row[wish.label] or not wish.drop_unlabelled]
    label, counts = _label(wish.label, [row[wish.label] for row in rows])
    sensitive = wish.sensitive or _by_name(rows[0], wish)
    features = tuple(found_feature(name, [row[name] for row in rows]) for name in sensitive)
    if len({feature.terms.name for feature in features}) < len(features):
        raise DataError(
            f"sensitive columns {', '.join(sensitive)}: two names are the same in small letters, "
            "digits and underscores, as a feature is named. Rename one. Nothing was written"
        )
    kept, left_out = _columns(wish, rows, {one.column.terms.name: one.column for one in features})
    if not any(found.terms.phrase for found in kept):
        raise DataError(
            f"{source.called}: no column is left for the model to read, apart from the label, the "
            "sensitive columns and those without use. Nothing was written"
        )
    left_out += [LeftOut(name=name, why=why) for name, why in source.not_everywhere.items()]
    return Proposal(
        wish=wish, label=label, label_counts=counts, columns=tuple(kept), features=features,
        left_out=tuple(left_out),
        rows=_as_they_are(source.rows) if source.dealt else _dealt(wish, whole, source.called),
        records=len(rows),
        unlabelled=len(whole) - len(rows),
        guessed=not wish.sensitive,
        dealt=source.dealt,
        read=source.read,
    )  # fmt: skip


def _columns(
    wish: Wish, rows: Sequence[Row], sensitive: Mapping[str, FoundColumn]
) -> tuple[list[FoundColumn], list[LeftOut]]:
    """Return the columns that are read, in their order, and those that are not."""
    kept: list[FoundColumn] = []
    left_out: list[LeftOut] = []
    for name in rows[0]:
        if name in (wish.label, wish.sites):
            continue
        found = sensitive.get(name) or found_column(
            name, [row[name] for row in rows], free_text=name in wish.text
        )
        kept += [found] if isinstance(found, FoundColumn) else []
        left_out += [found] if isinstance(found, LeftOut) else []
    return kept, left_out


def _label(column: str, cells: Sequence[str]) -> tuple[LabelColumn, dict[str, int]]:
    counted = dict(distinct(cells))
    kinds = _kinds(counted)
    if fault := _label_fault(column, cells, kinds):
        raise DataError(f"label column {column} {fault}. Nothing was written")
    if len(kinds) > 2:
        order = sorted(kinds, key=_in_order)
        return LabelColumn(
            column=column, classes=tuple(_class(kinds[one]) for one in order)
        ), counted
    first, second = sorted(
        kinds,
        key=lambda kind: (kind.lower() in _POSITIVE, -sum(counted[one] for one in kinds[kind])),
    )
    return LabelColumn(
        column=column, positive=kinds[second], negative=kinds[first],
        positive_name=_called(column, second), negative_name=_called(column, first),
    ), counted  # fmt: skip


def _label_fault(column: str, cells: Sequence[str], kinds: Mapping[str, Sequence[str]]) -> str:
    """Return why no charter could have the label, or ""."""
    counted = [value for alike in kinds.values() for value in alike]
    empty = sum(not cell for cell in cells)
    faults = {
        "has a name with a character that no charter may hold": bool(texts.fault(column)),
        f"is empty in {empty} records; fill them in, or leave them out: --drop-unlabelled "
        "(in Python, drop_unlabelled=True)": empty,
        "has only one value, so there is nothing to learn": len(kinds) < 2,
        f"has {len(kinds)} values; a label has 2 to {MOST_CLASSES:,}": len(kinds) > MOST_CLASSES,
        f"has {len(kinds)} values in {len(cells)} records, as a number or free text has; a class "
        "needs several records each": 2 * len(kinds) > len(cells),
        "spells a number in two ways, such as 1 and 1.0; spell it in one way": len(
            {exact_number(value) or value for value in kinds}
        )
        < len(kinds),
        "has a value with a character that no charter may hold": any(map(texts.fault, counted)),
    }
    return next((said for said, true in faults.items() if true), "")


def _kinds(counted: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Return the spellings of each answer by the one most used, which stands first."""
    most = spellings(counted)
    folded = {value.casefold() for value in counted}
    if folded <= YES | NO and folded & YES and folded & NO:
        for words_of_one in (YES, NO):
            alike = [value for value in counted if value.casefold() in words_of_one]
            used = max(alike, key=lambda value: (counted[value], value))
            most |= dict.fromkeys(alike, used)
    kinds: dict[str, tuple[str, ...]] = {}
    for value in sorted(counted, key=lambda one: (-counted[one], one)):
        kinds[most[value]] = (*kinds.get(most[value], ()), value)
    return kinds


def _class(cells: Sequence[str]) -> str:
    plain = [value.replace("=", r"\=").replace("|", r"\|") for value in cells]
    return plain[0] if len(plain) == 1 else f"{plain[0]}={'|'.join(plain)}"


def _in_order(value: str) -> tuple[float, str]:
    number = float(value) if exact_number(value) is not None else math.inf
    return number, value


def _called(column: str, value: str) -> str:
    plain = any(character.isalpha() for character in value) and value.lower() not in YES | NO
    return value if plain and len(value) > 1 else f"{words(column)} {value}"


def _by_name(row: Row, wish: Wish) -> tuple[str, ...]:
    taken = {wish.label, wish.sites, *wish.text}
    found = tuple(name for name in row if name.lower() in _SENSITIVE and name not in taken)
    if not found:
        raise DataError(
            "--sensitive: name at least one column whose groups are to be compared; none was found "
            f"by its name ({', '.join(sorted(_SENSITIVE))}). Nothing was written"
        )
    return found


def _as_they_are(rows: Mapping[str, Sequence[Row]]) -> dict[str, Sequence[Row]]:
    if not FEWEST_SITES <= len(rows) <= MOST_SITES:
        raise DataError(
            f"{len(rows)} sites; secure sums need {FEWEST_SITES}, and a draft has at most "
            f"{MOST_SITES}. Nothing was written"
        )
    return dict(rows)


def _dealt(wish: Wish, rows: Sequence[Row], called: str) -> Mapping[str, Sequence[Row]]:
    if wish.sites:
        return _by_column(wish.sites, rows)
    if not FEWEST_SITES <= wish.split <= MOST_SITES:
        raise DataError(
            f"--split: {wish.split} sites; secure sums need {FEWEST_SITES}, and a draft has at "
            f"most {MOST_SITES}. Nothing was written"
        )
    takers = [Taker(name=f"site-{number}") for number in range(1, wish.split + 1)]
    if len(rows) < 2 * wish.split:
        raise DataError(
            f"{called}: {len(rows)} records are too few for {wish.split} sites. Nothing was written"
        )
    return deal(rows, Partitioner(kind="by-hash", key=f"{wish.name}/1"), takers)


def _by_column(column: str, rows: Sequence[Row]) -> dict[str, list[Row]]:
    counted = Counter(row[column] for row in rows)
    fault = ""
    if counted[""]:
        fault = f"is empty in {counted['']} records"
    elif not FEWEST_SITES <= len(counted) <= MOST_SITES:
        fault = f"has {len(counted)} values; a federation has {FEWEST_SITES} to {MOST_SITES} sites"
    if fault:
        raise DataError(f"--sites: column {column} {fault}. Nothing was written")
    dealt: dict[str, list[Row]] = {}
    named: dict[str, str] = {}
    for value in sorted(counted):
        name = _NO_NAME.sub("-", value.lower()).strip("-")[:50] or "site"
        named[value] = name if name not in named.values() else f"{name}-{len(named) + 1}"
        dealt[named[value]] = []
    for row in rows:
        dealt[named[row[column]]].append(row)
    return dealt
