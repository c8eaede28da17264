"""A site's part in the census: its own counts, with its share of the noise.

Guarantee: as `layout` says of one record. A unit, with all of its records, is trained on or held
out, and pays from that account. The caller has reserved the cost on both accounts before calling.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fedethics.aggregates.census import CENSUS
from fedethics.aggregates.census.layout import EVERYONE, CensusLayout, layout_of_census, terms_of
from fedethics.aggregates.measuring import Vector, share_of
from fedethics.charter.model import Charter
from fedethics.data.content import Content, characters, parts
from fedethics.data.records import Records
from fedethics.privacy.noise import NoiseSource
from fedethics.secagg import Opening
from fedethics.site.request_context import RequestContext

Counts = NDArray[np.int64]


def count(
    context: RequestContext, _adapter: Vector, _opening: Opening, noise: NoiseSource
) -> NDArray[np.int64]:
    """Return the counts of all records with this site's share of the noise.

    Raises:
        AccountingError: the charter asks for no census. Nothing was computed.
    """
    plan, records = CENSUS.of(context.plan.sums), context.workbench.records
    table = census_counts((records.train, records.held_out), context.charter)
    return np.asarray(table + share_of(context, plan.noise, table.size, noise), dtype=np.int64)


def census_counts(records: Sequence[Records], charter: Charter) -> Counts:
    """Return the counts of one site without noise, shape (layout.length,).

    Args:
        records: its parts; together they are all that a run uses.
        charter: with a census.

    Raises:
        AccountingError: the charter asks for no census.
    """
    layout, terms = layout_of_census(charter), terms_of(charter)
    sums = [_of_records(part, layout, by=terms.by, charter=charter) for part in records]
    blocks = {key: sum((one[key] for one in sums), _zeros(layout, key)) for key in sums[0]}
    for kind, name in layout.shapes:
        if kind == "sites":
            held = blocks["groups", name].sum(axis=1) >= (terms.sites_from or 1)
            blocks[kind, name] = held.astype(np.int64)[None, :]
    return np.concatenate([blocks[key].ravel() for key in layout.shapes]).astype(np.int64)


def _zeros(layout: CensusLayout, key: tuple[str, str]) -> Counts:
    return np.zeros(layout.shapes[key], dtype=np.int64)


def _of_records(
    records: Records, layout: CensusLayout, *, by: str, charter: Charter
) -> Mapping[tuple[str, str], Counts]:
    names = [feature.name for feature in charter.data.sensitive]
    nobody = np.zeros(len(records), dtype=np.int64)
    groups = {name: records.groups[:, place] for place, name in enumerate(names)}
    groups.setdefault(EVERYONE, nobody)
    label = records.labels.astype(np.int64) if len(layout.labels) > 1 else nobody
    own = groups[by] if by else nobody
    found: dict[tuple[str, str], Counts] = {}
    for key in layout.shapes:
        match key:
            case ("groups", name):
                found[key] = _crossed(groups[name], label, layout.shapes[key])
            case ("missing", name):
                lacks = np.array([row.get(name) is None for row in records.values], dtype=bool)
                found[key] = _crossed(nobody[lacks], own[lacks], layout.shapes[key])
            case ("lengths", _):
                sizes = [characters(text) for text in records.texts]
                place = np.searchsorted(layout.edges, sizes, side="right")
                found[key] = _crossed(place.astype(np.int64), own, layout.shapes[key])
            case ("words", _):
                held = [_words_in(text, layout) for text in records.texts]
                rows = np.repeat(np.arange(len(held)), [len(one) for one in held])
                flat = np.array([word for one in held for word in one], dtype=np.int64)
                found[key] = _crossed(flat, own[rows], layout.shapes[key])
    return found


def _crossed(rows: Counts, columns: Counts, shape: tuple[int, int]) -> Counts:
    """Return how often each pair occurs, of this shape."""
    flat = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1])
    return flat.astype(np.int64).reshape(shape)


def _words_in(text: Content, layout: CensusLayout) -> tuple[int, ...]:
    """Return which words of the list a record holds: the first `of_a_record` of them."""
    told = "\n".join(parts(text)).casefold()
    held = (
        place
        for place, word in enumerate(layout.words)
        # Most words are in no text: a plain search first, its bounds only where it finds one.
        if (plain := word.casefold()) in told
        and re.search(rf"(?<!\w){re.escape(plain)}(?!\w)", told)
    )
    return tuple(place for place, _ in zip(held, range(layout.of_a_record), strict=False))
