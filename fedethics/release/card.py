"""The model card and the data card: front matter of Hugging Face, and the questions answered.

Written as adapter/README.md, where peft and the Hugging Face tools look for it. Numbers come from
the same functions as the report's and the gate's.

The data card: Hugging Face front matter, and the questions of Gebru et al. (2018) it can answer.

No record, count of a site or value of a person is in it: it describes the schema that was agreed.
What a datasheet asks and nobody wrote down is listed as not answered.
"""

from __future__ import annotations

import math

from markupsafe import Markup

from fedethics.charter.data_terms import Column
from fedethics.charter.model import Charter
from fedethics.fairness import by_group, overall
from fedethics.learning_tasks import find_task
from fedethics.release.content import Content
from fedethics.release.folder import Folder
from fedethics.release.gate import GateReport
from fedethics.release.pages import render
from fedethics.release.sections import groups, people, usage
from fedethics.release.sections.block import (
    Table,
    estimate_cells,
    feature_label,
    front_matter,
    group_label,
    markdown,
)

_OVERALL = ("roc_auc_score", "accuracy_score", "true_positive_rate", "false_positive_rate")
# Of classes of which none is positive.
_OF_CLASSES = ("balanced_accuracy_score", "precision_macro", "f1_macro", "mean_true_score")
_BY_GROUP = ("true_positive_rate", "false_positive_rate", "accuracy_score")


def card_of(opened: Folder, found: Content) -> str:
    """Return the model card as Markdown."""
    return render(
        "card.md.j2",
        {
            "charter": found.charter,
            "evidence": found.evidence,
            "gate": found.gate,
            "decision": found.decision,
            "clipping": found.sums["norms"].words if "norms" in found.sums else "",
            "people": found.people,
            "signing": found.signing,
            "front": _front_matter(opened, found),
            "overall": markdown(_overall(opened)),
            "by_group": markdown(_by_group(opened)),
            "gaps": markdown(found.split_gaps.told) if found.split_gaps.told.rows else "",
            "untold": found.split_gaps.note,
            "explained": _explained(found),
            "measured": _of_texts(found),
            "receipts": markdown(found.receipts),
            # Safe: what a charter says stands in it as Python strings of one line each.
            "usage": Markup(usage.of_adapter(found.charter)),  # noqa: S704
            "audited": found.audited,
            "settings": found.settings,
        },
    )


def pipeline_of(charter: Charter) -> str:
    """Return Hugging Face's name for what the model does."""
    return find_task(charter.model.task).pipeline


def _front_matter(opened: Folder, found: Content) -> Markup:
    charter = opened.charter
    results = _results(opened, found.gate)
    state = found.decision.state.replace(" ", "-")
    table = {
        "library_name": "peft",
        "base_model": charter.model.name,
        "pipeline_tag": pipeline_of(charter),
        "tags": [
            "lora",
            "federated-learning",
            "differential-privacy",
            "fairness",
            "fedethics",
            state,
        ],
        "metrics": [result["type"] for result in results],
        "model-index": [
            {
                "name": f"{charter.name}, run {opened.evidence.run_id}",
                "results": [
                    {
                        "task": {"type": pipeline_of(charter)},
                        "dataset": {"name": charter.data.source, "type": charter.name},
                        "metrics": results,
                    }
                ],
            }
        ],
    }
    return front_matter(table)


def _results(opened: Folder, gate: GateReport) -> list[dict[str, object]]:
    """Return what is known well enough for a program that reads a number and nothing else.

    A value that noise cut off, or that leaves an objective undecided, is none; the others carry
    their intervals.
    """
    undecided = {
        stated.metric
        for rule, stated in zip(gate.rules, opened.charter.ethics.objectives, strict=False)
        if rule.verdict == "cannot conclude" and not stated.feature
    }
    estimates = {
        metric: overall(opened.tables, metric, confidence=people.CONFIDENCE)
        for metric in _measured(opened, _OVERALL)
    }
    return [
        {
            "type": metric,
            "name": metric,
            "value": round(estimate.figure, 4),
            "args": {
                "confidence": estimate.confidence,
                "interval-low": round(estimate.low, 4),
                "interval-high": round(estimate.high, 4),
            },
        }
        for metric, estimate in estimates.items()
        if math.isfinite(estimate.figure) and metric not in undecided
    ]


def _measured(opened: Folder, metrics: tuple[str, ...]) -> tuple[str, ...]:
    known = opened.tables.layout.measured.metrics
    task = find_task(opened.charter.model.task)
    # What a task without labels measures is its own.
    metrics = metrics if task.labelled else tuple(task.rates)
    if opened.charter.data.labels.classes is not None:
        more = _OF_CLASSES if metrics is _OVERALL else _OF_CLASSES[:1]
        metrics = (*metrics, *more, *groups.of_each_class(opened, "recall_score"))
    return tuple(metric for metric in metrics if metric in known)


