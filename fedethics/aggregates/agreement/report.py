"""The section on annotators: alpha, their instructions, and which labels they confuse."""

from __future__ import annotations

import math
from collections.abc import Iterator

from fedethics.aggregates.agreement import AGREEMENT, groups_of
from fedethics.aggregates.agreement.alpha import matrix_of
from fedethics.aggregates.agreement.gate import (
    NAME,
    NAME_BY_GROUP,
    agreement_of,
    by_group_of,
    everyone_of,
    opened_counts,
)
from fedethics.charter.annotation_terms import AnnotationTerms
from fedethics.data.agreement import RELIABLE, TENTATIVE
from fedethics.errors import AccountingError
from fedethics.fairness import Estimate
from fedethics.privacy.plan import make_plan
from fedethics.release.folder import Folder
from fedethics.release.gate import GateReport
from fedethics.release.sections.block import Section, Table, estimate_cells, feature_label, number


def build(folder: Folder, verdict: GateReport) -> Section | None:
    """Return the section; None where the charter says nothing of annotation."""
    terms = folder.charter.annotation
    if terms is None:
        return None
    said_of = (rule.sentence for rule in verdict.rules if rule.name in (NAME, NAME_BY_GROUP))
    words = " ".join(said_of)
    tables = {"Guideline of the annotators": _asked(terms)}
    try:
        found, counts = agreement_of(folder), opened_counts(folder)
        plan = AGREEMENT.of(make_plan(folder.charter).sums)
    except AccountingError:
        found = counts = None
    if found is not None and counts is not None:
        ((_, noise),) = plan.noises()
        tables["Agreement over all sites"] = _figures(terms, found)
        if terms.by is not None:
            tables[f"Agreement by {feature_label(terms.by)}"] = _by_group(folder, terms)
        groups = len(groups_of(folder.charter))
        std = number(noise.sum_std * math.sqrt(groups), 2)
        said = f"Coincidences, with noise of std {std} on each"
        tables[said] = _matrix(terms, everyone_of(counts, groups))
    return Section(
        title="Agreement of annotators",
        words=words,
        explanation=(
            "Alpha is 1 if annotators always give a record the same label, and 0 if they agree as "
            f"often as by chance. It is customary to rely on labels from {RELIABLE:g}, and to draw "
            f"tentative conclusions from {TENTATIVE:g}. The interval includes the noise and the "
            "sampling error; with more than two annotators it is wider than necessary. Each cell "
            "of the matrix says how often two annotators of one record gave these two labels. A "
            "large number off the diagonal shows two labels that they confuse."
        ),
        tables=tables,
    )


def _asked(terms: AnnotationTerms) -> Table:
    rows = (
        ("Guideline", terms.guideline or f"SHA-256 {terms.guideline_sha256}"),
        ("Labels", ", ".join(terms.labels)),
        ("Level", terms.level),
        ("Annotators of a record, at most", str(len(terms.annotators))),
        ("Epsilon of the count, for a record", f"{terms.epsilon:g}"),
        *_adjudication(terms),
    )
    return Table(head=("Term", "Value"), rows=rows)


def _adjudication(terms: AnnotationTerms) -> Iterator[tuple[str, str]]:
    if terms.adjudication is None:
        return
    yield "Several labels become one by", terms.adjudication
    if terms.adjudicator:
        yield "Adjudicator", terms.adjudicator
    yield "Labels that a record needs", str(terms.per_record or 1)
    kept = "kept without a label" if terms.unresolved == "keep" else "left out"
    yield "A record that is not decided is", kept


def _figures(terms: AnnotationTerms, found: Estimate) -> Table:
    bar = "no bar" if terms.bar is None else f"at least {terms.bar:g}"
    row = ("Krippendorff's alpha", *estimate_cells(found), f"{found.confidence:.0%}", bar)
    return Table(head=("Figure", "Value", "Interval", "Confidence", "Bar"), rows=(row,))


def _by_group(folder: Folder, terms: AnnotationTerms) -> Table:
    bar = "no bar" if terms.group_bar is None else f"at least {terms.group_bar:g}"
    rows = tuple(
        (group, *estimate_cells(one), f"{one.confidence:.0%}", bar)
        for group, one in by_group_of(folder).items()
    )
    return Table(head=("Group", "Alpha", "Interval", "Confidence", "Bar"), rows=rows)


def _matrix(terms: AnnotationTerms, counts: tuple[int, ...]) -> Table:
    rows = tuple(
        (label, *(number(float(one), 1) for one in row))
        for label, row in zip(terms.labels, matrix_of(counts, terms), strict=True)
    )
    return Table(head=("Label", *terms.labels), rows=rows)
