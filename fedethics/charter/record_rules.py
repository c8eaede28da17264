"""Combinations of values that no record can have, as a charter lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fedethics.terms import term

_RULE = r"[a-z][a-z0-9-]{0,47}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """One condition on a column or on the label of a record.

    Attributes:
        column: of `data.columns`.
        one_of: of a category: raw values, one of which the record has.
        below, above: of a number: it is below, above, or between both; the limits do not belong
            to it. A number that was not recorded is neither.
        empty: whether nothing was recorded.
        label: names of classes, one of which the record has; given without `column`.
    """

    column: str | None = term(default=None, nonempty=True)
    one_of: tuple[str, ...] | None = term(default=None, nonempty=True)
    below: float | None = term(default=None)
    above: float | None = term(default=None)
    empty: bool | None = term(default=None)
    label: tuple[str, ...] | None = term(default=None, nonempty=True)

    def problems(self) -> list[str]:
        """Refuse a condition that says nothing, or two things."""
        limited = self.below is not None or self.above is not None
        tests = (self.one_of is not None) + limited + (self.empty is not None)
        if self.label is not None:
            alone = self.column is None and not tests
            return [] if alone else ["label: a condition on the label has no other key"]
        if self.column is None:
            return ["a condition needs `column` or `label`"]
        if tests != 1:
            return ["a column's condition needs one of `one-of`, `below` and `above`, or `empty`"]
        if self.below is not None and self.above is not None and self.above >= self.below:
            return [f"above {self.above:g} is not below {self.below:g}: no number is between"]
        return []

    def holds(self, values: Mapping[str, float | str | None], label: str) -> bool:
        """Say whether a record meets the condition.

        Args:
            values: the record's parsed columns by name.
            label: the name of its class; "" where it has none.
        """
        if self.label is not None:
            return label in self.label
        value = values.get(self.column or "")
        if self.empty is not None:
            return (value is None) == self.empty
        if self.one_of is not None:
            return value in self.one_of
        if not isinstance(value, float):
            return False
        return (self.below is None or value < self.below) and (
            self.above is None or value > self.above
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordRule:
    """Conditions that never hold together of one record.

    Guarantee: whether a record breaks a rule depends on that record and the charter alone.

    Attributes:
        name: of the rule, in messages and counts.
        why: why no record can be like that.
        never: two conditions or more, each on another column.
        on_broken: what such a record does: "refuse" is an error of its line; "drop-row" leaves it
            out, counted by rule at the site.
    """

    name: str = term(pattern=_RULE)
    why: str = term(nonempty=True, prose=True)
    never: tuple[Condition, ...] = term(nonempty=True)
    on_broken: Literal["refuse", "drop-row"] = term()

    def problems(self) -> list[str]:
        """Refuse a rule on one column: that is what the column's own terms are for."""
        subjects = [condition.column for condition in self.never]
        if len(subjects) < 2:
            return ["never: a combination needs two conditions; limit one column in its own terms"]
        if len(set(subjects)) < len(subjects):
            return ["never: two conditions are on one column or on the label; write them as one"]
        return []

    def broken_by(self, values: Mapping[str, float | str | None], label: str) -> bool:
        """Say whether all conditions hold of a record; see `Condition.holds`."""
        return all(condition.holds(values, label) for condition in self.never)
