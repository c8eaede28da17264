"""Whether this is the agreed work: charter, model, data schema, self-tests and cohorts."""

from __future__ import annotations

from collections.abc import Sequence

from fedethics.aggregates.aggregate import sum_sha256
from fedethics.aggregates.registry import AGGREGATES, aggregate
from fedethics.charter import document
from fedethics.charter.cohorts import drawn
from fedethics.charter.model import Charter
from fedethics.charter_sums import FAIRNESS, UPDATE
from fedethics.errors import ReleaseError
from fedethics.privacy.ledger.receipt import SumSeen
from fedethics.release import durable
from fedethics.release.evidence import OpenedSum
from fedethics.release.folder import ADAPTER, CHARTER, EVIDENCE, Folder, located
from fedethics.release.rules.adapter import adapter_config
from fedethics.release.rules.privacy import genuine_receipts, took_part
from fedethics.release.rules.rule import Findings, Measurement, Rule, Topic
from fedethics.secagg.rules import sites_hash

_TOPIC: Topic = "integrity"
_OPENED, _TOLD = "figures from the opened sums", "sums as the sites were told"
_PROVEN = "sums that the sites recomputed"
SUM_RULES = (_OPENED, _TOLD, _PROVEN)
_IN_THE_SUM = frozenset({"confirm", "reveal"})
_EVALUATED = "the adapter that was evaluated"


def examine(folder: Folder) -> tuple[Rule, ...]:
    """Judge hashes, self-tests and cohorts."""
    return (
        _charter(folder),
        _adapter(folder),
        adapter_config(folder),
        *_agreed_work(folder),
    )


def examine_trial(folder: Folder) -> tuple[Rule, ...]:
    """Judge a trial of a search, whose adapter is kept nowhere, as the released run is judged."""
    return (_charter(folder), *_agreed_work(folder))


def _agreed_work(folder: Folder) -> tuple[Rule, ...]:
    return (
        _base(folder),
        _self_tests(folder),
        _cohort(folder),
        _sums(folder),
        _sums_seen(folder),
        *((_slices(folder),) if folder.charter.secagg.verify_slices else ()),
    )


def not_covered(rules: Sequence[Rule]) -> tuple[str, ...]:
    """Return what these rules leave out, by which of them ran and what they found."""
    verdicts = {rule.name: rule.verdict for rule in rules}
    recomputed = (
        "a false sum in slices that only sites colluding with the coordinator recomputed: each "
        "site checks its share of the slices and one drawn at random"
        if _PROVEN in verdicts
        else "false sums: the charter lets no site recompute a slice of them"
    )
    # Held by the rule, where it holds: each counted site signed the hash of the file.
    evaluated = () if verdicts.get(_EVALUATED) == "pass" else (_OTHER_MODEL,)
    return recomputed, *evaluated


_OTHER_MODEL = (
    "that the adapter file is the model that the figures are about: not every counted site signed "
    "the hash of this file"
)


def _charter(folder: Folder) -> Rule:
    found = folder.evidence
    faults: list[str] = []
    if found.charter_hash != folder.charter_sha256:
        faults.append(
            f"charter.json hashes to {folder.charter_sha256[:12]}, but the run followed "
            f"{found.charter_hash[:12]}."
        )
    if found.schema_hash != document.schema_hash(folder.charter):
        faults.append("The data schema is not the charter's.")
    findings = Findings(faults=tuple(faults))
    return findings.rule(
        "the agreed charter and schema",
        topic=_TOPIC,
        holds=f"The run followed charter {folder.charter_sha256[:12]} and its data schema; every "
        "bar above was fixed before the run.",
        evidence=CHARTER,
    )


