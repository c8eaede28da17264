"""Whatever stands in a release's documents, a reader ends with a verdict or one clear error."""

from __future__ import annotations

import copy
import dataclasses
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedethics import canonical, terms
from fedethics.errors import FedethicsError, LedgerTampered, ReleaseError
from fedethics.privacy.ledger.receipt import Receipt, sign_receipt
from fedethics.release import decision, evidence, folder, gate, manifest, readers, receipts
from fedethics.release.decision import decided
from fedethics.release.publish import publish
from fedethics.release.verification import verify
from tests.release.conftest import SITES, lay_out

# Values of every JSON type that no run writes where it stands, and many that some run might.
ABSURD = (
    None, True, False, 0, 1, -1, 2, 10**9, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 10**30,
    10**4000, 0.0, -0.5, 0.5, 1.5, 5e-324, 1e30, 1e300, 1.7976931348623157e308, "", " ", "x", "0",
    "x" * 100_000, "../../etc/passwd", "\x1b[2J", "\u202e", "١٢", "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z",
    "2026-01-01T24:61:00Z", "2026-01-01", "f" * 64, "F" * 64, "0" * 128, "cleveland", "update",
    [], [None], [[]], ["x", "x"], [0], [0] * 4, [0] * 5000, [10**30] * 4, [2**53] * 4, {}, {"x": 1},
)  # fmt: skip
# Fields that only the coordinator says and that no rule can hold; the gate says so.
ITS_WORD = {
    "code-hash", "versions", "seeds", "finished", "countersignatures",
}  # fmt: skip


@pytest.fixture(scope="module")
def good(stage, tmp_path_factory):
    """A run on so many records that every rule holds, published."""
    run = lay_out(tmp_path_factory.mktemp("fine"), stage, stage.evidence(records=20_000, skill=3.2))
    publish(run, stage.coordinator)
    return run


def _paths(node, at=()):
    """Every place of a document; of a list, its last entry stands for all."""
    yield at
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _paths(value, (*at, key))
    elif isinstance(node, list) and node:
        yield from _paths(node[-1], (*at, len(node) - 1))


def _with(document, path, value):
    """Return a copy with `value` at a place; `...` takes the place out."""
    changed = copy.deepcopy(document)
    at = changed
    for step in path[:-1]:
        at = at[step]
    if value is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return changed


def _changes(document, every=7):
    """Yield each place with one value in `every` in it, another set of values at each place."""
    yield ("an unknown key",), document | {"note": "x"}
    for number, path in enumerate(path for path in _paths(document) if path):
        at = document
        for step in path:
            at = at[step]
        values = (..., *ABSURD, [at], [at, at], {"x": at})
        for value in values[number % every :: every]:
            if value != at or type(value) is not type(at):
                yield path, _with(document, path, value)


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_evidence_that_no_run_writes_ends_in_a_verdict_or_one_error(good, every):
    document = json.loads((good / "evidence.json").read_bytes())
    opened = folder.load(good)
    assert gate.judge(opened).verdict == "pass"
    passed, judged, longest = set(), 0, 0
    for path, changed in _changes(document, every):
        try:
            found = evidence.parse(canonical.encode(changed))
            again = folder.with_evidence(opened, found)
        except ReleaseError as error:
            longest = max(longest, len(str(error)))
            continue
        if found == opened.evidence:  # a key left out that has its default
            continue
        judged += 1
        if gate.judge(again).verdict == "pass":
            passed.add(path[0])
    assert judged > 20 and longest < 20_000
    assert passed <= ITS_WORD


def _receipt(signed):
    return receipts.genuine(signed, roster_key=signed.public_key)


