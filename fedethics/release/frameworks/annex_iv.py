"""Annex IV of the EU AI Act, the technical documentation: Regulation (EU) 2024/1689."""

from __future__ import annotations

from fedethics.release.frameworks.framework import (
    HERE,
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


def _provider(facts: Facts) -> Answer:
    return stated(
        facts.said.provider,
        said="Purpose and version: first screen, charter. The provider, in the charter's words",
        answered=HERE,
        otherwise=partly("Purpose and version: first screen, charter. The provider: not recorded."),
    )


def _hardware(facts: Facts) -> Answer:
    return stated(
        facts.said.hardware,
        said="In the charter's words",
        answered=HERE,
        otherwise=no("The charter does not say it (documentation.hardware)."),
    )


def _data(facts: Facts) -> Answer:
    counted = ", a census beside the reference population" if facts.charter.census else ""
    described = f"source, schema, groups, split{counted}"
    return stated(
        facts.said.label_provenance,
        said=f"Data card: {described}. Cleaning: not recorded. Labelling, in the charter's words",
        answered=PARTLY,
        otherwise=partly(
            f"Data card: {described}. Cleaning: not recorded. How labels were made: only as far as "
            "the charter's source or annotation says."
        ),
    )


def _oversight(facts: Facts) -> Answer:
    return stated(
        facts.said.oversight,
        said="Who approved the release: signatures. In use, in the charter's words",
        answered=HERE,
        otherwise=partly(
            "Who signed, who approved the release. Oversight in use: the charter does not say it "
            "(documentation.oversight)."
        ),
    )


def _changes(facts: Facts) -> Answer:
    return stated(
        facts.said.changes,
        said="In the charter's words",
        answered=HERE,
        otherwise=no("The charter foresees none (documentation.changes)."),
    )


def _lifecycle(facts: Facts) -> Answer:
    where = "Each release names its charter by hash; `fedethics charter diff` shows what changed."
    if facts.charter.adapter.from_:
        where += f" Training started from the release with adapter {facts.charter.adapter.from_}."
    return partly(where)


def _monitoring(facts: Facts) -> Answer:
    return stated(
        facts.said.monitoring,
        said="The plan, in the charter's words; that it is carried out is not recorded",
        answered=PARTLY,
        otherwise=no(
            "The charter states no plan (documentation.monitoring). A release can be withdrawn: "
            "`fedethics release withdraw`."
        ),
    )


ANNEX_IV = Framework(
    name="EU AI Act, Annex IV",
    title="EU AI Act, Annex IV",
    source="Annex IV of Regulation (EU) 2024/1689",
    lead="Where each item of the technical documentation is answered, and which is not. The items "
    "are paraphrased; the official text prevails. This is neither an assessment of conformity nor "
    "legal advice.",
    items=(
        Item("1 (a)", "intended purpose, provider, version", _provider),
        Item("1 (b)", "interaction with other hardware, software, AI systems",
             no("Depends on the product that the adapter is built into.")),
        Item("1 (c)", "versions of software and update requirements",
             yes("How to verify: versions, code hash, base model by hash.")),
        Item("1 (d)", "forms in which it is put on the market",
             partly("An adapter in peft's format; the provider says how it is sold or served.")),
        Item("1 (e)", "hardware it runs on", _hardware),
        Item("1 (f)", "the product that it is part of", no("The provider must say this.")),
        Item("1 (g)", "user interface for the deployer", no("There is none here.")),
        Item("1 (h)", "instructions for use",
             partly("Model card: intended use, out of scope, caveats. Instructions for a product: "
                    "missing.")),
        Item("2 (a)", "methods and steps of development, pre-trained parts",
             yes("Model card: model details; charter: model, adapter, training.")),
        Item("2 (b)", "design: logic, choices and their reasons, for whom it is used on; "
             "trade-offs",
             partly("Charter: objectives with their reasons, mitigation allowed; comparisons where "
                    "made. Other design choices: not recorded.")),
        Item("2 (c)", "architecture, computing resources",
             partly("Architecture: charter. Computing resources of the training: not recorded.")),
        Item("2 (d)", "data: provenance, scope, characteristics, selection, labelling, cleaning",
             _data),
        Item("2 (e)", "human oversight measures", _oversight),
        Item("2 (f)", "changes determined beforehand", _changes),
        Item("2 (g)", "validation and testing, metrics for accuracy and for potentially "
             "discriminatory impacts; test logs and reports, dated and signed",
             yes("The gate, groups with intervals, evidence.json; manifest signed by the "
                 "coordinator, receipts by the sites. Robustness: not tested.")),
        Item("2 (h)", "cybersecurity measures",
             partly("Secure aggregation, signatures, differential privacy: privacy section. "
                    "Security of the product: missing.")),
        Item("3", "capabilities and limits, accuracy for specific groups, foreseeable harm, "
             "oversight, input data",
             partly("Groups, first screen (who may be harmed), data card (inputs). Limits outside "
                    "the reference population: not measured.")),
        Item("4", "why the performance metrics are appropriate",
             yes("The reason given with each objective of the gate, in the charter's words.")),
        Item("5", "risk management system (Article 9)",
             no("An organisation's process, not a file.")),
        Item("6", "changes through the lifecycle", _lifecycle),
        Item("7", "harmonised standards applied", no("None are claimed.")),
        Item("8", "EU declaration of conformity", no("Software cannot declare this.")),
        Item("9", "post-market monitoring (Article 72)", _monitoring),
    ),
)  # fmt: skip
