"""The section on who is in the data: sizes, shares beside the reference, labels, gaps, words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from fedethics.aggregates.census.gate import ALIKE, ENOUGH
from fedethics.aggregates.census.layout import EVERYONE
from fedethics.aggregates.census.opened import OpenedCensus, opened_census
from fedethics.aggregates.census.words import WordOfGroup, adjusted_words, words_of_groups
from fedethics.errors import AccountingError, FairnessError
from fedethics.fairness import Estimate, by_group
from fedethics.fairness.metrics import of_class
from fedethics.release.folder import Folder
from fedethics.release.gate import GateReport
from fedethics.release.sections.block import (
    NOTHING,
    Section,
    Table,
    estimate_cells,
    feature_label,
    first_rows,
    number,
)

# What the model decides, by feature, group and label; of the held-out records.
Decided = Mapping[tuple[str, str, str], Estimate]
_MOST_ROWS = 60
_EXPLANATION = (
    "Counted over all records that the run uses, trained and held out, before anything was "
    "trained. The interval of a number of records holds the noise. That of a share holds the "
    "sampling error too: the records are taken as a sample of the people whom the sites see, and "
    "several records of one person as independent. Shares are of the records whose group was "
    "recorded. A site that leaves rows out, for an empty cell or label, leaves them out here too."
)
_BIAS = (
    " The share of a label in a group is what the data say before any model; next to it is how "
    "often the model gives that label to held-out records of the group. A difference between "
    "groups in the data is what a model can learn, and no proof of how the world is: labels are "
    "what people wrote down."
)


def build(folder: Folder, verdict: GateReport) -> Section | None:
    """Return the section; None where the charter asks for no census."""
    if folder.charter.census is None:
        return None
    said = [rule.sentence for rule in verdict.rules if rule.name in (ENOUGH, ALIKE)]
    try:
        census = opened_census(folder.charter, folder.evidence.counted)
    except AccountingError:
        census = None
    tables = {} if census is None else tables_of(census, decided=_decided(folder, census))
    return Section(
        title="Who is in the data",
        words=" ".join(said),
        explanation=explanation_of(census),
        tables=tables,
    )


def explanation_of(census: OpenedCensus | None) -> str:
    """Return how to read the tables."""
    if census is None:
        return _EXPLANATION
    words = census.terms.vocabulary
    of_words = (
        f" Words: of one record at most {census.layout.of_a_record} are counted, the first of the "
        "charter's list. Log odds above 0 mean that records of the group hold the word more often "
        f"than the others. All words and groups were allowed for by {adjusted_words(words)}."
        if words
        else ""
    )
    return _EXPLANATION + (_BIAS if len(census.layout.labels) > 1 else "") + of_words


def tables_of(census: OpenedCensus, *, decided: Decided | None = None) -> dict[str, Table]:
    """Return the tables, by caption.

    Args:
        census: the opened sum.
        decided: what the trained model decides; None before there is one.
    """
    found: dict[str, Table] = {}
    for feature in census.layout.features:
        of = "all records" if feature == EVERYONE else f"records by {feature_label(feature)}"
        found[f"Census: {of}"] = _groups(census, feature)
        if len(census.layout.labels) > 1:
            beside = "" if decided is None else ", beside what the model decides"
            found[f"Labels of {of}{beside}"] = _labels(census, feature, decided)
    if census.layout.missing:
        found["Missing values"] = _by_group(census.missing(), "Column")
    if census.layout.edges:
        found["Lengths of texts, in characters"] = _by_group(census.lengths(), "Length")
    pairs = words_of_groups(census)
    if pairs:
        found[f"Words that go with {feature_label(census.terms.by)}"] = _words(pairs)
    return found


def _decided(folder: Folder, census: OpenedCensus) -> Decided:
    """Return the share of held-out records of each group that the model gives each label to."""
    return dict(_each_decided(folder, census))


def _each_decided(
    folder: Folder, census: OpenedCensus
) -> Iterator[tuple[tuple[str, str, str], Estimate]]:
    tables, labels = folder.tables, folder.charter.data.labels
    known = tables.layout.measured.metrics
    for name in census.layout.labels:
        metric = "selection_rate" if labels.classes is None else of_class("selection_rate", name)
        # Of a yes or no, the other label's share is what is left.
        if metric not in known or (labels.classes is None and name != labels.positive_name):
            continue
        for feature in census.layout.features:
            try:
                rates = by_group(
                    tables, metric, feature=feature, confidence=census.terms.confidence
                )
            except FairnessError:
                continue
            for group, one in rates.items():
                yield (feature, group, name), one.estimate


def _groups(census: OpenedCensus, feature: str) -> Table:
    reference = census.terms.of(feature)
    people, shares, sites = (
        census.people(feature), census.shares(feature), census.holding(feature),
    )  # fmt: skip
    head = ["Group", "Records", f"Interval ({census.terms.confidence:.0%})", "Share", "Interval"]
    head += ["Reference", "Difference"] if reference else []
    head += [f"Sites with {census.terms.sites_from} or more", "Interval"] if sites else []
    rows = []
    for group, one in people.items():
        share = shares.get(group)
        row = [group, *estimate_cells(one, 0)]
        row += [NOTHING, NOTHING] if share is None else estimate_cells(share)
        if reference:
            row += _beside(share, reference.by_group.get(group))
        row += estimate_cells(sites[group], 1) if sites else []
        rows.append(tuple(row))
    return Table(head=tuple(head), rows=tuple(rows))


def _beside(share: Estimate | None, reference: float | None) -> tuple[str, str]:
    if share is None or reference is None:
        return NOTHING, NOTHING
    away = share.figure - reference
    return number(reference), NOTHING if math.isnan(away) else f"{away:+.3f}"


def _labels(census: OpenedCensus, feature: str, decided: Decided | None) -> Table:
    head = ["Group", "Label", "Share in the data", "Interval"]
    head += [] if decided is None else ["Share that the model gives it to", "Interval"]
    rows = []
    for (group, label), one in census.labels(feature).items():
        given = (decided or {}).get((feature, group, label))
        if decided and given is None and len(census.layout.labels) == 2:
            continue  # the other label's row says it
        row = [group, label, *estimate_cells(one)]
        if decided is not None:
            row += [NOTHING, NOTHING] if given is None else estimate_cells(given)
        rows.append(tuple(row))
    table = Table(head=tuple(head), rows=tuple(rows))
    return first_rows(table, _MOST_ROWS, more="in evidence.json")


def _by_group(found: Mapping[tuple[str, str], Estimate], what: str) -> Table:
    rows = tuple((name, group, *estimate_cells(one)) for (name, group), one in found.items())
    table = Table(head=(what, "Group", "Share of the group", "Interval"), rows=rows)
    return first_rows(table, _MOST_ROWS, more="in evidence.json")


def _words(pairs: tuple[WordOfGroup, ...]) -> Table:
    """Return the words in the order of their p-values; those that stand come first."""
    ordered = sorted(pairs, key=lambda pair: pair.p)
    rows = tuple(
        (
            pair.word,
            pair.group,
            *estimate_cells(pair.log_odds, 2),
            f"{pair.p:.2g}",
            "yes" if pair.found else "no",
        )
        for pair in ordered
    )
    head = ("Word", "Group", "Log odds ratio", "Interval", "p", "Stands after correction")
    return first_rows(Table(head=head, rows=rows), _MOST_ROWS, more="in evidence.json")
