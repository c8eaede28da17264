"""Every distinct value that a charter does not admit, and the change of the charter that would.

For the site's own screen: a value is shown here as it is in the file, and a change may hold it.
What a charter should admit is for people to decide, from what a value can be.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fedethics.charter.amended import Change
from fedethics.charter.data_terms import (
    MAX_CELL,
    NOT_RECORDED,
    Column,
    DataTerms,
    LabelColumn,
    SensitiveColumn,
    class_entry,
)
from fedethics.charter.spelling import (
    MEANS_NOTHING,
    NO,
    YES,
    alike,
    comma_in_number,
    escaped,
    exact_number,
    invisible,
)
from fedethics.data.records import CellProblem, group_index, parse_cell
from fedethics.learning_tasks import find_task

Row = Mapping[str, str]


# Sensitive: it holds a record's value.
@dataclass(frozen=True, kw_only=True, slots=True)
class BadValue:
    """One value that a run would refuse.

    Attributes:
        column: where it stands.
        value: as in the file; empty where a cell is empty, or where the text is too long to show.
        count: records that have it.
        why: what is wrong.
        changes: of the charter, which would admit it; none where the file should be mended.
    """

    column: str
    value: str
    count: int
    why: str
    changes: tuple[Change, ...] = ()


def bad_values(rows: Sequence[Row], terms: DataTerms, *, task: str) -> tuple[BadValue, ...]:
    """Return each distinct value that is not as the schema says, by column.

    Args:
        rows: all rows of the file, with the schema's columns.
        terms: the charter's schema.
        task: the charter's `model.task`.
    """
    found: list[BadValue] = []
    read = [row for row in rows if not unlabelled(row, terms)]
    if terms.label is not None:
        found += _of_label(_counted(read, terms.label.column), terms.label, task)
    if terms.person and (nobody := sum(not row[terms.person] for row in read)):
        found.append(
            BadValue(
                column=terms.person, value="", count=nobody, why="empty; every row has a person"
            )
        )
    for column in terms.columns:
        features = [one for one in terms.sensitive if one.column == column.name]
        found += _of_column(_counted(read, column.name), column, features)
    return tuple(found)


def left_out(rows: Sequence[Row], terms: DataTerms) -> dict[str, int]:
    """Return how many rows the charter's `on-empty` leaves out, by reason."""
    counted: Counter[str] = Counter()
    for row in rows:
        if unlabelled(row, terms):
            counted[f"{terms.labels.column} is empty"] += 1
            continue
        dropping = (one.name for one in terms.columns if one.on_empty == "drop-row")
        if empty := next((name for name in dropping if not row[name]), ""):
            counted[f"{empty} is empty"] += 1
    return dict(counted)


def unlabelled(row: Row, terms: DataTerms) -> bool:
    """Say whether the charter leaves a row out because it has no label."""
    label = terms.label
    return label is not None and label.on_empty == "drop-row" and not row[label.column]


def merged(changes: Sequence[Change], terms: DataTerms) -> tuple[Change, ...]:
    """Return one change for each key: a list with all that was to be added, a limit that is widest.

    Args:
        changes: each adds one thing to what the charter has.
        terms: the charter's schema.
    """
    together: dict[tuple[str, str, str], Change] = {}
    for change in changes:
        key = (change.table, change.name, change.key)
        before = together.get(key)
        if before is None:
            together[key] = change
        elif isinstance(before.value, list) and isinstance(change.value, list):
            together[key] = dataclasses.replace(
                before, value=_joined(before.value, change.value, _present(terms, change))
            )
        elif isinstance(before.value, int | float) and isinstance(change.value, int | float):
            widest = min if change.key == "minimum" else max
            together[key] = dataclasses.replace(before, value=widest(before.value, change.value))
    return tuple(together.values())


def _joined(one: Sequence[object], other: Sequence[object], present: Sequence[str]) -> list[str]:
    """Return a list with the additions of both; an entry that one of them changed is changed."""
    entries = [str(entry) for entry in one]
    for place, entry in enumerate(map(str, other)):
        if entry in entries:
            continue
        if place >= len(present):
            entries.append(entry)
        elif entries[place] == present[place]:
            entries[place] = entry
        else:  # a class that both give more cells
            before = class_entry(entries[place])[1]
            more = [cell for cell in class_entry(entry)[1] if cell not in before]
            entries[place] = "|".join((entries[place], *map(_in_class, more)))
    if NOT_RECORDED in entries:  # the last group of bands
        entries.remove(NOT_RECORDED)
        entries.append(NOT_RECORDED)
    return entries


def _present(terms: DataTerms, change: Change) -> Sequence[str]:
    return terms.labels.classes or () if change.key == "classes" else ()


def _counted(rows: Sequence[Row], name: str) -> Counter[str]:
    return Counter(row[name] for row in rows)


