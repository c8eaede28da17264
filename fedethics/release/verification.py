"""Whether a release is what it says, checked offline from its directory alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fedethics import canonical, plain_file, terms
from fedethics.charter.signing import standing
from fedethics.errors import LedgerError, LedgerTampered, ReleaseError
from fedethics.privacy.ledger.verify import verify_files
from fedethics.release import durable, folder, gate, manifest, readers
from fedethics.release.decision import Decision, decided, placement_fault
from fedethics.release.folder import BENCHMARKS, GATE, MANIFEST, Folder, located
from fedethics.release.gate import GateReport
from fedethics.release.pages import renderer_sha256
from fedethics.release.receipts import Heads, countersignature_faults
from fedethics.release.rules import benchmarks
from fedethics.release.rules.integrity import SUM_RULES
from fedethics.release.rules.privacy import receipt_faults
from fedethics.release.rules.signatures import SIMULATED, UNWATCHED

# 10 years of daily runs have some 200 MB.
_LEDGER_LIMIT = 4 * 1024 * 1024 * 1024
PAGES_TOPIC, SENTENCES_TOPIC = "pages", "sentences"
PLACEMENT = "the adapter is where the decision says"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was checked, and what is wrong with it; nothing wrong is an empty tuple.

    Attributes:
        note: what the check could not see, or what its holding means; may be empty.
        not_checked: what it left out, by name: files that cannot be written again here, ledgers
            that do not lie here.
        topic: the word by which an approver does without this check; of those that can be
            `undecided`.
        undecided: whether it could not be carried out here, though the release claims that it can;
            `note` says why.
        ended: whether the release is whole and must not be used any more; `note` says why.
    """

    name: str
    problems: tuple[str, ...]
    note: str = ""
    not_checked: tuple[str, ...] = ()
    topic: str = ""
    undecided: bool = False
    ended: bool = False


def verify(run_dir: Path) -> tuple[Check, ...]:
    """Check hashes, every signature, ledger heads, sums, pages, and that the verdict follows.

    Raises:
        ReleaseError: a file that all else rests on is missing or malformed.
        CharterError: charter.json is not a charter with a roster.
    """
    opened = folder.load(run_dir)
    judged = gate.judge(opened)
    decision, void = decided(opened, judged.verdict)
    return (
        Check(name="manifest is signed by the coordinator", problems=_manifest_signature(opened)),
        Check(name="files are those of the manifest", problems=_files(run_dir, decision)),
        Check(name="manifest names what it was made from", problems=_sources(opened)),
        _pages(opened, judged, decision),
        _charter_signatures(opened),
        Check(name="receipts are signed by the roster's keys", problems=receipt_faults(opened)),
        _ledger_heads(opened),
        _countersigned(opened),
        Check(name="figures are the sums that sites were told", problems=_sums(judged)),
        *_benchmarks(opened),
        _verdict(run_dir, judged),
        Check(
            name="approvals hold",
            problems=void,
            note=decision.sentence,
            ended=decision.withdrawal is not None,
        ),
        Check(
            name=PLACEMENT,
            problems=tuple(filter(None, (placement_fault(run_dir, decision),))),
        ),
    )


def _manifest_signature(opened: Folder) -> tuple[str, ...]:
    fault = manifest.manifest_signature_fault(
        opened.path, coordinator_key=opened.charter.coordinator_key
    )
    return (fault,) if fault else ()


def _files(run_dir: Path, decision: Decision) -> tuple[str, ...]:
    try:
        return manifest.verify_manifest(run_dir, rewritten=decision.pages)
    except ReleaseError as error:
        return (str(error),)


def _pages(opened: Folder, judged: GateReport, decision: Decision) -> Check:
    """Write the pages again, in memory: what people read must be what the evidence gives."""
    name = "pages follow from the evidence"
    try:
        wrote = _renderer(opened.path, decision)
        rendered = readers.pages_of(opened, judged, decision)
    except ReleaseError as error:
        return Check(name=name, problems=(str(error),))
    other = [page for page, data in rendered.items() if _bytes(opened.path, page) != data]
    if not other or wrote == renderer_sha256():
        problems = tuple(
            f"{page} does not follow from the evidence: the same code and packages write it "
            f"differently."
            for page in other
        )
        return Check(name=name, problems=problems)
    note = (
        f"NOT CHECKED: {', '.join(other)} cannot be written again here byte for byte: according to "
        "the coordinator, another version of fedethics, its packages or Python wrote them. Do not "
        "rely on their text: `fedethics release gate` gives the verdict."
    )
    return Check(
        name=name,
        problems=(),
        note=note,
        not_checked=tuple(other),
        topic=PAGES_TOPIC,
        undecided=True,
    )


def _renderer(run_dir: Path, decision: Decision) -> str:
    return decision.renderer_sha256 or manifest.read_manifest(run_dir).renderer_sha256


def _bytes(run_dir: Path, page: str) -> bytes | None:
    try:
        return durable.read(located(run_dir, page))
    except ReleaseError:
        return None


def _charter_signatures(opened: Folder) -> Check:
    found = standing(opened.charter, opened.evidence.charter_signatures)
    notes = [f"{len(found.valid)} of {len(found.valid) + len(found.missing)} signed."]
    if any(one.simulated for one in found.valid):
        notes.append(SIMULATED)
    if not opened.charter.ethics.stakeholders:
        notes.append(UNWATCHED)
    return Check(name="charter signatures hold", problems=found.void, note=" ".join(notes))