def _overall(opened: Folder) -> Table:
    rows = tuple(
        (metric, *estimate_cells(overall(opened.tables, metric, confidence=people.CONFIDENCE)))
        for metric in _measured(opened, _OVERALL)
    )
    return Table(head=("Metric", "Value", "95 % interval"), rows=rows)


def _by_group(opened: Folder) -> Table:
    rows = []
    for feature in groups.features(opened.tables):
        for metric in _measured(opened, _BY_GROUP):
            found = by_group(opened.tables, metric, feature=feature, confidence=people.CONFIDENCE)
            rows += [
                (feature_label(feature), group_label(name), metric, *estimate_cells(each.estimate))
                for name, each in found.items()
            ]
    head = ("Feature", "Group", "Metric", "Value", "95 % interval")
    return Table(head=head, rows=tuple(rows))


def _explained(found: Content) -> tuple[tuple[str, str, Markup], ...]:
    """Return title, caption and numbers of each figure on what the model looks at."""
    blocks = found.explained.blocks if found.explained else ()
    return tuple((block.title, block.caption, markdown(block.table)) for block in blocks)


def _of_texts(found: Content) -> tuple[tuple[str, Markup], ...]:
    """Return caption and numbers of each table of what was measured of texts."""
    sections = (found.sums.get(name) for name in ("measures", "paired"))
    tables = [each for section in sections if section for each in section.tables.items()]
    return tuple((f"{caption}, of held-out texts", markdown(table)) for caption, table in tables)


NOT_ANSWERED = (
    "who paid for the collection of the data, and who collected them",
    "whether the people in it were asked, and may withdraw",
    "who labelled the records, and how well labellers agree",
    "an ethical review, and an assessment of the impact on data protection",
    "errors, redundancies and noise in the records: only each site can see them",
)

# Answered by the census, where the charter says whom the model is for.
_REPRESENTED = "whether the records represent the people whom the model is for"
_LABELLED = "who labelled the records, and how well labellers agree"


def _unanswered(charter: Charter) -> tuple[str, ...]:
    """Return what nobody wrote down or counted; a charter may say who labelled, and count."""
    said = charter.documentation
    left = {
        (False, False): _LABELLED,
        (False, True): "who the labellers are",
        (True, False): "how well labellers agree",
        (True, True): "",
    }[said is not None and said.label_provenance is not None, charter.annotation is not None]
    census = charter.census
    represented = "" if census is not None and census.reference else _REPRESENTED
    kept = (*(left if item == _LABELLED else item for item in NOT_ANSWERED), represented)
    return tuple(item for item in kept if item)


def data_card_of(opened: Folder, found: Content) -> str:
    """Return the data card as Markdown."""
    columns = tuple(_row(column, opened) for column in opened.charter.data.columns)
    head = ("Column", "Kind", "In the text", "Values or range", "Sensitive")
    return render(
        "data-card.md.j2",
        {
            "charter": found.charter,
            "evidence": found.evidence,
            "people": found.people,
            "front": _data_front_matter(found),
            "columns": markdown(Table(head=head, rows=columns)),
            "withheld": found.withheld,
            "counted": _sections(found, "census"),
            "labelled": _sections(found, "agreement"),
            "unanswered": _unanswered(opened.charter),
        },
    )


def _sections(
    found: Content, *kinds: str
) -> tuple[tuple[str, str, str, tuple[tuple[str, Markup], ...]], ...]:
    """Return title, finding, explanation and tables of these kinds of sums, where there are any."""
    return tuple(
        (
            part.title,
            part.words,
            part.explanation,
            tuple((caption, markdown(table)) for caption, table in part.tables.items()),
        )
        for part in map(found.sums.get, kinds)
        if part is not None
    )


def _data_front_matter(found: Content) -> Markup:
    table = {
        "pretty_name": f"{found.charter.name}: the sites' records",
        "task_categories": [pipeline_of(found.charter)],
        "tags": ["federated-learning", "not-published", found.charter.charter.industry],
    }
    return front_matter(table)


def _row(column: Column, opened: Folder) -> tuple[str, ...]:
    sensitive = [one.name for one in opened.charter.data.sensitive if one.column == column.name]
    values = (
        ", ".join(value.split("=")[0] for value in column.values)
        if column.kind == "category"
        else f"{column.minimum:g} to {column.maximum:g}"
    )
    return (
        column.name,
        column.kind,
        "yes" if column.phrase else "no",
        values,
        ", ".join(sensitive) or "no",
    )
