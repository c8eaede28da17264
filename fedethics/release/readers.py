"""One page for each reader, from one content, and a summary of one printed page for each role.

Guarantee: a page loads nothing and runs nothing; equal directories give equal bytes. Each opens
with its reader's own question and the answer; who may be harmed is on the first screen of each.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from markupsafe import Markup

from fedethics.release import card, content
from fedethics.release.content import Content
from fedethics.release.decision import Decision
from fedethics.release.folder import (
    CARD,
    DATA_CARD,
    REPORT,
    REPORT_JSON,
    REPORT_PRIVACY,
    REPORT_REGULATOR,
    REPORT_RESEARCHER,
    REPORT_SITE,
    Folder,
)
from fedethics.release.gate import GateReport
from fedethics.release.pages import render, stylesheet
from fedethics.release.rules.rule import Topic
from fedethics.release.sections import openings
from fedethics.release.sheets import SUMMARIES, Summary

_EVERY_TOPIC: dict[Topic, str] = {
    "people": "For the people affected",
    "privacy": "For the people in the data",
    "integrity": "For examiners",
}
# Where the sections stand that a kind of sum has to itself, if the charter asks for any.
SUMS = "sums"
# Where those of the laws and standards stand.
FRAMEWORKS = "frameworks"
_TITLES = {
    "gate": "The gate, rule by rule",
    "groups": "Groups",
    "explained": "What the model relies on",
    "benchmarks": "What the model says",
    "compared": "Comparisons",
    "privacy": "Privacy",
    "audit": "Attack on the adapter",
    "releases": "What left the sites",
    "rounds": "Rounds",
    "signed": "Who signed, who approved",
    "saw": "What the coordinator saw",
    "not-measured": "What was not measured",
    "verify": "How to verify",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One reader's page: its sections in their order, and the topics of the gate it shows.

    Attributes:
        reader: one sentence on whom it is for.
        opening: which question it opens with (`Content.openings`); empty: who is affected.
    """

    file: str
    title: str
    reader: str
    sections: tuple[str, ...]
    opening: str = ""
    topics: tuple[Topic, ...] = ("people", "privacy", "integrity")


READERS = (
    Page(
        file=REPORT,
        title="Report for the ethics officer",
        reader="This page is for people who are responsible for the effects of the model.",
        sections=(
            "gate", "groups", "explained", "benchmarks", SUMS, "compared", "privacy", "audit",
            "rounds", "signed", "saw", "not-measured", "verify",
        ),
    ),
    Page(
        file=REPORT_PRIVACY,
        title="Report for the privacy officer",
        reader="This page is for people who are responsible for the privacy of the records.",
        sections=(
            "privacy", "audit", SUMS, "releases", "saw", "gate", "rounds", "signed", "verify",
        ),
        opening="privacy",
        topics=("privacy", "integrity"),
    ),
    Page(
        file=REPORT_REGULATOR,
        title="Annex for the regulator",
        reader="This page is for outside examiners.",
        opening="regulator",
        sections=(
            FRAMEWORKS, "gate", "groups", "explained", "benchmarks", SUMS, "privacy",
            "audit", "signed", "not-measured", "verify",
        ),
    ),
    Page(
        file=REPORT_SITE,
        title="Report for a site’s operator",
        reader="This page is for people who run a site: its node, its ledger, its release.",
        sections=(
            "releases", "saw", "rounds", "privacy", SUMS, "gate", "signed", "verify",
        ),
        opening="site",
        topics=("privacy", "integrity"),
    ),
    Page(
        file=REPORT_RESEARCHER,
        title="Report for the researcher",
        reader="This page is for people who want to know how well it works and to make it again.",
        sections=(
            "groups", "rounds", "compared", SUMS, "explained", "benchmarks", "privacy", "audit",
            "gate", "signed", "not-measured", "verify",
        ),
        opening="researcher",
    ),
)  # fmt: skip


def pages_of(opened: Folder, verdict: GateReport, decision: Decision) -> dict[str, bytes]:
    """Return every page of the release by its name: reports, report.json and both cards."""
    found = content.build(opened, verdict, decision)
    pages = {page.file: html(page, found) for page in READERS}
    pages |= {one.file: summary(one, opened, found) for one in SUMMARIES}
    pages[REPORT_JSON] = content.report_json(found)
    pages[CARD] = card.card_of(opened, found)
    pages[DATA_CARD] = card.data_card_of(opened, found)
    return {name: text.encode("utf-8") for name, text in pages.items()}


def html(page: Page, found: Content) -> str:
    """Return one reader's page."""
    contents: dict[str, str] = {}
    for name in page.sections:
        if name == SUMS:
            contents |= {kind: section.title for kind, section in found.sums.items()}
        elif name == FRAMEWORKS:
            contents |= {key: mapped.title for key, mapped in found.frameworks.items()}
        elif name not in {"compared", "explained", "benchmarks"} or getattr(found, name):
            contents[name] = _TITLES[name]
    context: dict[str, object] = {
        field.name: getattr(found, field.name) for field in dataclasses.fields(Content)
    }
    return render(
        "report.html.j2",
        context
        | {
            # Safe: the package's own stylesheet.
            "css": Markup(stylesheet()),  # noqa: S704
            "page": page,
            "others": [other for other in READERS if other is not page],
            "opening": found.openings.get(page.opening),
            "contents": contents,
            "topics": {topic: _EVERY_TOPIC[topic] for topic in page.topics},
            "most_named": openings.MOST_NAMED,
            "summary": next(one.file for one in SUMMARIES if one.whole == page.file),
        },
    )


def summary(role: Summary, opened: Folder, found: Content) -> str:
    """Return one role's summary."""
    return render(
        "summary.html.j2",
        {
            # Safe: the package's own stylesheets.
            "css": Markup(stylesheet() + stylesheet("summary.css")),  # noqa: S704
            "role": role,
            "sheet": role.build(opened, found),
            **{name: getattr(found, name) for name in _OF_SUMMARIES},
        },
    )


_OF_SUMMARIES = ("charter", "evidence", "gate", "decision", "people", "unsettled")
