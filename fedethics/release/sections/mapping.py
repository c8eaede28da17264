"""Which item of Annex IV and of NIST's MEASURE function is answered where, and which is not.

The items are paraphrased from Regulation (EU) 2024/1689, Annex IV, and NIST AI 100-1, table 3; the
official texts prevail. A mapping says where to look. It is no assessment of conformity.
"""

from __future__ import annotations

from collections.abc import Mapping

from fedethics.release.decision import Decision
from fedethics.release.folder import Folder
from fedethics.release.sections.block import NOTHING, Table

HERE, PARTLY, ABSENT = "yes", "in part", "no"
_HEAD = ("Item", "What it asks for", "Answered?", "Where, or what is missing")

_PRIVACY = (
    "Unit, epsilon at every site by signed receipt, every release. An attack on the adapter: "
)
_EXPLAINED = (
    "What the model relies on: columns left out, words swapped, over all sites. Single "
    "predictions: each site for itself, with `fedethics explain`."
)
_UNEXPLAINED = (
    "The charter asks for no explanation over all sites. Single predictions: each site for itself, "
    "with `fedethics explain`."
)
_ANNEX_IV = (
    ("1 (a)", "intended purpose, provider, version", PARTLY,
     "Purpose and version: first screen, charter. The provider: not recorded."),
    ("1 (b)", "interaction with other hardware, software, AI systems", ABSENT,
     "Depends on the product that the adapter is built into."),
    ("1 (c)", "versions of software and update requirements", HERE,
     "How to verify: versions, code hash, base model by hash."),
    ("1 (d)", "forms in which it is put on the market", PARTLY,
     "A LoRA adapter in peft's format; the provider says how it is sold or served."),
    ("1 (e)", "hardware it runs on", ABSENT, "The provider must say this."),
    ("1 (f)", "the product that it is part of", ABSENT, "The provider must say this."),
    ("1 (g)", "user interface for the deployer", ABSENT, "There is none here."),
    ("1 (h)", "instructions for use", PARTLY,
     "Model card: intended use, out of scope, caveats. Instructions for a product: missing."),
    ("2 (a)", "methods and steps of development, pre-trained parts", HERE,
     "Model card: model details; charter: model, adapter, training."),
    ("2 (b)", "design: logic, choices and their reasons, with regard to whom it is used on; "
     "trade-offs", PARTLY,
     "Charter: objectives with their reasons, mitigation allowed; comparisons where made. Other "
     "design choices: not recorded."),
    ("2 (c)", "architecture, computing resources", PARTLY,
     "Architecture: charter. Computing resources: not recorded."),
    ("2 (d)", "data: provenance, scope, characteristics, selection, labelling, cleaning", PARTLY,
     "Data card: source, schema, groups, split. How labels were made: only as far as the charter's "
     "source says."),
    ("2 (e)", "human oversight measures", PARTLY,
     "Who signed, who approved the release. Oversight in use: the deployer must say this."),
    ("2 (f)", "changes determined beforehand", ABSENT, "None are foreseen by a charter."),
    ("2 (g)", "validation and testing, metrics for accuracy and for potentially discriminatory "
     "impacts; test logs and reports, dated and signed", HERE,
     "The gate, groups with intervals, evidence.json; manifest signed by the coordinator, receipts "
     "by the sites. Robustness: not tested."),
    ("2 (h)", "cybersecurity measures", PARTLY,
     "Secure aggregation, signatures, differential privacy: privacy section. Security of the "
     "product: missing."),
    ("3", "capabilities and limits, accuracy for specific groups, foreseeable harm, oversight, "
     "input data", PARTLY,
     "Groups, first screen (who may be harmed), data card (inputs). Limits outside the reference "
     "population: not measured."),
    ("4", "why the performance metrics are appropriate", HERE,
     "The reason given with each objective of the gate, in the charter's words."),
    ("5", "risk management system (Article 9)", ABSENT, "An organisation's process, not a file."),
    ("6", "changes through the lifecycle", PARTLY,
     "Each release names its charter by hash; `fedethics charter diff` shows what changed."),
    ("7", "harmonised standards applied", ABSENT, "None are claimed."),
    ("8", "EU declaration of conformity", ABSENT, "Software cannot declare this."),
    ("9", "post-market monitoring (Article 72)", ABSENT, "Not built."),
)  # fmt: skip