def _adapter(folder: Folder) -> Rule:
    faults: list[str] = []
    gaps: tuple[str, ...] = ()
    try:
        actual = durable.file_sha256(located(folder.path, ADAPTER))
    except ReleaseError as error:
        faults.append(str(error))
    else:
        if actual != folder.evidence.model_hash:
            faults.append(
                f"{ADAPTER} hashes to {actual[:12]}, but the one that was evaluated is "
                f"{folder.evidence.model_hash[:12]}."
            )
        others, silent = _other_adapters(folder, actual)
        faults += others
        gaps = silent
    findings = Findings(faults=tuple(faults), gaps=gaps)
    return findings.rule(
        _EVALUATED,
        topic=_TOPIC,
        holds=f"The adapter of this run, {folder.evidence.model_hash[:12]}, is the one that the "
        "group tables are about, by each counted site's signed receipt.",
        evidence=ADAPTER,
    )


def _other_adapters(folder: Folder, actual: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return who counted the groups of another adapter than this file, and who does not say."""
    counted = {
        site: told.adapter
        for site, receipt in genuine_receipts(folder).items()
        for told in receipt.sums
        if told.kind == FAIRNESS
    }
    sites = [
        site
        for entry in folder.evidence.rounds
        if entry.kind == FAIRNESS
        for site in entry.survivors
    ]
    # Of all receipts, not only those of whom the coordinator lists as counted.
    others = [site for site, told in counted.items() if told not in {None, actual}]
    silent = [site for site in sites if counted.get(site) is None]
    return (
        (f"The group tables of {', '.join(others)} are of another adapter.",) if others else (),
        (f"No receipt of {', '.join(silent)} says which adapter was counted.",) if silent else (),
    )


def _base(folder: Folder) -> Rule:
    agreed, used = folder.charter.model.sha256, folder.evidence.base_model_sha256
    faults = () if agreed == used else (f"The base model was {used[:12]}, agreed: {agreed[:12]}.",)
    findings = Findings(faults=faults)
    return findings.rule(
        "the agreed base model",
        topic=_TOPIC,
        holds=f"{folder.charter.model.name}, {agreed[:12]}, as agreed.",
        evidence=EVIDENCE,
    )


def _self_tests(folder: Folder) -> Rule:
    # The sites' own signed word; the coordinator is not asked.
    results = {site: receipt.self_test_passed for site, receipt in genuine_receipts(folder).items()}
    failed = [site for site, passed in results.items() if not passed]
    missing = [site for site in took_part(folder) if site not in results]
    findings = Findings(
        faults=(f"The DP self-test failed at {', '.join(failed)}.",) if failed else (),
        gaps=(f"No self-test result from {', '.join(missing)}.",) if missing else (),
    )
    return findings.rule(
        "self-tests at every site",
        topic=_TOPIC,
        holds="At every site the per-example gradients, the clipping and the trained weights "
        "passed the start-up self-test.",
        evidence=EVIDENCE,
    )


def _cohort(folder: Folder) -> Rule:
    opened = folder.evidence.rounds
    faults = [fault for entry in opened for fault in sum_faults(folder.charter, entry)]
    everyone = len(folder.charter.roster)
    counted = {
        frozenset(entry.survivors)
        for entry in opened
        if aggregate(entry.kind).fewest(folder.charter) == everyone
    }
    if len(counted) > 1:
        # Data stand still between count sums, so two of them differ by one site's own table.
        faults.append("Count sums were opened over different sets of sites.")
    gaps = () if opened else ("No opened sum is on record.",)
    findings = Findings(faults=tuple(faults), gaps=gaps)
    smallest = min((len(entry.survivors) for entry in opened), default=None)
    minimum, quorum = folder.charter.secagg.minimum_cohort, folder.charter.secagg.quorum
    return findings.rule(
        "sums over enough sites",
        topic=_TOPIC,
        holds=f"All {len(opened)} opened sums are over at least {smallest} sites (the charter asks "
        f"for {minimum}), and the count sums over the whole cohort"
        + ("" if quorum is None else f", or at least the quorum of {quorum}")
        + ".",
        evidence=EVIDENCE,
        figure=Measurement(
            value=None if smallest is None else float(smallest),
            bar=float(minimum),
            direction="at-least",
        ),
    )


def _sums(folder: Folder) -> Rule:
    found, kinds = folder.evidence, AGGREGATES.values()
    faults = [fault for each in kinds for fault in each.faults(found)]
    faults += _listed(folder)
    faults += _counted(folder)
    gaps = tuple(gap for each in kinds for gap in each.gaps(found))
    findings = Findings(faults=tuple(faults), gaps=gaps)
    return findings.rule(
        _OPENED,
        topic=_TOPIC,
        holds="The tables behind every figure hash to the sums that were opened.",
        evidence=EVIDENCE,
    )


def _counted(folder: Folder) -> list[str]:
    """Return which counts are not those of their sum, or are listed twice."""
    opened = {(entry.kind, entry.round): entry.sum_sha256 for entry in folder.evidence.rounds}
    counted = folder.evidence.counted or ()
    keys = [(entry.kind, entry.round) for entry in counted]
    return [
        f"The {entry.kind} counts of round {entry.round} are not the sum that was opened."
        for entry in counted
        if keys.count((entry.kind, entry.round)) > 1
        or opened.get((entry.kind, entry.round)) != sum_sha256(entry.counts)
    ]


def _listed(folder: Folder) -> list[str]:
    """Return which sums are on record twice, or are not and must be."""
    keys = [(entry.kind, entry.round) for entry in folder.evidence.rounds]
    faults = [
        f"The {kind} sum of round {number} is on record more than once."
        for kind, number in dict.fromkeys(keys)
        if keys.count((kind, number)) > 1
    ]
    last = folder.charter.training.rounds
    missing = [number for number in range(1, last + 1) if (UPDATE, number) not in keys]
    if keys and missing:
        faults.append(f"No update sum is on record of round {', '.join(map(str, missing))}.")
    beyond = [number for kind, number in keys if kind == UPDATE and not 1 <= number <= last]
    if beyond:
        faults.append(f"The charter has no round {', '.join(map(str, beyond))}.")
    return faults


def _sums_seen(folder: Folder) -> Rule:
    """Hold what the coordinator wrote down against what each site signed, from its REVEAL on.

    Of all genuine receipts, listed or not: the coordinator alone writes the lists.
    """
    opened: dict[tuple[str, int], OpenedSum] = {
        (entry.kind, entry.round): entry for entry in folder.evidence.rounds
    }
    faults: list[str] = []
    gaps: list[str] = []
    confirmed: dict[tuple[str, int], set[str]] = {key: set() for key in opened}
    for site, receipt in genuine_receipts(folder).items():
        for told in receipt.sums:
            where, entry = f"the {told.kind} sum of round {told.round}", opened.get(_key(told))
            if entry is None:
                faults.append(f"{site} helped to open {where}, which is not on record.")
                continue
            if site in confirmed[_key(told)]:
                faults.append(f"The receipt of {site} names {where} twice.")
            confirmed[_key(told)].add(site)
            faults += contradictions(site, told, entry)
            gaps += unsaid(site, told)
    for key, entry in opened.items():
        silent = [site for site in entry.survivors if site not in confirmed[key]]
        if silent:
            listed = ", ".join(silent)
            gaps.append(f"No receipt of {listed} confirms the {entry.kind} of round {entry.round}.")
    findings = Findings(faults=tuple(faults), gaps=tuple(gaps))
    return findings.rule(
        _TOLD,
        topic=_TOPIC,
        holds="Every sum on record is the one that sites were told, in the session and over the "
        "sites that each of them signed, by their receipts; and no receipt names another.",
        evidence=EVIDENCE,
    )


def _key(told: SumSeen) -> tuple[str, int]:
    return told.kind, told.round


def contradictions(site: str, told: SumSeen, entry: OpenedSum) -> list[str]:
    """Return where the record of a sum is not what a site signed of it."""
    where = f"the {told.kind} sum of round {told.round}"
    faults = []
    if told.sha256 not in {None, entry.sum_sha256}:
        faults.append(
            f"{site} was told another {told.kind} sum of round {told.round} than is on record."
        )
    if told.session not in {None, entry.session}:
        faults.append(f"{site} opened {where} in another session than is on record.")
    if told.cohort != sites_hash(entry.cohort):
        faults.append(f"{site} was shown another cohort for {where} than is on record.")
    if told.survivors != sites_hash(entry.survivors):
        faults.append(f"{site} signed that other sites are in {where} than is on record.")
    return faults


def unsaid(site: str, told: SumSeen) -> list[str]:
    """Return what a site does not say of a sum that it helped to open."""
    where = f"the {told.kind} sum of round {told.round}"
    gaps = []
    if told.sha256 is None:
        gaps.append(f"{site} helped to open {where} and was never told it.")
    if told.session is None:
        gaps.append(f"{site} does not say in which session it opened {where}.")
    return gaps


def _slices(folder: Folder) -> Rule:
    """Ask each site in a sum whether the sum followed from what the sites had signed.

    A receipt that says "failed" counts, whichever sites the coordinator lists as being in the sum.
    """
    gaps: list[str] = []
    said = {
        (site, *_key(told)): told.slices
        for site, receipt in genuine_receipts(folder).items()
        for told in receipt.sums
    }
    refuted: dict[tuple[str, int], list[str]] = {}
    for (site, kind, number), check in said.items():
        if check == "failed":
            refuted.setdefault((kind, number), []).append(site)
    faults = [
        f"The {kind} sum of round {number} is false, by the check of {', '.join(sites)}."
        for (kind, number), sites in refuted.items()
    ]
    for entry in folder.evidence.rounds:
        where = f"the {entry.kind} sum of round {entry.round}"
        # A site that helped to open a sum is in it, even if it is not listed.
        signed = {site for site, *key in said if tuple(key) == (entry.kind, entry.round)}
        unchecked = [
            site
            for site in sorted(signed | set(entry.survivors))
            if said.get((site, entry.kind, entry.round)) not in {"passed", "failed"}
        ]
        if unchecked:
            gaps.append(f"{', '.join(unchecked)} did not check {where}.")
    return Findings(faults=tuple(faults), gaps=tuple(gaps)).rule(
        _PROVEN,
        topic=_TOPIC,
        holds="Every site checked its slices of every sum that it is in: the sums follow from what "
        "the sites signed.",
        evidence=EVIDENCE,
    )


def sum_faults(charter: Charter, entry: OpenedSum) -> list[str]:
    """Return where the sites of an opened sum are not those that its charter asks for."""
    where = f"The {entry.kind} sum of round {entry.round}"
    cohort, survivors = set(entry.cohort), set(entry.survivors)
    minimum = charter.secagg.minimum_cohort
    faults: list[str] = []
    if len(survivors) < minimum or len(survivors) != len(entry.survivors):
        faults.append(f"{where} was opened over {len(survivors)} sites, fewer than {minimum}.")
    if not cohort <= set(charter.site_names):
        faults.append(f"{where} names a site that is not on the roster.")
    # A site that fell silent at these stages had sent its masked vector: it is in the sum.
    late = {dropout.site for dropout in entry.dropped if dropout.stage in _IN_THE_SUM}
    gone = {dropout.site for dropout in entry.dropped} - late
    if survivors | gone != cohort or survivors & gone or not late <= survivors:
        faults.append(f"{where} does not account for every site asked.")
    for what, listed in (("asked", entry.cohort), ("in it", entry.survivors)):
        if len(set(listed)) != len(listed):
            faults.append(f"{where} lists a site twice as {what}.")
    if aggregate(entry.kind).trains and not cohort <= set(drawn(charter, entry.round)):
        faults.append(f"{where} was asked of a site that is not drawn for the round.")
    kind, everyone = aggregate(entry.kind), set(charter.site_names)
    if kind.fewest(charter) == len(everyone) and not survivors == cohort == everyone:
        faults.append(f"{where} was opened without the whole cohort.")
    elif len(survivors) < kind.fewest(charter):
        faults.append(f"{where} was opened over fewer sites than the quorum of its charter.")
    return faults