def test_a_receipt_that_no_ledger_writes_counts_for_nothing_even_with_its_signature(stage, good):
    opened = folder.load(good)
    site, (first, *rest) = SITES[0], opened.evidence.receipts
    document, genuine = json.loads(first.body), _receipt(first)
    passed, judged = set(), 0
    for path, changed in _changes(document):
        try:
            receipt = terms.parse(
                Receipt, canonical.encode(changed), what="x", error=LedgerTampered
            )
        except LedgerTampered:
            body = canonical.encode(changed).decode()
            forged = dataclasses.replace(
                first, body=body,
                signature=stage.identities[site].sign(body.encode(), purpose="receipt").hex(),
            )  # fmt: skip
            assert receipts.genuine(forged, roster_key=first.public_key) is None
            continue
        if receipt == genuine:  # a key left out that has its default
            continue
        judged += 1
        signed = receipts.from_envelope(sign_receipt(receipt, stage.identities[site]))
        found = dataclasses.replace(opened.evidence, receipts=(signed, *rest))
        if gate.judge(folder.with_evidence(opened, found)).verdict == "pass":
            passed.add(path[0])
    assert judged > 5
    # How long the ledger is and what it gave before is held against the ledger, not by the gate.
    assert passed <= {
        "began", "issued", "earlier", "ledger-entries", "ledger-head", "training-rounds",
        "evaluation-rounds", "training-epsilon", "evaluation-epsilon", "sums",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("manifest.json", manifest.read_manifest),
        ("gate.json", gate.recorded),
        ("manifest.signature.json", lambda run: manifest.verify_manifest(run)),
    ],
)
def test_other_documents_that_nobody_writes_are_refused_in_one_error(release, name, read):
    document = json.loads((release / name).read_bytes())
    longest = 0
    for _, changed in _changes(document):
        (release / name).write_bytes(canonical.encode(changed))
        try:
            read(release)
        except ReleaseError as error:
            longest = max(longest, len(str(error)))
    assert longest < 20_000


def test_approvals_that_nobody_gave_free_nothing(stage, good):
    opened = folder.load(good)
    made = decision.Approval(
        role="coordinator", name="coordinator", public_key=stage.coordinator.public_key,
        approved="2026-01-03T00:00:00+00:00", verdict="pass", despite_uncertainty=False,
        reason="x", manifest_sha256=folder.durable.file_sha256(good / "manifest.json"),
    )  # fmt: skip
    file = decision.ApprovalFile(approvals=(decision.signed(made, stage.coordinator),))
    document = terms.document(file)
    try:
        for path, changed in _changes(document):
            (good / "approvals.json").write_bytes(canonical.encode(changed))
            try:
                taken, _ = decided(opened, "pass")
            except ReleaseError:
                continue
            # The same approval twice is one approval.
            same = changed.get("approvals", [])[:1] == document["approvals"]
            assert same or not taken.released, path
    finally:
        (good / "approvals.json").unlink()


RAW = (
    b"", b"{", b"[]", b"null", b"NaN", b'{"counts":NaN}', b'{"a":1,"a":1}', b"[" * 200_000,
    b'{"a":' * 50_000, b"\xff\xfe", b"1" * 100_000, b'{"a":1e999}', b'{"a":"\\ud800"}', b"\x00" * 9,
)  # fmt: skip


@pytest.mark.parametrize("name", ["evidence.json", "gate.json", "manifest.json", "charter.json"])
def test_bytes_that_are_no_document_are_refused_in_one_error(release, name):
    whole = (release / name).read_bytes()
    for data in (*RAW, whole + b"\n", whole[:-1], whole.replace(b":", b": ", 1), b" " + whole):
        (release / name).write_bytes(data)
        try:
            if name == "gate.json":  # verify reads the rest first, and writes every page to compare
                gate.recorded(release)
            told = [text for check in verify(release) for text in check.problems]
        except FedethicsError as error:
            told = [str(error)]
        assert told and max(map(len, told)) < 20_000


def test_a_gate_file_that_is_no_document_is_a_problem_of_the_release(release):
    (release / "gate.json").write_bytes(RAW[1])
    assert [text for check in verify(release) for text in check.problems]


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(found=st.data())
def test_pages_of_any_evidence_that_can_be_judged_are_written_or_refused(good, found):
    opened = folder.load(good)
    document = json.loads((good / "evidence.json").read_bytes())
    fields = ("counts", "histogram", "explanation", "progress", "rounds", "started", "finished")
    for _ in range(3):
        paths = [path for path in _paths(document) if path and path[0] in fields]
        document = _with(document, found.draw(st.sampled_from(paths)), found.draw(_numbers()))
    try:
        changed = folder.with_evidence(opened, evidence.parse(canonical.encode(document)))
        judged = gate.judge(changed)
        pages = readers.pages_of(changed, judged, decided(changed, judged.verdict)[0])
    except ReleaseError:
        return
    assert set(pages) == set(folder.PAGES)


def _numbers():
    return st.one_of(
        st.integers(-(2**53), 2**53),
        st.lists(st.integers(-(2**53), 2**53), min_size=4, max_size=4),
        st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]),
    )