def _of_label(counted: Counter[str], label: LabelColumn, task: str) -> Iterator[BadValue]:
    known = find_task(task)
    for cell, count in counted.most_common():
        if known.target(cell, label) is None:
            why = f"unknown label; allowed: {', '.join(known.cells(label))}"
            if not cell:
                why = "no label"
            yield BadValue(column=label.column, value=cell, count=count, why=why,
                           changes=tuple(_label_change(cell, label)))  # fmt: skip


def _label_change(cell: str, label: LabelColumn) -> Iterator[Change]:
    if not cell:
        yield _change("data.label", "", "on-empty", "drop-row")
        return
    if invisible(cell):
        return
    meant = alike(cell, tuple(label.by_cell)) or _same_answer(cell, label)
    if not meant:
        return
    number = label.by_cell[meant]
    if label.classes is None:
        key = ("negative", "positive")[number]
        present = (label.negative, label.positive)[number]
        yield _change("data.label", "", key, [*present, cell])
        return
    classes = list(label.classes)
    entry = classes[number]
    before = f"{entry}={entry}" if "=" not in entry.replace(r"\=", "") else entry
    classes[number] = f"{before}|{_in_class(cell)}"
    yield _change("data.label", "", "classes", [*classes])


def _in_class(cell: str) -> str:
    return cell.replace("=", r"\=").replace("|", r"\|")


def _same_answer(cell: str, label: LabelColumn) -> str:
    """Return the agreed value that says the same yes or no as the cell, or ""."""
    for words in (YES, NO):
        if cell.lower() in words:
            return next((one for one in label.by_cell if one.lower() in words), "")
    return ""


def _of_column(
    counted: Counter[str], column: Column, features: Sequence[SensitiveColumn]
) -> Iterator[BadValue]:
    for cell, count in counted.most_common():
        if not cell and column.on_empty == "drop-row":
            continue
        try:
            value = parse_cell(cell, column)
        except CellProblem as problem:
            shown = "" if column.kind == "text" else cell
            yield BadValue(column=column.name, value=shown, count=count, why=str(problem),
                           changes=tuple(_column_changes(cell, column, features)))  # fmt: skip
            continue
        for feature in features:
            try:
                group_index(value, feature)
            except CellProblem as problem:
                name = NOT_RECORDED if value is None else cell
                yield BadValue(column=column.name, value=cell, count=count, why=str(problem),
                               changes=(_group(feature, name),))  # fmt: skip


def _column_changes(
    cell: str, column: Column, features: Sequence[SensitiveColumn]
) -> Iterator[Change]:
    if invisible(cell) or (column.kind == "number" and comma_in_number(cell)):
        return  # how the file is read or written, not what a value means
    if column.kind == "text":
        yield _change("data.columns", column.name, "max-chars", longer(len(cell)))
        return
    if cell.lower() in MEANS_NOTHING:
        yield _change("data.columns", column.name, "not-recorded", [*column.not_recorded, cell])
        yield from (_group(one, NOT_RECORDED) for one in features
                    if NOT_RECORDED not in (*one.groups, *one.merged))  # fmt: skip
        return
    if column.kind == "number":
        number = float(cell) if exact_number(cell) is not None else math.nan
        if number < column.minimum:
            yield _change("data.columns", column.name, "minimum", outwards([number, 0.0])[0])
        if number > column.maximum:
            yield _change("data.columns", column.name, "maximum", outwards([number, 0.0])[1])
        return
    meant = alike(cell, tuple(column.choices))
    entry = f"{escaped(cell)}={escaped(column.choices[meant])}" if meant else escaped(cell)
    yield _change("data.columns", column.name, "values", [*column.values, entry])
    for one in features:
        if meant:
            group = one.merged.get(meant, meant)
            yield _change("data.sensitive", one.name, "merge",
                          [*one.merge, f"{escaped(cell)}={escaped(group)}"])  # fmt: skip
        else:
            yield _group(one, cell)


def _group(feature: SensitiveColumn, name: str) -> Change:
    return _change("data.sensitive", feature.name, "groups", [*feature.groups, name])


def _change(table: str, name: str, key: str, value: str | float | list[str]) -> Change:
    return Change(
        table=table, name=name, key=key, value=[*value] if isinstance(value, list) else value
    )


def outwards(numbers: Sequence[float]) -> tuple[float, float]:
    """Return ends around all numbers: the next round ones, which are none of the numbers.

    Zero stays an end where nothing is below it.
    """
    low, high = min(numbers), max(numbers)
    size = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(size))
    below = _round(math.floor(low / step) * step)
    above = _round(math.ceil(high / step) * step)
    if below >= low:
        below = _round(below - step)
    if above <= high:
        above = _round(above + step)
    return (0.0 if low >= 0 > below else below), above


def longer(longest: int) -> int:
    """Return a round number of characters above the longest text."""
    step = int(10 ** max(1, len(str(longest)) - 1))
    return min((longest // step + 1) * step, MAX_CELL)


def _round(number: float) -> float:
    return float(f"{number:.12g}")
