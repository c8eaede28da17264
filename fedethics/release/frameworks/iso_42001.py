"""ISO/IEC 42001:2023, Annex A: controls of an AI management system, by their numbers and titles."""

from __future__ import annotations

from fedethics.release.frameworks.framework import (
    PARTLY,
    Answer,
    Facts,
    Framework,
    Item,
    no,
    partly,
    stated,
    yes,
)

_OWN = no("The organisation's own; no release can show it.")


def _computing(facts: Facts) -> Answer:
    return stated(
        facts.said.hardware,
        said="What it is to run on, in the charter's words",
        answered=PARTLY,
        otherwise=no("Not recorded (documentation.hardware)."),
    )


def _watched(facts: Facts) -> Answer:
    return stated(
        facts.said.monitoring,
        said="The plan, in the charter's words; that it is carried out is not recorded",
        answered=PARTLY,
        otherwise=no("The charter states no plan (documentation.monitoring)."),
    )


def _quality(facts: Facts) -> Answer:
    checked = "Each site checks its records against the charter's schema, on its own machine."
    if facts.charter.census is not None:
        checked += " Who is in the data: the census, a rule of the gate."
    if facts.charter.annotation is None:
        return partly(checked)
    return partly(f"{checked} How well annotators agree: a rule of the gate.")


def _provenance(facts: Facts) -> Answer:
    return stated(
        facts.said.label_provenance,
        said="The source: data card. Labels, in the charter's words",
        answered=PARTLY,
        otherwise=partly("The source: data card. How labels came about: not recorded."),
    )


def _use(facts: Facts) -> Answer:
    return stated(
        facts.said.oversight,
        said="Oversight, in the charter's words",
        answered=PARTLY,
        otherwise=no("The charter does not say it (documentation.oversight)."),
    )


def _deployment(facts: Facts) -> Answer:
    return partly(f"{facts.decision.sentence} A plan for a product: missing.")


def _incidents(facts: Facts) -> Answer:
    note = facts.decision.withdrawal
    if note is None:
        return partly("A withdrawal would say who and why; nothing tells users elsewhere.")
    return partly(f"{note.sentence} Nothing tells users elsewhere.")


def _responsibilities(facts: Facts) -> Answer:
    return partly(
        f"{len(facts.charter.roster)} sites, the coordinator and "
        f"{len(facts.charter.ethics.stakeholders)} stakeholders by key, with who must approve. "
        "Contracts: not recorded."
    )


ISO_42001 = Framework(
    name="ISO/IEC 42001",
    title="ISO/IEC 42001, Annex A",
    source="ISO/IEC 42001:2023, Annex A; titles of controls paraphrased",
    lead="The standard is about how an organisation manages AI. A release can be evidence for some "
    "of its controls; it cannot show that an organisation has them, and it certifies nothing.",
    items=(
        Item("A.2", "policies related to AI", _OWN),
        Item("A.3", "internal organisation: roles, reporting of concerns", _OWN),
        Item("A.4.2", "resource documentation",
             partly("Base model and adapter by hash, packages by version: how to verify.")),
        Item("A.4.3", "data resources", partly("Data card: source, schema, groups, split.")),
        Item("A.4.4", "tooling resources", yes("Versions and code hash: how to verify.")),
        Item("A.4.5", "system and computing resources", _computing),
        Item("A.4.6", "human resources", _OWN),
        Item("A.5.2", "process of the impact assessment", _OWN),
        Item("A.5.3", "documentation of impact assessments", _OWN),
        Item("A.5.4", "impact on individuals and groups of individuals",
             partly("Who may be harmed, and how many people of each group the model fails: first "
                    "screen, groups.")),
        Item("A.5.5", "societal impacts", no("Not assessed.")),
        Item("A.6.1.2", "objectives for responsible development",
             yes("The charter's objectives with their bars and reasons, signed before the run.")),
        Item("A.6.1.3", "processes for responsible design and development",
             partly("Gate, approval and withdrawal. Other processes: not recorded.")),
        Item("A.6.2.2", "requirements and specification", partly("The charter.")),
        Item("A.6.2.3", "documentation of design and development",
             partly("Model card and charter. Reasons of other design choices: not recorded.")),
        Item("A.6.2.4", "verification and validation",
             yes("The gate, rule by rule, from sums that every site can check.")),
        Item("A.6.2.5", "deployment", _deployment),
        Item("A.6.2.6", "operation and monitoring", _watched),
        Item("A.6.2.7", "technical documentation", partly("EU AI Act, Annex IV: the table here.")),
        Item("A.6.2.8", "recording of event logs",
             partly("The run's events, and each site's ledger. Logs of use: missing.")),
        Item("A.7.2", "data for development",
             partly("Schema, split and text of a record: charter, data card.")),
        Item("A.7.3", "acquisition of data",
             partly("The source: charter. How the sites acquired it: not recorded.")),
        Item("A.7.4", "quality of data", _quality),
        Item("A.7.5", "provenance of data", _provenance),
        Item("A.7.6", "preparation of data",
             partly("How a record becomes text, and the split: charter. Cleaning: not recorded.")),
        Item("A.8.2", "system documentation and information for users",
             partly("Model card: intended use, out of scope, caveats.")),
        Item("A.8.3", "external reporting", _OWN),
        Item("A.8.4", "communication of incidents", _incidents),
        Item("A.8.5", "information for interested parties",
             partly("These pages, and a summary for each role.")),
        Item("A.9.2", "processes for responsible use", _use),
        Item("A.9.3", "objectives for responsible use", _OWN),
        Item("A.9.4", "intended use", yes("First screen, model card: purpose and out of scope.")),
        Item("A.10.2", "allocating responsibilities", _responsibilities),
        Item("A.10.3", "suppliers", partly("The base model by hash, packages by version.")),
        Item("A.10.4", "customers", _OWN),
    ),
)  # fmt: skip