def _ledger_heads(opened: Folder) -> Check:
    """Hold each receipt against its site's ledger, where that lies here (as in a simulation)."""
    problems: list[str] = []
    absent: list[str] = []
    for signed in opened.evidence.receipts:
        member = next((m for m in opened.charter.roster if m.public_key == signed.public_key), None)
        if member is None:
            continue  # told by the receipts' own check
        ledger = opened.path / "sites" / member.site / "ledger.db"
        if not os.path.lexists(ledger):
            absent.append(member.site)
            continue
        if unfit := _unfit_ledger(ledger):
            problems.append(f"{member.site}: {unfit}.")
            continue
        receipt = canonical.encode(terms.document(signed))
        try:
            verify_files(ledger, member.public_key, receipts=[receipt])
        except (LedgerError, LedgerTampered) as error:
            problems.append(f"{member.site}: {error}.")
    note = (
        f"The ledgers of {', '.join(absent)} are not here: each site checks its own receipt's head."
        if absent
        else ""
    )
    return Check(
        name="ledger heads",
        problems=tuple(problems),
        note=note,
        not_checked=tuple(f"the ledger of {site}" for site in absent),
    )


def _unfit_ledger(ledger: Path) -> str:
    """Return why a ledger that lies here is not opened, or ""; a link would lead out of here."""
    if any(path.is_symlink() for path in (ledger.parent, ledger.parent.parent)):
        return f"{ledger.parent} is reached by a link; its ledger was not opened"
    unfit = plain_file.fault(ledger, limit=_LEDGER_LIMIT)
    return unfit and f"ledger.db {unfit}"


def _countersigned(opened: Folder) -> Check:
    """Check who else holds every receipt: a ledger that was rolled back contradicts theirs."""
    found, roster = opened.evidence, {m.site: m.public_key for m in opened.charter.roster}
    signers = sorted({one.site for one in found.countersignatures})
    problems: tuple[str, ...] = ()
    if found.countersignatures and found.receipts:
        heads = Heads(run=found.run_id, charter_hash=found.charter_hash, receipts=found.receipts)
        problems = countersignature_faults(heads, found.countersignatures, roster)
    elif found.countersignatures:
        problems = ("There are countersignatures, but no receipts.",)
    note = f"{len(signers)} of {len(roster)} members hold every receipt of the run."
    return Check(name="receipts are countersigned", problems=problems, note=note)


def _sums(judged: GateReport) -> tuple[str, ...]:
    return tuple(
        rule.sentence for rule in judged.rules if rule.name in SUM_RULES and rule.verdict == "fail"
    )


def _benchmarks(opened: Folder) -> tuple[Check, ...]:
    """Say what the kept answers to public benchmarks show; nothing where there are none."""
    if not os.path.lexists(opened.path / BENCHMARKS):
        return ()
    found, missing = benchmarks.kept(opened)
    note = (
        "Every figure is computed again from the answer to each item, and the items are those of "
        "the suite. That the answers are this model's cannot be shown without the model: "
        "fedethics benchmark asks it again."
    )
    return (
        Check(
            name="benchmark figures follow from the kept answers",
            problems=(missing,) if found is None else (),
            note=note if found is not None else "",
        ),
    )


def _sources(opened: Folder) -> tuple[str, ...]:
    try:
        found = manifest.read_manifest(opened.path)
    except ReleaseError as error:
        return (str(error),)
    said = opened.evidence
    pairs = {
        "run": (found.run_id, said.run_id),
        "charter": (found.charter_sha256, said.charter_hash),
        "data schema": (found.schema_sha256, said.schema_hash),
        "code": (found.code_sha256, said.code_hash),
        "base model": (found.base_model_sha256, said.base_model_sha256),
        "adapter": (found.adapter_sha256, said.model_hash),
    }
    return tuple(
        f"{MANIFEST} names {what} {listed[:12]}, the evidence {stated[:12]}."
        for what, (listed, stated) in pairs.items()
        if listed != stated
    )


def _verdict(run_dir: Path, judged: GateReport) -> Check:
    """Hold gate.json to the judgement made again: findings always, words where they can be."""
    name = "verdict follows from the evidence"
    try:
        recorded = gate.recorded(run_dir)
        listed = manifest.read_manifest(run_dir)
    except ReleaseError as error:
        return Check(name=name, problems=(str(error),))
    if (method := recorded.method or 1) != judged.method:
        problem = (
            f"{GATE} was judged by method {method} of reading the tables; this version of "
            f"fedethics judges by method {judged.method}, which gives {judged.verdict!r} on the "
            "same evidence. Check it with the version that judged it, which evidence.json names, "
            "or judge it again: `fedethics release gate`."
        )
        return Check(name=name, problems=(problem,))
    problems = []
    if gate.findings(recorded) != gate.findings(judged):
        problems.append(
            f"{GATE} says {recorded.verdict!r}, but charter and evidence give {judged.verdict!r}"
            " (or another finding under the same verdict)."
        )
    if listed.verdict != judged.verdict:
        problems.append(
            f"{MANIFEST} says {listed.verdict!r}, the evidence gives {judged.verdict!r}."
        )
    if problems or _words(recorded) == _words(judged):
        return Check(name=name, problems=tuple(problems))
    # Whoever wrote the manifest judged with the same code, whatever gate.json says of itself.
    if judged.wording in (recorded.wording, listed.renderer_sha256):
        problem = f"{GATE} has other sentences than the same code writes for the same findings."
        return Check(name=name, problems=(problem,))
    note = (
        f"Verdict, rules and figures of {GATE} follow from the evidence. NOT CHECKED: its "
        "sentences, which another version of fedethics wrote. Do not rely on their text: "
        "`fedethics release gate` gives the same verdict in the words of this version."
    )
    return Check(
        name=name,
        problems=(),
        note=note,
        not_checked=(f"the sentences of {GATE}",),
        topic=SENTENCES_TOPIC,
        undecided=True,
    )


def _words(report: GateReport) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(rule.sentence for rule in report.rules), report.not_covered
