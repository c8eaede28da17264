"""The charter's data schema: columns, a row as text, the label, sensitive features, the split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedethics.terms import term

FEATURE = r"[a-z][a-z0-9_]{0,31}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of the site's table and its phrase in the text.

    Attributes:
        name: header in the file.
        kind: "number" is parsed and range-checked; "category" must be one of `values`; "text" is
            free text, told as it is.
        phrase: text with one `{value}`; empty keeps the column out of the text.
        values: allowed raw values of a category, each `raw` or `raw=shown in the text`.
        minimum, maximum: plausible range of a number; a value outside is an error, not clipped.
        max_chars: longest text that is read; a longer one is an error, never cut in silence.
        not_recorded: raw values that mean "not recorded"; the text says so.
        on_empty: what an empty cell does: "drop-row" leaves the record out, counted in the
            site's own log; "say" writes the phrase with "not recorded".
    """

    name: str = term(nonempty=True)
    kind: Literal["number", "category", "text"] = term()
    phrase: str = term(default="")
    values: tuple[str, ...] = term(default=())
    minimum: float = term(default=-1e9)
    maximum: float = term(default=1e9)
    max_chars: int = term(default=0, at_least=0)
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
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class SensitiveColumn:
    """A sensitive feature: a category's values as groups, or a number cut at `edges`.

    Attributes:
        name: name of the feature in metrics and reports.
        column: the column that it is read from.
        groups: the declared groups; a record outside them is an error, never dropped.
        edges: for numbers, increasing inner edges; group i holds edges[i-1] <= x < edges[i].
        merge: values that count as another group, each `value=group`; "not recorded" is a value
            too. Small groups are put together here, where everyone who signs can see it.
    """

    name: str = term(pattern=FEATURE)
    column: str = term(nonempty=True)
    groups: tuple[str, ...] = term(nonempty=True)
    edges: tuple[float, ...] = term(default=())
    merge: tuple[str, ...] = term(default=(), pattern=r".+=.+")

    def problems(self) -> list[str]:
        """Check what spans fields."""
        found: list[str] = []
        if self.edges and len(self.groups) != len(self.edges) + 1:
            found.append(f"{len(self.edges)} edges make {len(self.edges) + 1} groups")
        if list(self.edges) != sorted(set(self.edges)):
            found.append("edges must increase")
        if len(set(self.groups)) < len(self.groups):
            found.append("a group stands twice")
        merged = self.merged
        unknown = sorted(set(merged.values()) - set(self.groups))
        if unknown:
            found.append(f"merge: {', '.join(unknown)} not among the groups")
        if len(merged) < len(self.merge) or set(merged) & set(self.groups):
            found.append("merge: a value stands twice, or is a group itself")
        return found

    @property
    def merged(self) -> dict[str, str]:
        """Group by value, for the values that count as another group."""
        pairs = (entry.partition("=") for entry in self.merge)
        return {value: group for value, _, group in pairs}


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelColumn:
    """The binary label: which raw values mean yes and which mean no; any other is an error."""

    column: str = term(nonempty=True)
    positive: tuple[str, ...] = term(nonempty=True)
    negative: tuple[str, ...] = term(nonempty=True)
    positive_name: str = term(nonempty=True)
    negative_name: str = term(nonempty=True)


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
    """

    source: str = term(nonempty=True)
    holdout_fraction: float = term(above=0, below=1)
    split_salt: str = term(nonempty=True)
    person: str = term(default="")
    max_rows_per_person: int = term(default=1, at_least=1, at_most=1000)
    label: LabelColumn = term()
    columns: tuple[Column, ...] = term(nonempty=True)
    sensitive: tuple[SensitiveColumn, ...] = term(nonempty=True)

    def problems(self) -> list[str]:
        """Check that the label and the sensitive features name declared columns."""
        found: list[str] = []
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            found.append("columns: a name stands twice")
        free_text = {column.name for column in self.columns if column.kind == "text"}
        if self.label.column in names:
            found.append(f"columns: the label {self.label.column!r} must not be an input")
        if self.person and self.person in {*names, self.label.column}:
            found.append(
                f"person: {self.person!r} tells persons apart; it is no input and no label"
            )
        if not self.person and self.max_rows_per_person > 1:
            found.append("max-rows-per-person: needs the column `person`")
        if set(self.label.positive) & set(self.label.negative):
            found.append("label: a value is both positive and negative")
        for feature in self.sensitive:
            if feature.column not in names:
                found.append(f"sensitive {feature.name!r}: no column {feature.column!r}")
            if feature.column in free_text:
                found.append(f"sensitive {feature.name!r}: free text has no groups")
        features = [feature.name for feature in self.sensitive]
        if len(set(features)) < len(features):
            found.append("sensitive: a name stands twice")
        return found
