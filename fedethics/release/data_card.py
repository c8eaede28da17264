"""The data card: Hugging Face front matter, and the questions of Gebru et al. (2018) it can answer.

No record, count of a site or value of a person is in it: it describes the schema that was agreed.
What a datasheet asks and nobody wrote down is listed as not answered.
"""

from __future__ import annotations

from markupsafe import Markup

from fedethics.charter.data_terms import Column
from fedethics.release.card import pipeline_of
from fedethics.release.content import Content
from fedethics.release.folder import Folder
from fedethics.release.pages import render
from fedethics.release.sections.block import Table
from fedethics.release.sections.markdown import front_matter, markdown

NOT_ANSWERED = (
    "who paid for the collection of the data, and who collected them",
    "whether the people in it were asked, and may withdraw",
    "who labelled the records, and how well labellers agree",
    "an ethical review, and an assessment of the impact on data protection",
    "errors, redundancies and noise in the records: only each site can see them",
)


def card_of(opened: Folder, found: Content) -> str:
    """Return the data card as Markdown."""
    columns = tuple(_row(column, opened) for column in opened.charter.data.columns)
    head = ("Column", "Kind", "In the text", "Values or range", "Sensitive")
    return render(
        "data-card.md.j2",
        {
            "charter": found.charter,
            "evidence": found.evidence,
            "people": found.people,
            "front": _front_matter(found),
            "columns": markdown(Table(head=head, rows=columns)),
            "withheld": found.withheld,
            "unanswered": NOT_ANSWERED,
        },
    )


def _front_matter(found: Content) -> Markup:
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
