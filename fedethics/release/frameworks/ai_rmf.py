"""The NIST AI Risk Management Framework 1.0: NIST AI 100-1, tables of MAP, MEASURE and MANAGE."""

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


def _oversight(facts: Facts) -> Answer:
    return stated(
        facts.said.oversight,
        said="Approvals of the release; in use, in the charter's words",
        answered=HERE,
        otherwise=partly(
            "Who must approve the release. Oversight in use: the charter does not say it."
        ),
    )


def _signers(facts: Facts) -> Answer:
    people = [f"{one.role} {one.name}" for one in facts.charter.ethics.stakeholders]
    if not people:
        return no("The charter names no stakeholder besides the sites.")
    return partly(
        f"The charter is to be signed by {', '.join(people)}. Users and affected communities other "
        "than these: not recorded."
    )


def _explained(facts: Facts) -> Answer:
    single = "Single predictions: each site for itself, with `fedethics explain`."
    if facts.folder.tables.explanation is None:
        return no(f"The charter asks for no explanation over all sites. {single}")
    return partly(
        "What the model relies on: columns left out, words swapped, over all sites. " + single
    )


def _privacy(facts: Facts) -> Answer:
    attacked = "made, with its ROC" if facts.folder.evidence.audit else "not run"
    return partly(
        "Unit, epsilon at every site by signed receipt, every release. An attack on the adapter: "
        f"{attacked}."
    )


def _decided(facts: Facts) -> Answer:
    return yes(f"Verdict: {facts.gate.verdict}. {facts.decision.sentence}")


def _watched(facts: Facts) -> Answer:
    return stated(
        facts.said.monitoring,
        said="The plan, in the charter's words; that it is carried out is not recorded",
        answered=PARTLY,
        otherwise=no("The charter states no plan (documentation.monitoring)."),
    )


AI_RMF = Framework(
    name="NIST AI RMF 1.0",
    title="NIST AI RMF: MAP, MEASURE, MANAGE",
    source="NIST AI 100-1",
    lead="Those subcategories of which a release can show something. MEASURE 2.11 (fairness and "
    "bias, as mapped, are evaluated and documented) is divided; its letters are ours. Four-fifths "
    "and impact ratios in this report are screening statistics: a value below the bar is a reason "
    "to look, not a finding of unlawfulness.",
    items=(
        Item("MAP 1.1", "intended purposes, users, settings, laws and norms are documented",
             partly("Purpose, who may be harmed, reference population: charter. Laws and settings: "
                    "not recorded.")),
        Item("MAP 3.5", "processes for human oversight are defined and documented", _oversight),
        Item("MAP 5.1", "likelihood and magnitude of each identified impact",
             partly("How many people of each group the model fails: first screen. What a failure "
                    "does to them: the charter's words alone.")),
        Item("MEASURE 1.1", "metrics fit the risks that were mapped; what is not measured is "
             "documented", yes("Objectives with reasons; what was not measured.")),
        Item("MEASURE 1.3", "people besides the developers, experts and affected communities are "
             "consulted", _signers),
        Item("MEASURE 2.1", "test sets, metrics and tools are documented",
             yes("Data card, docs/fairness.md of this version, versions and code hash.")),
        Item("MEASURE 2.2", "evaluation is representative of the population",
             partly("The reference population is stated; these sums cannot show that the held-out "
                    "records represent it.")),
        Item("MEASURE 2.3", "performance is measured under conditions like those of use",
             partly("On held-out records of the same sites; not in use.")),
        Item("MEASURE 2.4", "functionality and behaviour are monitored in production", _watched),
        Item("MEASURE 2.5", "valid and reliable; limits of generalisation are documented",
             partly("Intervals hold chance and noise. Other sites and later years: not measured.")),
        Item("MEASURE 2.7", "security and resilience are evaluated and documented",
             partly("Secure aggregation and signatures: privacy section. Attacks on the model in "
                    "use: not tested.")),
        Item("MEASURE 2.8", "accountability and transparency",
             yes("Signatures, approvals, what the coordinator saw, verification offline.")),
        Item("MEASURE 2.9", "the model is explained and validated", _explained),
        Item("MEASURE 2.10", "privacy risk is examined and documented", _privacy),
        Item("MEASURE 2.11 (a)", "kinds of harm and the people harmed are named",
             yes("First screen; charter: harmed.")),
        Item("MEASURE 2.11 (b)", "harms are measured across, within and between groups, and for "
             "intersections",
             yes("Groups: each feature and, where counted, their intersection, with intervals; "
                 "groups too small to show are named.")),
        Item("MEASURE 2.11 (c)", "general and specific metrics, with thresholds and reasons",
             yes("The gate: the charter's objectives, fixed and hashed before the run.")),
        Item("MEASURE 2.11 (d)", "sources of bias in the data are examined",
             no("Whether labels are biased, or features stand in for groups, cannot be seen in "
                "these sums.")),
        Item("MEASURE 2.11 (e)", "results are documented and acted on", _decided),
        Item("MEASURE 2.11 (f)", "monitored after release with those affected", _watched),
        Item("MEASURE 2.12", "environmental impact", no("Not measured.")),
        Item("MANAGE 1.1", "it is determined whether the system achieves its purpose and should "
             "proceed", _decided),
        Item("MANAGE 2.4", "there are means to deactivate a system that does not behave as "
             "intended",
             partly("A signed withdrawal, after which `fedethics release score` refuses. Copies "
                    "elsewhere are not reached.")),
        Item("MANAGE 4.1", "plans for monitoring after deployment are implemented", _watched),
    ),
)  # fmt: skip
