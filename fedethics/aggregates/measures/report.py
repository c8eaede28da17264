"""The section on what was measured of held-out texts: means over everyone and by group."""

from __future__ import annotations

from fedethics.aggregates.measures.gate import sentence
from fedethics.aggregates.measures.opened import OpenedMeasures, opened_measures
from fedethics.charter.measure_terms import MeasureTerms
from fedethics.errors import AccountingError
from fedethics.release.folder import Folder
from fedethics.release.gate import GateReport
from fedethics.release.sections.block import Section, Table, estimate_cells

_CONFIDENCE = 0.95
_OF_SWAPS = (
    " Where words are swapped, the mean is over the records that hold one of them; the others are "
    "counted apart. A change shows that the words alone move the model. No change does not show "
    "fair treatment: whatever goes with these words in life stays as it is in the text."
)
_OF_WORDS = (
    " What a word moves is the score with it less the score without it, added up over the held-out "
    "records that hold it; all words of one record together count up to the charter's "
    "largest-change. The interval holds the noise alone. The score is that of yes, of the class "
    "that was decided, or of the record's own answer. It is no cause in the world, and the model "
    "may never have seen a text without the word."
)


def build(folder: Folder, _verdict: GateReport) -> Section | None:
    """Return the section; None where the charter measures nothing further."""
    terms = folder.charter.measures
    if terms is None:
        return None
    try:
        found = opened_measures(folder)
    except AccountingError:
        found = None
    return Section(
        title="What was measured of held-out texts",
        words=_words(terms, found),
        explanation=(
            "A mean over held-out records, each cut to the range of its measure before it was "
            "counted; the charter fixed the cut before the run. The interval holds the noise and "
            "that the records are a sample. Several records of one person are taken as "
            "independent."
            + (_OF_SWAPS if terms.counterfactuals else "")
            + (_OF_WORDS if terms.vocabulary else "")
        ),
        tables={} if found is None else _tables(terms, found),
    )


def _tables(terms: MeasureTerms, found: OpenedMeasures) -> dict[str, Table]:
    tables = {"Means": _means(terms, found)} if found.layout.measures else {}
    if terms.counterfactuals:
        tables["Records that hold one of the swapped words"] = _holding(terms, found)
    if terms.vocabulary:
        tables["What words move"] = _moved(terms, found)
    return tables


def _moved(terms: MeasureTerms, found: OpenedMeasures) -> Table:
    rows = [
        (word, _whose(terms, group), *estimate_cells(one))
        for word in found.layout.words
        for group, one in found.word(word, confidence=_CONFIDENCE).items()
    ]
    return Table(head=("Word", "Whose", "Sum", "Interval (95 %)"), rows=tuple(rows))


def _holding(terms: MeasureTerms, found: OpenedMeasures) -> Table:
    rows = [
        (name, _whose(terms, group), *estimate_cells(one))
        for name in found.layout.measures
        for group, one in found.counted(name, confidence=_CONFIDENCE).items()
    ]
    return Table(head=("Measure", "Whose", "Share", "Interval (95 %)"), rows=tuple(rows))


def _whose(terms: MeasureTerms, group: str) -> str:
    return group if group == "everyone" else f"{terms.feature}: {group}"


def _words(terms: MeasureTerms, found: OpenedMeasures | None) -> str:
    if found is None:
        return "No sum of measures is on record."
    if not terms.objectives:
        return "The charter sets no bar for these figures."
    return " ".join(
        sentence(found.estimate(*one.parts(), confidence=one.confidence), one)
        for one in terms.objectives
    )


def _means(terms: MeasureTerms, found: OpenedMeasures) -> Table:
    rows = []
    for name, measure in found.layout.measures.items():
        label = f"{measure.meaning} ({name})"
        low_high = f"{measure.low:g} to {measure.high:g} {measure.unit}".strip()
        everyone = found.estimate(name, confidence=_CONFIDENCE)
        rows.append((label, low_high, "everyone", *estimate_cells(everyone)))
        if terms.feature:
            for group, one in found.by_group(name, confidence=_CONFIDENCE).items():
                rows.append((label, low_high, f"{terms.feature}: {group}", *estimate_cells(one)))
    return Table(head=("Measure", "Range", "Whose", "Mean", "Interval (95 %)"), rows=tuple(rows))
