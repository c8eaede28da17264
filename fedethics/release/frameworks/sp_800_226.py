"""NIST SP 800-226, Guidelines for Evaluating Differential Privacy Guarantees (March 2025).

It numbers no requirements. The rows are what it says an evaluation must look at, in our words.
"""

from __future__ import annotations

from fedethics.release.frameworks.framework import (
    Answer,
    Facts,
    Framework,
    Item,
    no,
    partly,
    yes,
)
from fedethics.release.rules.privacy import genuine_receipts


def _epsilon(facts: Facts) -> Answer:
    privacy, found = facts.charter.privacy, genuine_receipts(facts.folder)
    spent = [
        one
        for receipt in found.values()
        for one in (receipt.training_epsilon, receipt.evaluation_epsilon)
    ]
    if None in spent:
        return no("It is infinite at a site: there is no such guarantee.")
    missing = len(facts.charter.roster) - len(found)
    if missing or not spent:
        return partly(f"{missing} sites gave no valid receipt, so what they spent is not known.")
    worst = max(one for one in spent if one is not None)
    return yes(
        f"At most {worst:.3f} at every site, by its signed receipt; agreed: "
        f"{privacy.training.epsilon:g} for training, {privacy.evaluation.epsilon:g} for evaluation."
    )


def _delta(facts: Facts) -> Answer:
    delta, members = facts.charter.privacy.delta, facts.charter.roster
    large = [one.site for one in members if delta * one.declared_records >= 1]
    if large:
        return partly(f"{delta:g}; not below one over the declared records of {', '.join(large)}.")
    return yes(f"{delta:g}, below one over the declared training records of every site.")


def _unit(facts: Facts) -> Answer:
    if facts.charter.privacy.unit == "person":
        return yes("A person, with all records at a site. Persons at several sites: not linked.")
    return yes(
        "A record. What that promises a person with 2, 5 and 10 records: the privacy officer's "
        "first screen."
    )


def _neighbours(facts: Facts) -> Answer:
    return yes(
        f"(epsilon, delta) under {facts.charter.privacy.neighbouring} neighbours, composed as "
        "privacy loss distributions."
    )


def _mechanisms(facts: Facts) -> Answer:
    privacy = facts.charter.privacy
    return yes(f"{privacy.training.mechanism} and {privacy.evaluation.mechanism}: privacy section.")


def _trust(facts: Facts) -> Answer:
    privacy, colluders = facts.charter.privacy, facts.charter.secagg.colluders
    return yes(
        f"Training {privacy.training.trust_mode}, evaluation {privacy.evaluation.trust_mode}; a "
        f"lying coordinator together with up to {colluders} sites: privacy section."
    )


def _exact(facts: Facts) -> Answer:
    training = facts.charter.privacy.training
    if facts.folder.evidence.test_mode:
        return no("A test run: the noise came from a fixed seed.")
    if training.trust_mode == "distributed" or training.noise == "strict":
        return yes("All noise is exact integers from the operating system's generator.")
    return partly(
        'Counts: exact integers. Gradients: noise "fast", drawn in floating point; "strict" and '
        "distributed trust are exact."
    )


def _attacked(facts: Facts) -> Answer:
    if not facts.folder.evidence.audit:
        return partly("Self-tests at every site. No attack on this adapter was made.")
    return yes("Self-tests at every site; an attack on the adapter, which can refute epsilon only.")


SP_800_226 = Framework(
    name="NIST SP 800-226",
    title="NIST SP 800-226, differential privacy",
    source="What SP 800-226 (March 2025) says an evaluation must look at, in our words",
    lead="The publication numbers no requirements; the rows are its topics, from the guarantee "
    "down to what it rests on.",
    items=(
        Item("Epsilon", "the privacy parameter, for everything released", _epsilon),
        Item("Delta", "the probability that is left out, and how it compares with the records",
             _delta),
        Item("Unit of privacy", "whose or what's presence is hidden", _unit),
        Item("Variant", "the definition, and which data sets are neighbours", _neighbours),
        Item("Composition", "all releases on the same data are counted together",
             yes("Every opened sum of the run: what left the sites. Over runs: each site's own "
                 "ledger, which stays at the site.")),
        Item("Mechanisms", "algorithms and their parameters", _mechanisms),
        Item("Utility", "how far noise moves the results",
             yes("Every interval includes the noise.")),
        Item("Bias", "whether noise or small numbers hurt some groups more",
             partly("Groups with intervals; small groups are withheld and named. Bias in how the "
                    "data came about: not examined.")),
        Item("Trust model", "who must be trusted with what", _trust),
        Item("Implementation", "exact arithmetic and random numbers", _exact),
        Item("Testing", "the promise is put to a test", _attacked),
        Item("Side channels", "timing, errors and sizes",
             partly("Messages have fixed sizes and refusals are codes: what the coordinator saw. "
                    "Timing at the sites: not examined.")),
        Item("Other releases", "what is published of the same data without noise",
             partly("Declared numbers of records and absent groups: charter. What a site publishes "
                    "elsewhere: not known here.")),
        Item("Security and access", "who can read the records where they lie",
             no("Each site's own; no release can show it.")),
        Item("Data collection", "how the records came to be held",
             partly("Records stay at their sites. How the sites collected them: not recorded.")),
    ),
)  # fmt: skip
