"""What the census counts, as blocks of one vector: groups by label, missing values, lengths, words.

Guarantee: a record adds 1 to one entry of each block of groups, to one entry of the lengths, to at
most one entry of each column of missing values, and to at most `of_a_record` entries of the words.
One record more or less moves at most one entry of each feature's block of sites, by 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from fedethics.charter.census_terms import CensusTerms
from fedethics.charter.model import Charter
from fedethics.errors import AccountingError

# Where nothing is told apart: the one group of no feature, and the one label of no label.
EVERYONE = "everyone"
ANY_LABEL = "any"


@dataclass(frozen=True, kw_only=True)
class CensusLayout:
    """The blocks in their order.

    Attributes:
        features: groups of each sensitive feature; `EVERYONE` alone where there is none.
        labels: by which each group is counted; `ANY_LABEL` alone where there is one for all.
        by: groups by which missing values, lengths and words are counted.
        missing: columns whose missing values are counted.
        edges: inner edges of the lengths, in characters.
        words: that are looked for.
        of_a_record: how many words of one record are counted at most.
        sites: whether sites that hold a group are counted.
    """

    features: Mapping[str, tuple[str, ...]]
    labels: tuple[str, ...]
    by: tuple[str, ...]
    missing: tuple[str, ...]
    edges: tuple[int, ...]
    words: tuple[str, ...]
    of_a_record: int
    sites: bool

    @cached_property
    def shapes(self) -> Mapping[tuple[str, str], tuple[int, int]]:
        """Rows and columns of each block, by its kind and what it is of, in the vector's order."""
        by = len(self.by)
        found = {
            ("groups", name): (len(groups), len(self.labels))
            for name, groups in self.features.items()
        }
        found |= {("missing", name): (1, by) for name in self.missing}
        if self.edges:
            found["lengths", ""] = (len(self.edges) + 1, by)
        if self.sites:
            found |= {("sites", name): (1, len(groups)) for name, groups in self.features.items()}
        if self.words:
            found["words", ""] = (len(self.words), by)
        return found

    @property
    def length(self) -> int:
        """Entries of the vector."""
        return sum(rows * columns for rows, columns in self.shapes.values())

    @property
    def releases(self) -> int:
        """Tables in each of which one record moves one entry by 1 at most."""
        return sum(self.of_a_record if kind == "words" else 1 for kind, _ in self.shapes)

    @property
    def bins(self) -> tuple[str, ...]:
        """What each bin of lengths is called, in characters."""
        ends = [*(f"{edge:,}" for edge in self.edges)]
        inner = [f"{low} to under {high}" for low, high in pairwise(ends)]
        return (f"under {ends[0]}", *inner, f"{ends[-1]} or more") if ends else ()


def terms_of(charter: Charter) -> CensusTerms:
    """Return what is counted.

    Raises:
        AccountingError: nothing.
    """
    if charter.census is None:
        raise AccountingError("the charter asks for no census; nothing was computed")
    return charter.census


def layout_of_census(charter: Charter) -> CensusLayout:
    """Return the layout of the charter's census.

    Raises:
        AccountingError: it asks for none.
    """
    terms, data = terms_of(charter), charter.data
    features = {feature.name: feature.groups for feature in data.sensitive}
    words = terms.vocabulary
    labelled = terms.labels and data.label is not None
    return CensusLayout(
        features=features or {EVERYONE: (EVERYONE,)},
        labels=data.labels.names if labelled else (ANY_LABEL,),
        by=tuple(features[terms.by]) if terms.by else (EVERYONE,),
        missing=terms.missing,
        edges=terms.lengths,
        words=words.words if words else (),
        of_a_record=min(words.of_a_record, len(words.words)) if words else 0,
        sites=terms.sites_from is not None,
    )
