"""One page of A4 for each role: its question, the answer, and the figures that it rests on.

Guarantee: a summary has so few rows and letters, whatever the charter and the roster, that it
prints on one page; what is left out is counted, and its place is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from fedethics.charter.cohorts import words
from fedethics.commands import suggested
from fedethics.release.content import Content
from fedethics.release.folder import (
    REPORT,
    REPORT_PRIVACY,
    REPORT_REGULATOR,
    REPORT_RESEARCHER,
    REPORT_SITE,
    SUMMARY,
    SUMMARY_PRIVACY,
    SUMMARY_REGULATOR,
    SUMMARY_RESEARCHER,
    SUMMARY_SITE,
    Folder,
)
from fedethics.release.sections.block import (
    Table,
    first_rows,
    shortened,
)
from fedethics.release.sections.openings import performance
from fedethics.release.sections.people import Count, Group, Part

_LONG, _SHORT, _CELL = 320, 170, 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """What a role's summary holds.

    Attributes:
        question: what this role answers for.
        answer: in one sentence.
        points: what else it must know, by a word or two each.
        tables: by caption.
        decision: where the release stands, in a sentence.
        named: how many of the rules that do not hold are named.
    """

    question: str
    answer: str
    decision: str
    points: Mapping[str, str]
    tables: Mapping[str, Table]
    named: int = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """One role's summary.

    Attributes:
        file: its name in the release.
        title: whom it is for.
        whole: the page that has the rest.
        build: fills it.
    """

    file: str
    title: str
    whole: str
    build: Callable[[Folder, Content], Sheet]


def _ethics(folder: Folder, found: Content) -> Sheet:
    people = found.people
    left_out = folder.charter.ethics.left_out
    return Sheet(
        question="May this model be used, and whom could it harm?",
        answer=shortened(people.harmed, _LONG),
        decision=shortened(found.decision.sentence, _LONG),
        points={
            "Tested": people.summary,
            "What it is for": shortened(people.purpose, _SHORT),
            "Whom the figures describe": shortened(people.population, _SHORT),
            "Not measured": shortened("; ".join(left_out), _LONG),
        },
        tables={
            "What the model would have done to the people it was tested on"
            + (" (95 % range, given the noise for their privacy)" if people.noisy else ""): (
                first_rows(_people(found), 14, more=REPORT)
            )
        },
        named=6,
    )


def _people(found: Content) -> Table:
    people = found.people
    groups = (people.everyone, *(group for each in people.features for group in each.groups))
    return Table(
        head=("Group", "People", *(shortened(column, _CELL) for column in people.columns)),
        rows=tuple(_group(group, people.noisy, len(people.columns)) for group in groups),
    )


def _group(group: Group, noisy: bool, columns: int) -> tuple[str, ...]:
    name = shortened(group.name, _CELL)
    if group.people is None:
        return (name, shortened(group.withheld, _CELL), *("" for _ in range(columns)))
    return (name, _count(group.people, noisy), *(_part(one, noisy) for one in group.parts))


def _count(count: Count, noisy: bool) -> str:
    return f"{count.value} ({count.low} to {count.high})" if noisy else str(count.value)


def _part(part: Part, noisy: bool) -> str:
    return f"{_count(part.number, noisy)} of {part.of.value}"


def _privacy(folder: Folder, found: Content) -> Sheet:
    opening = found.openings["privacy"]
    trust = folder.charter.privacy
    return Sheet(
        question=opening.question,
        answer=shortened(opening.answer, _LONG),
        decision=shortened(found.decision.sentence, _LONG),
        points={
            "What that means": opening.meaning,
            "Trust": (
                f"training {trust.training.trust_mode}, evaluation {trust.evaluation.trust_mode}; "
                f"up to {folder.charter.secagg.colluders} sites may collude with the coordinator"
            ),
            "Attack on the adapter": shortened(found.audited.words, _LONG),
            "Your own cap": suggested(
                "budget", "what-if", "CHARTER", "--ledger", "HOME", "--policy", "POLICY"
            ),
        },
        tables=opening.tables,
        named=2,
    )


def _regulator(folder: Folder, found: Content) -> Sheet:
    opening = found.openings["regulator"]
    head, rows = ("What", "SHA-256"), found.hashes.rows
    return Sheet(
        question=opening.question,
        answer=opening.answer,
        decision=shortened(found.decision.sentence, _LONG),
        points={
            "Who may be harmed": shortened(found.people.harmed, _LONG),
            "Who signed": shortened(found.signing, _LONG),
            "How to check": suggested("release", "verify", f"runs/{folder.evidence.run_id}"),
            "What this is not": "An assessment of conformity, or legal advice.",
        },
        tables=dict(opening.tables)
        | {"What this release was made from": Table(head=head, rows=_cells(rows, 90))},
    )


def _site(folder: Folder, found: Content) -> Sheet:
    charter, opening = folder.charter, found.openings["site"]
    terms = charter.privacy
    run = f"runs/{folder.evidence.run_id}"
    return Sheet(
        question=opening.question,
        answer=opening.answer,
        decision=shortened(found.decision.sentence, _LONG),
        points={
            "Who fell out": opening.meaning,
            "Check that your receipt is in your ledger": suggested(
                "ledger", "verify", "LEDGER", "--public-key", "KEY", "--receipt",
                f"{run}/evidence.json",
            ),
            "Check the release": suggested("release", "verify", run),
            "Use it, once it is released": suggested(
                "release", "score", run, "--data", "new.csv", "-o", "scores.csv"
            ),
            "Purpose, and nothing else": shortened(charter.ethics.purpose, _SHORT),
        },
        tables={
            f"What this run spent at each site: ε for one {terms.unit}, {terms.neighbouring}, at "
            f"delta {terms.delta:g}, by the site’s own signed receipt": first_rows(
                _columns(found.receipts, 0, 1, 2, 6), 12, more=REPORT_SITE
            )
        },
        named=2,
    )  # fmt: skip


def _columns(table: Table, *places: int) -> Table:
    rows = tuple(tuple(row[place] for place in places) for row in table.rows)
    return Table(head=tuple(table.head[place] for place in places), rows=_cells(rows, _CELL))


def _researcher(folder: Folder, found: Content) -> Sheet:
    charter, opening = folder.charter, found.openings["researcher"]
    model, adapter, training = charter.model, charter.adapter, charter.training
    return Sheet(
        question=opening.question,
        answer=shortened(opening.answer, _LONG),
        decision=shortened(found.decision.sentence, _LONG),
        points={
            "Model": shortened(
                f"{model.name}, task {model.task}, LoRA of rank {adapter.rank} and alpha "
                f"{adapter.alpha:g}; {training.rounds} rounds of {training.local_steps} local "
                f"steps, {training.optimizer}, {len(charter.roster)} sites"
                + (f" ({cohorts})" if (cohorts := words(charter)) else ""),
                _LONG,
            ),
            "Data": shortened(charter.data.source, _LONG),
            "Seed of the adapter": f"{adapter.seed}; noise has none",
            "Run it again": suggested("simulate", "SCENARIO"),
        },
        tables={
            "Over everyone, noise and chance in the intervals": performance(folder),
            "The mechanisms": first_rows(
                replace(found.mechanisms, rows=_cells(found.mechanisms.rows, 45)),
                9,
                more=REPORT_RESEARCHER,
            ),
            **_compared(found),
        },
        named=3,
    )


def _compared(found: Content) -> dict[str, Table]:
    if found.compared is None:
        return {}
    table = found.compared.table
    # What was done in each is told at length in the report.
    rows = tuple(row[:-1] for row in table.rows)
    narrow = Table(head=table.head[:-1], rows=_cells(rows, _CELL))
    return {"The same task learnt in other ways": first_rows(narrow, 6, more=REPORT_RESEARCHER)}


def _cells(rows: tuple[tuple[str, ...], ...], most: int) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(shortened(cell, most) for cell in row) for row in rows)


SUMMARIES = (
    Summary(
        file=SUMMARY, title="Summary for the ethics board", whole=REPORT, build=_ethics
    ),
    Summary(
        file=SUMMARY_PRIVACY,
        title="Summary for the privacy officer",
        whole=REPORT_PRIVACY,
        build=_privacy,
    ),
    Summary(
        file=SUMMARY_REGULATOR,
        title="Summary for the regulator",
        whole=REPORT_REGULATOR,
        build=_regulator,
    ),
    Summary(
        file=SUMMARY_SITE,
        title="Summary for a site’s operator",
        whole=REPORT_SITE,
        build=_site,
    ),
    Summary(
        file=SUMMARY_RESEARCHER,
        title="Summary for the researcher",
        whole=REPORT_RESEARCHER,
        build=_researcher,
    ),
)  # fmt: skip