_MEASURE = (
    ("MEASURE 1.1", "metrics chosen for the risks that were mapped; what is not measured is "
     "documented", HERE, "Objectives with reasons; what was not measured."),
    ("MEASURE 1.3", "people besides the developers, domain experts and affected communities are "
     "consulted", PARTLY, "{signers}"),
    ("MEASURE 2.1", "test sets, metrics and tools are documented", HERE,
     "Data card, docs/fairness.md of this version, versions and code hash."),
    ("MEASURE 2.2", "evaluation is representative of the population", PARTLY,
     "The reference population is stated; these sums cannot show that the held-out records "
     "represent it."),
    ("MEASURE 2.3", "performance is measured under conditions like those of use", PARTLY,
     "On held-out records of the same sites; not in use."),
    ("MEASURE 2.5", "valid and reliable; limits of generalisation are documented", PARTLY,
     "Intervals hold chance and noise. Other sites and later years: not measured."),
    ("MEASURE 2.8", "accountability and transparency", HERE,
     "Signatures, approvals, what the coordinator saw, verification offline."),
    ("MEASURE 2.9", "the model is explained and validated", "{explaining}", "{explained}"),
    ("MEASURE 2.10", "privacy risk is examined and documented", PARTLY,
     "{audit}"),
    ("MEASURE 2.11 (a)", "kinds of harm and the people harmed are named", HERE,
     "First screen; charter: harmed."),
    ("MEASURE 2.11 (b)", "harms are measured across, within and between groups, and for "
     "intersections", HERE, "Groups: each feature and their intersection, with intervals; groups "
     "too small to show are named."),
    ("MEASURE 2.11 (c)", "general and context-specific metrics, with thresholds and reasons", HERE,
     "The gate: the charter's objectives, fixed and hashed before the run."),
    ("MEASURE 2.11 (d)", "sources of bias in the data are examined", ABSENT,
     "Whether labels are biased, or features stand in for groups, cannot be seen in these sums."),
    ("MEASURE 2.11 (e)", "results are documented and acted on", HERE, "{decision}"),
    ("MEASURE 2.11 (f)", "monitored after release with those affected", ABSENT, "Not built."),
    ("MEASURE 2.12", "environmental impact", ABSENT, "Not measured."),
)  # fmt: skip


def counted(table: Table) -> tuple[int, int, int]:
    """Return how many items of a mapping are answered, answered in part, and not answered."""
    answers = [row[2] for row in table.rows]
    here, partly, absent = (answers.count(kind) for kind in (HERE, PARTLY, ABSENT))
    return here, partly, absent


def answered(mapped: Mapping[str, Table]) -> Table:
    """Return one row for each mapping: how many items are answered, and which are not."""
    return Table(
        head=("Framework", HERE, PARTLY, ABSENT, "Not answered"),
        rows=tuple(
            (
                name,
                *map(str, counted(table)),
                ", ".join(row[0] for row in table.rows if row[2] == ABSENT) or NOTHING,
            )
            for name, table in mapped.items()
        ),
    )


def annex_iv(folder: Folder, decision: Decision) -> Table:
    """Return the mapping to Annex IV of the EU AI Act."""
    return Table(head=_HEAD, rows=_filled(_ANNEX_IV, folder, decision))


def measure(folder: Folder, decision: Decision) -> Table:
    """Return the mapping to NIST AI RMF, MEASURE 2.11 and its neighbours.

    The letters under 2.11 are ours, for parts of its one sentence and of NIST's playbook.
    """
    return Table(head=_HEAD, rows=_filled(_MEASURE, folder, decision))


def _filled(
    items: tuple[tuple[str, str, str, str], ...], folder: Folder, decision: Decision
) -> tuple[tuple[str, ...], ...]:
    people = [f"{one.role} {one.name}" for one in folder.charter.ethics.stakeholders]
    signers = (
        f"The charter is to be signed by {', '.join(people)}. Users and affected communities other "
        "than these: not recorded."
        if people
        else "The charter names no stakeholder besides the sites."
    )
    attacked = "made, with its ROC" if folder.evidence.audit else "not run"
    explained = folder.tables.explanation is not None
    words = {
        "{signers}": signers,
        "{decision}": decision.sentence,
        "{audit}": _PRIVACY + attacked,
        "{explaining}": PARTLY if explained else ABSENT,
        "{explained}": _EXPLAINED if explained else _UNEXPLAINED,
    }
    return tuple(
        (item, asks, words.get(answered, answered), words.get(where, where))
        for item, asks, answered, where in items
    )
